"""The user's cache folder, and folders in it that exist whole or not at all."""

import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["cache_folder", "make_folder"]

_ABANDONED_AFTER = 24 * 3600  # seconds


def cache_folder() -> Path:
    """Returns where torchprobe keeps what it can make again.

    $TORCHPROBE_CACHE if set; else `torchprobe` in $XDG_CACHE_HOME, in ~/Library/Caches (macOS), in
    %LOCALAPPDATA% (Windows) or in ~/.cache. The folder need not exist yet.
    """
    if own := os.environ.get("TORCHPROBE_CACHE"):
        return Path(own).expanduser()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser() / "torchprobe"
    return _system_cache() / "torchprobe"


def make_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Makes a folder whole or not at all.

    The folder is filled under another name beside its final place and renamed once it is full.
    Whatever ends the filling, an error or Ctrl-C, removes it. Where another process
    was faster, its folder stays and this one's is removed.

    Args:
        folder: The final place.
        fill: Fills an empty folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    partial = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    partial.mkdir()
    try:
        fill(partial)
        _rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _rename(partial: Path, folder: Path) -> None:
    try:
        partial.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _remove_abandoned(folder: Path) -> None:
    """Removes what killed processes left; younger ones may still be being filled."""
    for partial in folder.parent.glob(f".{folder.name}-*"):
        if time.time() - partial.stat().st_mtime > _ABANDONED_AFTER:
            shutil.rmtree(partial, ignore_errors=True)


def _system_cache() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path.home() / ".cache"
