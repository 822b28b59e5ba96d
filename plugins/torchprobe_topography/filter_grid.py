"""Filters as images on their grid, with close-ups of neighbourhoods (Fig. 1A)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe import plotting
from torchprobe.errors import SettingError, ShapeError
from torchprobe.plotting.style import COLOURS
from torchprobe_topography.arrangement import Arrangement
from torchprobe_topography.grid import Grid
from torchprobe_topography.panels import limit_of
from torchprobe_topography.plots import head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

__all__ = ["draw_filters"]

_GAP = 1  # pixels between filters
_LARGEST = 4096 * 4096  # pixels of the mosaic


@plotting.styled
def draw_filters(
    filters: ArrayLike,
    grid: Grid | Arrangement | None = None,
    centres: Sequence[int] | None = None,
    size: int = 3,
    title: str = "Filters on their grid",
) -> Figure:
    """Draw a layer's filters as images, each in its cell, and some neighbourhoods close up.

    Every filter is drawn in colours of its own range, since only its shape counts for the loss.

    Args:
        filters: images [unit, height, width], or weights [unit, channel, time] of a convolution.
        grid: where units lie; near a square by default.
        centres: units whose neighbourhoods are drawn close up; two by default, a third of the
            way from either corner.
        size: of the neighbourhoods.
        title: above all.

    Returns:
        The figure.

    Raises:
        ShapeError: filters are no images, fit no grid, or are too large to draw.
        SettingError: a centre is no unit.

    Source: Krug & Stober 2019, Fig. 1A.
    """
    images = np.asarray(filters, dtype=np.float64)
    if images.ndim != 3 or not images.size:  # noqa: PLR2004
        raise ShapeError(f"filters of shape {images.shape}; give images [unit, height, width]")
    layout = _layout(grid, len(images))
    if len(images) * (images.shape[1] + 1) * (images.shape[2] + 1) > _LARGEST:
        raise ShapeError(f"{len(images):,} images of {images.shape[1:]} are too many to draw")
    scale = np.array([limit_of(each) for each in images])
    mosaic = _mosaic(
        images[layout.order] / scale[layout.order, np.newaxis, np.newaxis], layout.grid
    )
    chosen = _centres(centres, layout)
    figure = plotting.figure(8.4 if len(chosen) else 6.4, 6.2)
    right = 0.68 if len(chosen) else 0.97
    whole = figure.add_axes((0.03, 0.03, right - 0.03, 0.83))
    _show(whole, mosaic)
    for number, cell in enumerate(chosen):
        height = 0.83 / max(2, len(chosen))
        place = figure.add_axes((right + 0.03, 0.86 - (number + 1) * height, 0.27, height - 0.04))
        _close_up(whole, place, mosaic, images.shape[1:], _window(cell, layout.grid, size), number)
    head(figure, title, f"{len(images):,} filters on {layout.grid.rows} × {layout.grid.columns}")
    return figure


def _layout(grid: Grid | Arrangement | None, units: int) -> Arrangement:
    layout = grid if isinstance(grid, Arrangement) else None
    if layout is None:
        chosen = grid if isinstance(grid, Grid) else Grid.of(units, uneven="pad")
        layout = Arrangement.in_order(chosen)
    if layout.grid.units != units:
        raise ShapeError(f"{units} filters do not fit {layout.grid!r}")
    return layout


def _centres(centres: Sequence[int] | None, layout: Arrangement) -> list[tuple[int, int]]:
    """The cells of the units whose neighbourhoods are drawn."""
    rows, columns = layout.grid.shape
    if centres is None:
        return [(rows // 3, columns // 3), (rows - 1 - rows // 3, columns - 1 - columns // 3)]
    for unit in centres:
        if not 0 <= unit < layout.grid.units:
            raise SettingError(f"centre {unit} is no unit of {layout.grid!r}")
    cells = np.asarray(layout.cells)
    return [(int(cells[unit]) // columns, int(cells[unit]) % columns) for unit in centres]


def _window(cell: tuple[int, int], grid: Grid, size: int) -> tuple[int, int, int, int]:
    """First and past-the-last row and column of a neighbourhood, cut off at the border."""
    reach = size // 2
    (row, column), (rows, columns) = cell, grid.shape
    top, left = max(0, row - reach), max(0, column - reach)
    return top, min(rows, row + reach + 1), left, min(columns, column + reach + 1)


def _mosaic(images: Array, grid: Grid) -> Array:
    """All filters in one picture, with gaps: [pixel row, pixel column]."""
    high, wide = images.shape[1] + _GAP, images.shape[2] + _GAP
    tiles = np.full((grid.cells, high, wide), np.nan)
    tiles[: len(images), :-_GAP, :-_GAP] = images
    rows = tiles.reshape(grid.rows, grid.columns, high, wide).transpose(0, 2, 1, 3)
    return np.asarray(rows.reshape(grid.rows * high, grid.columns * wide)[:-_GAP, :-_GAP])


def _show(axes: Axes, pixels: Array) -> None:
    colours: Any = plotting.colour_map(symmetric=True)
    axes.imshow(
        np.ma.masked_invalid(pixels), cmap=colours, vmin=-1, vmax=1, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    axes.set(xticks=[], yticks=[])
    axes.set_facecolor("#d1d5db")


def _close_up(
    whole: Axes,
    place: Axes,
    mosaic: Array,
    shape: tuple[int, ...],
    window: tuple[int, int, int, int],
    number: int,
) -> None:
    from matplotlib.patches import Rectangle

    high, wide = shape[0] + _GAP, shape[1] + _GAP
    top, bottom, left, right = window
    _show(place, mosaic[top * high : bottom * high - _GAP, left * wide : right * wide - _GAP])
    colour = COLOURS[number % len(COLOURS)]
    corner = left * wide - 1, top * high - 1
    size = (right - left) * wide, (bottom - top) * high
    whole.add_patch(Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=2))
    for spine in place.spines.values():
        spine.set(visible=True, edgecolor=colour, linewidth=2)
