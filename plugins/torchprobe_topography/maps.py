"""Activity as a map: on the grid, smoothed, where it is highest, how often it peaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from torchprobe.errors import SettingError, ShapeError
from torchprobe_topography.grid import Grid
from torchprobe_topography.neighbourhood import Neighbourhood

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

__all__ = ["By", "Region", "local_maxima", "region", "smoothed", "window_means"]

By: TypeAlias = Literal["signed", "absolute"]
_EVERYWHERE = np.ones((3, 3), dtype=bool)  # a cell and the eight around it


def smoothed(maps: ArrayLike, size: int = 3) -> Array:
    """Maps [..., row, column], each cell the mean of the size × size cells around it.

    Only cells that are there count: neither what lies beyond the border nor empty cells (NaN),
    which stay empty. This is average pooling with stride 1 as the paper shows it; to find the
    region of highest response it pools whole windows only (`window_means`).

    Raises:
        ShapeError: no map.
        SettingError: an even size.

    Source: Krug & Stober 2019, section 2.3; padding is not stated.

    >>> smoothed([[0, 0, 3], [0, 6, 0], [0, 0, 0]]).tolist()
    [[1.5, 1.5, 2.25], [1.0, 1.0, 1.5], [1.5, 1.0, 1.5]]
    """
    grid, flat = _maps(maps)
    _check_size(size)
    reach = size // 2
    wide = [(0, 0), (reach, reach), (reach, reach)]
    there = np.isfinite(flat)
    sums = _window_sums(np.pad(np.where(there, flat, 0.0), wide), size)
    counts = _window_sums(np.pad(there.astype(np.float64), wide), size)
    with np.errstate(invalid="ignore"):
        return np.where(there, sums / counts, np.nan).reshape(grid.shape)


def window_means(maps: ArrayLike, size: int = 3) -> Array:
    """Means of all whole size × size windows of maps [..., row, column]: valid average pooling.

    Returns:
        [..., row − size + 1, column − size + 1]; NaN for windows with an empty cell.

    Raises:
        ShapeError: no map, or one smaller than a window.
        SettingError: a size below 1.

    >>> grid = [[0, 0, 0, 0], [0, 3, 0, 0], [0, 0, 6, 1], [0, 0, 1, 9]]
    >>> (9 * window_means(grid)).round(9).tolist()
    [[9.0, 10.0], [10.0, 20.0]]
    """
    grid, flat = _maps(maps)
    if size < 1 or min(grid.shape[-2:]) < size:
        raise ShapeError(
            f"maps of {grid.shape[-2]} × {grid.shape[-1]} cells have no window of {size} × {size}"
        )
    means = _window_sums(flat, size) / size**2
    return means.reshape(*grid.shape[:-2], *means.shape[1:])


@dataclass(frozen=True)
class Region:
    """A square of cells."""

    row: int
    """Its first row."""
    column: int
    """Its first column."""
    size: int
    value: float
    """Mean of its cells."""

    def units(self, grid: Grid) -> NDArray[np.int64]:
        """The units in it, row by row."""
        rows = np.arange(self.row, self.row + self.size)
        columns = np.arange(self.column, self.column + self.size)
        return (rows[:, np.newaxis] * grid.columns + columns).ravel()


def region(grid_map: ArrayLike, size: int = 3, by: By = "signed") -> Region:
    """The size × size region of a map [row, column] with the highest mean.

    Args:
        grid_map: one map.
        size: of the region; 3 is the paper's.
        by: the highest value itself, or the "absolute" one. Of equals the first is taken.

    Raises:
        ShapeError: not one map, or it is smaller than a region, or every region has empty cells.
        SettingError: an unknown ``by``.

    Source: Krug & Stober 2019, section 2.3.

    >>> region([[0, 0, 0, 0], [0, 3, 0, 0], [0, 0, 6, 1], [0, 0, 1, 9]])
    Region(row=1, column=1, size=3, value=2.2222222222222223)
    """
    if by not in ("signed", "absolute"):
        raise SettingError(f"by={by!r}; choose 'signed' or 'absolute'")
    means = window_means(grid_map, size)
    if means.ndim != 2:  # noqa: PLR2004
        raise ShapeError(f"maps of shape {np.shape(grid_map)}; give one map [row, column]")
    height = np.abs(means) if by == "absolute" else means
    if np.isnan(height).all():
        raise ShapeError(f"every {size} × {size} region has an empty cell; choose a smaller size")
    row, column = np.unravel_index(int(np.nanargmax(height)), height.shape)
    return Region(int(row), int(column), size, float(means[row, column]))


def local_maxima(grid_map: ArrayLike, least: float = 0.0) -> NDArray[np.bool_]:
    """Which cells of a map [row, column] are local maxima: higher than all cells around.

    A plateau is one maximum, marked at its first cell, if it is higher than all around it; a map
    without differences has none.

    Args:
        grid_map: one map; NaN where a cell is empty.
        least: leave out maxima lower than this share of the way from the map's mean to its
            highest value; 0 leaves out those below the mean, ``-inf`` none.

    Raises:
        ShapeError: not one map.

    >>> local_maxima([[5, 1, 1, 2], [1, 1, 1, 1], [1, 1, 1, 9]]).astype(int).tolist()
    [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    >>> int(local_maxima([[5, 1, 1, 2], [1, 1, 1, 1], [1, 1, 1, 9]], least=-np.inf).sum())
    3
    """
    grid, _ = _maps(grid_map)
    if grid.ndim != 2:  # noqa: PLR2004
        raise ShapeError(f"maps of shape {grid.shape}; give one map [row, column]")
    peaks = _peaks(grid)
    mean, top = np.nanmean(grid), np.nanmax(grid)
    floor = -np.inf if np.isneginf(least) else mean + least * (top - mean)
    return np.asarray(peaks & (np.nan_to_num(grid, nan=-np.inf) >= floor))


def _peaks(grid: Array) -> NDArray[np.bool_]:
    """The first cell of each plateau that is higher than all around it: [row, column]."""
    from scipy.ndimage import maximum_filter

    there = np.isfinite(grid)
    filled = np.where(there, grid, -np.inf)
    high = (filled == maximum_filter(filled, footprint=_EVERYWHERE)) & there
    plateaus = _same_height(filled)
    high &= ~np.isin(plateaus, plateaus[there & ~high])  # a plateau with a way up
    peaks: NDArray[np.bool_] = np.zeros(grid.shape, dtype=bool)
    if high.sum() < there.sum():
        cells = np.flatnonzero(high)
        peaks.ravel()[cells[np.unique(plateaus.ravel()[cells], return_index=True)[1]]] = True
    return peaks


def _same_height(filled: Array) -> NDArray[np.int64]:
    """A number for each set of touching cells of one height: [row, column]."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs, height = Neighbourhood().pairs(Grid(*filled.shape)), filled.ravel()
    same = height[pairs.first] == height[pairs.second]
    edges = np.ones(same.sum()), (pairs.first[same], pairs.second[same])
    graph = coo_array(edges, shape=(filled.size, filled.size))
    found = np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
    return found.reshape(filled.shape)


def _maps(values: ArrayLike) -> tuple[Array, Array]:
    """Maps as they came, and as [map, row, column]."""
    grid = np.asarray(values, dtype=np.float64)
    if grid.ndim < 2 or grid.size == 0:  # noqa: PLR2004
        raise ShapeError(f"values of shape {grid.shape} are no maps [..., row, column]")
    return grid, grid.reshape(-1, *grid.shape[-2:])


def _check_size(size: int) -> None:
    if size < 1 or size % 2 == 0:
        raise SettingError(f"size={size}; give an odd number of cells")


def _window_sums(flat: Array, size: int) -> Array:
    """Sums over all whole windows of [map, row, column]."""
    windows = np.lib.stride_tricks.sliding_window_view(flat, (size, size), (1, 2))
    return np.asarray(windows.sum((-2, -1)))
