"""Maps of what the units of a layer do, and how far neighbours do alike."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from torchprobe import Analyzer, Field
from torchprobe.accumulators import GroupMeans
from torchprobe.errors import SettingError
from torchprobe_topography.arrangement import Arrangement, arrange
from torchprobe_topography.grid import Grid
from torchprobe_topography.maps import local_maxima, region, smoothed
from torchprobe_topography.measures import alikeness, morans_i, smoothness
from torchprobe_topography.neighbourhood import Neighbourhood

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from torchprobe import Layer, LayerBatch, Result
    from torchprobe.results import LayerResults
    from torchprobe_topography.maps import By

    Array = NDArray[np.float64]

__all__ = ["Topography", "arrangement_of", "cells_of"]

Arrange: TypeAlias = Literal["order", "pca", "tsne", "umap", "graph"]
_ARRANGED = ("order", "pca", "tsne", "umap", "graph")
_ROUNDING = 1e-12
"""Deviations below this share of a unit's activation are what rounding leaves of none."""
_DIGITS = 12  # of a map, relative to its highest value: rounding must not decide between ties


class Topography(Analyzer):
    """Maps of a layer's responses to groups, and how far they are maps at all.

    The response of a unit to a group is its mean activation for the group, less its mean over all
    labelled rows. Units lie in a near-square grid in their own order, as `TopographicLoss` trains
    them, or where ``arrange`` puts them.

    Fields of the result, (class, row, column) being maps; cells may be empty (NaN):

    - ``responses`` (class, channel), in the units of the activation; ``counts`` (class): rows;
    - ``cell`` (channel): the cell of each unit, counted row by row;
    - ``maps``, ``smoothed`` (class, row, column): on the grid, and each cell the mean of the 3 × 3
      cells around it;
    - ``region_row``, ``region_column`` (class): the first row and column of the 3 × 3 region with
      the highest mean, −1 where there is none; ``region_value`` (class): its mean;
    - ``maxima`` (class): local maxima of the smoothed map that rise at least half as high over its
      mean as the highest; ``mean_maxima``;
    - ``moran`` and ``moran_z`` (class): Moran's I of the map, and its standard deviations above
      random places; ``mean_moran``;
    - ``smoothness`` (class): 1 − Geary's C, 0 at random and at most 1; ``mean_smoothness``;
    - ``neighbour_cosine`` and ``random_cosine``: mean cosine of the units' responses to all groups,
      of neighbours and of any two; ``excess_cosine``, their difference;
    - with ``arrange``: ``trust_cells``, the trustworthiness of the arrangement, 0..1.

    NaN stands where nothing can be compared: fewer than four units, one class, units that answer
    all alike.

    Args:
        arrange: "order" for units in their own order; "pca", "tsne", "umap" or "graph" lays them
            out by their responses and assigns them to the grid (`arrange`), for layers that were
            trained without the loss.
        grids: layer → (rows, columns); near a square by default, cells left empty where need be.
        cells: layer → cell of each unit, as `cells_of` takes them from other results: two
            checkpoints on the same layout. Goes before ``arrange``.
        region_by: the "signed" or the "absolute" value says which region is highest.
        size: of the neighbourhood, of smoothing and of regions; 3 is the paper's.
        border: "truncate" or "wrap", of the neighbourhood.
        seed: of t-SNE and UMAP.

    Raises:
        SettingError: a setting that is not allowed.

    Source: Krug & Stober 2019, sections 2.2 and 2.3, with class means in the place of time-averaged
    GradNAPs (of which `response_maps` draws maps). Measures: Moran 1950, Geary 1954.

    Example:
        >>> import torch, torchprobe as tp
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU())
        >>> probe = tp.Probe(model, "1", [Topography()])
        >>> found = probe.run([(torch.randn(60, 4), torch.arange(60) % 3)])["topography"]["1"]
        >>> found.maps.shape, found.axes("maps")
        ((3, 4, 4), ('class', 'row', 'column'))
    """

    name = "topography"
    needs_labels = True

    def __init__(
        self,
        arrange: Arrange = "order",
        grids: Mapping[str, Sequence[int]] | None = None,
        cells: Mapping[str, Sequence[int]] | None = None,
        region_by: By = "signed",
        size: int = 3,
        border: Literal["truncate", "wrap"] = "truncate",
        seed: int = 0,
    ) -> None:
        self.arrange: Arrange = arrange
        self.grids = {name: (int(r), int(c)) for name, (r, c) in (grids or {}).items()}
        self.cells = {name: tuple(map(int, each)) for name, each in (cells or {}).items()}
        self.region_by: By = region_by
        self.size, self.border, self.seed = size, border, seed
        if arrange not in _ARRANGED:
            raise SettingError(f"arrange={arrange!r}; choose one of {', '.join(_ARRANGED)}")
        if region_by not in ("signed", "absolute"):
            raise SettingError(f"region_by={region_by!r}; choose 'signed' or 'absolute'")
        Neighbourhood(size, border)

    def start(self, layer: Layer) -> None:
        """Means of each class."""
        self.means = GroupMeans(layer.channels)
        self._grid()

    def _grid(self) -> Grid:
        units, shape = self.layer.channels, self.grids.get(self.layer.name)
        if shape is None and units < 4:  # noqa: PLR2004 - no two rows and two columns
            return Grid(units, 1)
        return Grid.of(units, shape, "pad")

    def update(self, batch: LayerBatch) -> None:
        """Add the rows of a batch to their classes."""
        self.means.update(batch.row_parts(), batch.groups)

    def compute(self) -> Result:
        """The maps and their measures.

        Raises:
            EmptyStateError: no row with a label was seen.
        """
        counts = self.means.counts.numpy(force=True)
        responses = _responses(self.means.value.numpy(force=True), counts)
        comparable = bool(np.isfinite(responses).all()) and min(responses.shape) > 1
        notes = [] if comparable else ["maps are not measured: one class or unit, or NaN in it"]
        layout = self._layout(responses, notes, comparable=comparable)
        maps = layout.lay(responses)
        trust: dict[str, Any] = {}
        if not math.isnan(layout.trust[1]):
            trust["trust_cells"] = Field("", layout.trust[1], range=(0, 1))
        return self.result(
            coords={"class": self.class_names(self.means.groups)},
            notes=notes,
            responses=("class channel", responses),
            counts=("class", counts),
            cell=("channel", layout.cells),
            maps=("class row column", maps),
            smoothed=("class row column", smoothed(maps, self.size)),
            **self._regions(maps, notes),
            **self._measures(responses[:, layout.order], layout.grid, comparable=comparable),
            **trust,
        )

    def _layout(self, responses: Array, notes: list[str], *, comparable: bool) -> Arrangement:
        grid = self._grid()
        if self.layer.name in self.cells:
            return Arrangement(grid, self.cells[self.layer.name], method="given")
        if self.arrange == "order":
            return Arrangement.in_order(grid)
        if not comparable or grid.units < 4:  # noqa: PLR2004
            notes.append("units stand in their own order: there is nothing to arrange them by")
            return Arrangement.in_order(grid)
        return arrange(responses.T, self.arrange, grid=grid, seed=self.seed)

    def _regions(self, maps: Array, notes: list[str]) -> dict[str, Any]:
        rounded = _rounded(maps)
        found = [_region(each, self.size, self.region_by) for each in rounded]
        if all(row < 0 for row, _, _ in found):
            notes.append(f"the grid has no whole region of {self.size} × {self.size} cells")
        rows, columns, values = zip(*found, strict=True)
        flat = _rounded(smoothed(rounded, self.size))
        maxima = np.array([local_maxima(each, least=0.5).sum() for each in flat])
        return {
            "region_row": ("class", np.array(rows, dtype=np.int64)),
            "region_column": ("class", np.array(columns, dtype=np.int64)),
            "region_value": ("class", np.array(values)),
            "maxima": ("class", maxima),
            "mean_maxima": float(maxima.mean()),
        }

    def _measures(self, placed: Array, grid: Grid, *, comparable: bool) -> dict[str, Any]:
        """Measures of responses [class, cell]."""
        nothing = np.full(len(placed), np.nan)
        moran, z, smooth = nothing, nothing, nothing
        neighbours = random = math.nan
        nearby = Neighbourhood(self.size, self._border(grid))
        if comparable:
            found = alikeness(placed.T, grid, nearby)
            neighbours, random = found.neighbours, found.random
            if grid.units >= 4:  # noqa: PLR2004 - the variance divides by n − 3
                (moran, z), smooth = (
                    morans_i(placed, grid, nearby),
                    smoothness(placed, grid, nearby),
                )
        cosine = (-1, 1)
        return {
            "moran": ("class", moran),
            "moran_z": Field("class", z, "standard deviations"),
            "mean_moran": _mean(moran),
            "smoothness": Field("class", smooth, range=(None, 1)),
            "mean_smoothness": Field("", _mean(smooth), range=(None, 1)),
            "neighbour_cosine": Field("", neighbours, range=cosine),
            "random_cosine": Field("", random, range=cosine),
            "excess_cosine": Field("", neighbours - random, range=(-2, 2)),
        }

    def _border(self, grid: Grid) -> Literal["truncate", "wrap"]:
        """Grids that cannot wrap are cut off: an analyzer works on any layer."""
        full = grid.cells == grid.units and min(grid.shape) >= self.size
        return self.border if full else "truncate"


def arrangement_of(result: Result) -> Arrangement:
    """The arrangement of a result, to lay other values of the same units by.

    Args:
        result: of `Topography`.
    """
    cells = result.cell
    rows, columns = result.maps.shape[1:]
    return Arrangement(Grid(rows, columns, len(cells)), cells, method=result.settings["arrange"])


def cells_of(results: LayerResults) -> dict[str, tuple[int, ...]]:
    """The cell of each unit by layer: ``Topography(cells=cells_of(earlier["topography"]))``.

    Args:
        results: of `Topography`; of several groupings the last one counts.
    """
    return {each.layer: tuple(each.cell.tolist()) for each in results.values()}


def response_maps(result: Result, field: str, arrangement: Arrangement) -> Array:
    """Maps of any profile by group, averaged over positions: time-mean GradNAPs as in the paper.

    Args:
        result: of another analyzer, whose ``field`` is (group or class, channel, *positions).
        field: "gradnap", "nap", "csv", ...
        arrangement: where the units lie.

    Returns:
        [group, row, column].

    Raises:
        SettingError: the field's first two axes are not groups and channels.

    Source: Krug & Stober 2019, section 2.3: time-averaged GradNAP values on the map.
    """
    axes, values = result.axes(field), np.asarray(result[field].values, dtype=np.float64)
    if len(axes) < 2 or axes[1] != "channel":  # noqa: PLR2004
        raise SettingError(
            f"field {field!r} has axes ({', '.join(axes)}); a map needs (group, channel, ...)"
        )
    return arrangement.lay(values.reshape(*values.shape[:2], -1).mean(2))


def _responses(means: Array, counts: Array) -> Array:
    """Class means less the mean of all labelled rows: [class, channel]."""
    overall = counts @ means / counts.sum()
    deviations = means - overall
    largest = np.abs(means).max(0, initial=0)
    return np.where(np.abs(deviations) <= _ROUNDING * largest, 0.0, deviations)


def _rounded(maps: Array) -> Array:
    """Maps whose ties are ties, whatever the order of summation."""
    highest = np.nanmax(np.abs(maps), initial=0.0)
    if not highest or not np.isfinite(highest):
        return maps
    return np.asarray(np.round(maps / highest, _DIGITS) * highest)


def _region(grid_map: Array, size: int, by: By) -> tuple[int, int, float]:
    """First row and column and mean of the highest region; −1 and NaN where there is none."""
    if min(grid_map.shape) < size:
        return -1, -1, math.nan
    try:
        found = region(grid_map, size, by)
    except ValueError:  # every window has an empty cell
        return -1, -1, math.nan
    return found.row, found.column, found.value


def _mean(values: Array) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else math.nan
