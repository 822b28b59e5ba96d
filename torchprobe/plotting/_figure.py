"""The figure class; the only module that needs matplotlib when it is imported."""

from __future__ import annotations

from matplotlib.figure import Figure

from torchprobe.plotting.saving import png

__all__ = ["NotebookFigure"]


class NotebookFigure(Figure):
    """A figure that a notebook shows when a cell returns it, though pyplot knows nothing of it."""

    def _repr_png_(self) -> bytes:
        return png(self)
