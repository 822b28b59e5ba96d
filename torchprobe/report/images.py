"""Figures as part of a page: no file beside it, nothing to be fetched."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from torchprobe.plotting import png, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["data_uri"]

_SMALL = 120_000  # bytes up to which SVG, sharp at any size, is worth it whatever PNG would need


def data_uri(figure: Figure) -> str:
    """A figure as ``data:`` address: SVG where that is small, otherwise the smaller of SVG and PNG.

    In an ``img`` element neither can run code or load anything.
    """
    vector = svg(figure)
    if len(vector) <= _SMALL:
        return _address("image/svg+xml", vector)
    raster = png(figure)
    if len(vector) <= len(raster):
        return _address("image/svg+xml", vector)
    return _address("image/png", raster)


def _address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
