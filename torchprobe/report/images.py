"""Figures as part of a page: no file beside it, nothing to be fetched."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, NamedTuple

from torchprobe.plotting import png, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Picture", "picture"]

_SMALL = 500_000  # bytes up to which SVG, sharp at any size, is worth not drawing a PNG as well


class Picture(NamedTuple):
    """A figure as bytes."""

    ending: str
    """"svg" or "png"."""
    data: bytes

    @property
    def address(self) -> str:
        """As ``data:`` address; in an ``img`` element it can neither run code nor load anything."""
        kind = "image/svg+xml" if self.ending == "svg" else "image/png"
        return f"data:{kind};base64,{base64.b64encode(self.data).decode('ascii')}"


def picture(figure: Figure) -> Picture:
    """A figure as SVG where that is small, otherwise as the smaller of SVG and PNG."""
    vector = svg(figure)
    if len(vector) <= _SMALL:
        return Picture("svg", vector)
    raster = png(figure)
    return Picture("svg", vector) if len(vector) <= len(raster) else Picture("png", raster)
