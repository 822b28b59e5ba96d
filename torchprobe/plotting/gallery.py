"""Every picture that results offer, in one folder."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from torchprobe.errors import InsufficientDataError, NothingToDrawError
from torchprobe.plotting.dispatch import plot, views
from torchprobe.plotting.saving import save

if TYPE_CHECKING:
    import os

    from torchprobe.results import Results

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
        By "analyzer" or "analyzer:view": the file, or why these results have nothing to show there.

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
            name = f"{analyzer}:{view}" if view else analyzer
            file = _file_name(f"{analyzer}-{view}" if view else analyzer)
            try:
                figure = plot(results, analyzer, view=view)
            except (NothingToDrawError, InsufficientDataError) as error:
                found[name] = str(error)
            else:
                found[name] = save(figure, Path(folder) / f"{file}.{ending}")
    return found


def _file_name(name: str) -> str:
    """The name, with what a file system might read something into replaced and told apart."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:80]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
