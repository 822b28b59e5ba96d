"""One map in one panel: cells, smoothed cells, or interpolated like the topography of an EEG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from torchprobe import plotting
from torchprobe.plotting.style import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray

    from torchprobe_topography.maps import Region

    Array = NDArray[np.float64]

__all__ = ["Kind", "bar_of", "draw_panel", "draw_points", "limit_of", "panels"]

Kind: TypeAlias = Literal["grid", "smoothed", "interpolated"]
_ROBUST = 99.8  # percentile at which colours saturate
_LEVELS = 4  # contours on either side of 0
_BANDS = 32  # of colour: the eye follows their edges, as on a map of heights
_FINER = 6  # points on the side of a cell where maps are interpolated


def limit_of(*maps: Array) -> float:
    """Where colours saturate, on either side of 0: the same in all maps; 1 where all is 0."""
    sizes = np.concatenate([np.abs(each[np.isfinite(each)]) for each in maps])
    return float(np.percentile(sizes, _ROBUST)) or 1.0 if sizes.size else 1.0


def panels(
    count: int, shape: tuple[int, int], most: int = 8, height: float = 1.35, head: float = 0.75
) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels for maps of a shape, at most so many in a row."""
    columns = min(count, most)
    rows = -(-count // columns)
    width = height * shape[1] / shape[0]
    panel = max(width, 0.8)
    total = 0.35 + columns * (panel + 0.18) + 0.75, head + rows * (height + 0.32) + 0.1
    figure = plotting.figure(max(total[0], 4.2), total[1])
    top = 1 - head / total[1]
    grid = figure.add_gridspec(
        rows,
        columns,
        left=0.35 / max(total[0], 4.2),
        right=(0.35 + columns * (panel + 0.18)) / max(total[0], 4.2),
        top=top - 0.02,
        bottom=0.1 / total[1],
        hspace=0.32 / height,
        wspace=0.18 / panel,
    )
    return figure, [figure.add_subplot(grid[divmod(place, columns)]) for place in range(count)]


def draw_panel(
    axes: Axes,
    grid_map: Array,
    limit: float,
    kind: Kind,
    title: str = "",
    region: Region | None = None,
) -> AxesImage:
    """Draw a map [row, column], symmetric around 0, with the box of a region."""
    shown = np.ma.masked_invalid(grid_map)
    colours: dict[str, Any] = {"cmap": plotting.colour_map(symmetric=True)}
    colours |= {"vmin": -limit, "vmax": limit}
    if kind == "interpolated":
        rows, columns = shown.shape
        fine = _interpolated(grid_map)
        colours["cmap"] = colours["cmap"].resampled(_BANDS)
        extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
        image = axes.imshow(fine, extent=extent, interpolation="bilinear", **colours)
        _contours(axes, fine, shown.shape, limit)
        _blank(axes, grid_map)
    else:
        image = axes.imshow(shown, interpolation="nearest", **colours)
    axes.set(xticks=[], yticks=[], xlim=(-0.5, shown.shape[1] - 0.5))
    axes.set_ylim(shown.shape[0] - 0.5, -0.5)
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.6)
    if title:
        axes.set_title(plotting.label(title, 14), fontsize=8.5, pad=3, color=INK)
    if region is not None:
        _box(axes, region)
    return image


def bar_of(figure: Figure, image: AxesImage, axes: list[Axes], label: str) -> None:
    """A colour bar for all panels, right of the last row's or first row's panels."""
    first = axes[0].get_position()
    right = max(each.get_position().x1 for each in axes)
    width = figure.get_size_inches()[0]
    place = (right + 0.12 / width, first.y0, 0.1 / width, first.height)
    bar = figure.colorbar(image, cax=figure.add_axes(place))
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7.5, length=2)
    bar.locator = _ticks()
    bar.update_ticks()
    bar.set_label(label, fontsize=7.5)


def draw_points(axes: Axes, points: Array, values: Array, limit: float, title: str = "") -> Any:
    """Draw values of scattered units [unit, 2], interpolated between them by triangles."""
    from matplotlib.tri import Triangulation

    colours: dict[str, Any] = {"cmap": plotting.colour_map(symmetric=True)}
    if np.linalg.matrix_rank(points - points.mean(0)) == 2:  # noqa: PLR2004 - not on one line
        levels = np.linspace(-limit, limit, 2 * _LEVELS * 3 + 1)
        triangles = Triangulation(points[:, 0], points[:, 1])
        axes.tricontourf(
            triangles, np.clip(values, -limit, limit), levels=levels, extend="both", **colours
        )
    dots = axes.scatter(
        points[:, 0],
        points[:, 1],
        c=values,
        s=7,
        vmin=-limit,
        vmax=limit,
        edgecolors=INK,
        linewidths=0.25,
        **colours,
    )
    axes.set_axis_off()
    if title:
        axes.set_title(plotting.label(title, 14), fontsize=8.5, pad=3, color=INK)
    return dots


def _ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=3, symmetric=True)


def _filled(grid_map: Array) -> Array:
    """Empty cells as their nearest neighbour, so that interpolation has something to go by."""
    from scipy.ndimage import distance_transform_edt

    empty = ~np.isfinite(grid_map)
    if not empty.any() or empty.all():
        return np.nan_to_num(grid_map)
    nearest = distance_transform_edt(empty, return_distances=False, return_indices=True)
    return np.asarray(grid_map[tuple(nearest)])


def _interpolated(grid_map: Array) -> Array:
    """A map at more points, by cubic splines through the middles of its cells."""
    from scipy.ndimage import zoom

    filled = _filled(grid_map)
    return np.asarray(zoom(filled, _FINER, order=3, mode="nearest", grid_mode=True))


def _contours(axes: Axes, fine: Array, shape: tuple[int, ...], limit: float) -> None:
    levels = [share * limit for share in np.linspace(-1, 1, 2 * _LEVELS + 1)[1:-1] if share]
    reached = [level for level in levels if fine.min() < level < fine.max()]
    if reached:
        y, x = ((np.arange(n * _FINER) + 0.5) / _FINER - 0.5 for n in shape)
        axes.contour(x, y, fine, levels=reached, colors=INK, linewidths=0.35, alpha=0.6)


def _blank(axes: Axes, grid_map: Array) -> None:
    from matplotlib.patches import Rectangle

    for row, column in np.argwhere(~np.isfinite(grid_map)):
        cell = Rectangle((column - 0.5, row - 0.5), 1, 1, color="white", linewidth=0, zorder=3)
        axes.add_patch(cell)


def _box(axes: Axes, region: Region) -> None:
    from matplotlib.patches import Rectangle

    corner = region.column - 0.5, region.row - 0.5
    for colour, width in (("white", 2.6), (INK, 1.2)):  # seen on dark and on pale cells
        axes.add_patch(
            Rectangle(
                corner, region.size, region.size, fill=False, edgecolor=colour, linewidth=width
            )
        )
