"""Every picture that results offer, in one folder."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from torchprobe.errors import (
    InsufficientDataError,
    LayerNotFoundError,
    NothingToDrawError,
    SettingError,
)
from torchprobe.plotting.dispatch import plot, views
from torchprobe.plotting.saving import save

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from matplotlib.figure import Figure

    from torchprobe.results import LayerResults, Results

__all__ = ["gallery"]


def gallery(
    results: Results, folder: str | os.PathLike[str], *, ending: str = "png"
) -> dict[str, Path | str]:
    """Draw every view of every analyzer into a folder.

    Args:
        results: of a probe, or loaded.
        folder: made as needed; a picture is called after its analyzer and view.
        ending: the format: png, svg, pdf, ...

    Returns:
        By "analyzer", "analyzer:view" or, where a view shows one grouping at a time,
        "analyzer:view:grouping": the file, or why these results have nothing to show there.

    Example:
        >>> from torchprobe.results import Field, LayerResults, Result, Results
        >>> size = LayerResults([Result("size", "hidden.1", fields={"units": Field("", 256)})])
        >>> found = gallery(Results({"size": size}), getfixture("tmp_path"))
        >>> {name: path.name for name, path in found.items()}
        {'size': 'size.png', 'size:numbers': 'size-numbers.png'}
    """
    found: dict[str, Path | str] = {}
    for analyzer, layers in results.items():
        for view in views(layers.kind):
            for grouping, picture in _pictures(layers, view):
                parts = [part for part in (view, grouping) if part]
                path = Path(folder) / f"{_file_name('-'.join([analyzer, *parts]))}.{ending}"
                found[":".join([analyzer, *parts])] = (
                    picture if isinstance(picture, str) else save(picture, path)
                )
    return found


def _pictures(layers: LayerResults, view: str) -> Iterator[tuple[str, Figure | str]]:
    """One picture of all groupings where a view shows them together, else one of each."""
    try:
        yield "", plot(layers, view=view)
    except (NothingToDrawError, InsufficientDataError) as error:
        yield "", str(error)
    except (SettingError, LayerNotFoundError):
        if len(layers.groupings) < 2:  # noqa: PLR2004
            raise
        for grouping in filter(None, layers.groupings):
            for _, picture in _pictures(layers.grouping(grouping), view):
                yield grouping, picture


def _file_name(name: str) -> str:
    """The name, with what a file system might read something into replaced and told apart."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:80]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
