"""Figures as bytes and files: the same figure always gives the same bytes."""

from __future__ import annotations

import io
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchprobe.errors import SettingError
from torchprobe.storage import write_file

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from matplotlib.figure import Figure

__all__ = ["png", "save", "svg"]

_DPI = 192
"""Twice the 96 of a screen: sharp on dense displays and in print."""


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure to a file, replacing it in one step.

    Args:
        figure: what `plot` or another drawing function returned.
        path: its ending says the format: png, svg, pdf, ...; folders are made as needed.

    Raises:
        SettingError: an ending that matplotlib cannot write; lists those it can.
        OSError: the file cannot be written; what was there before is intact.
    """
    path = Path(path)
    format_, known = path.suffix.removeprefix(".").lower(), figure.canvas.get_supported_filetypes()
    if format_ not in known:
        raise SettingError(
            f"cannot save a figure as {path.name!r}: the ending says the format, which is one of "
            f"{', '.join(sorted(known))}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, _encoded(figure, format_))
    return path


def png(figure: Figure) -> bytes:
    """A figure as PNG, at twice the resolution of a screen."""
    return _encoded(figure, "png")


def svg(figure: Figure) -> bytes:
    """A figure as SVG whose letters are outlines: it looks the same with any fonts."""
    return _encoded(figure, "svg")


def _encoded(figure: Figure, format_: str) -> bytes:
    import matplotlib as mpl

    buffer = io.BytesIO()
    options: dict[str, Any] = {"metadata": {"Date": None}} if format_ == "svg" else {}
    # ids in SVG are random unless salted
    with mpl.rc_context({"svg.hashsalt": "torchprobe", "svg.fonttype": "path"}), _laid_out(figure):
        figure.savefig(buffer, format=format_, dpi=_DPI, **options)
    return buffer.getvalue()


@contextmanager
def _laid_out(figure: Figure) -> Iterator[None]:
    """Lay a figure out now: savefig would draw all of it once more only to have that done."""
    import matplotlib as mpl

    engine = figure.get_layout_engine()
    if engine is None:
        yield
        return
    engine.execute(figure)
    with mpl.rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)
    try:
        yield
    finally:
        figure.set_layout_engine(engine)
