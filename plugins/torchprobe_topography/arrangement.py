"""A place for each unit after training: a layout by what units do, assigned to a regular grid."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from torchprobe.errors import MissingExtraError, NonFiniteError, SettingError, ShapeError
from torchprobe.numerics import trustworthiness
from torchprobe_topography.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

__all__ = ["Arrangement", "Method", "arrange"]

Method: TypeAlias = Literal["pca", "tsne", "umap", "graph"]

_MOST = 8192  # units: the assignment's cost matrix then takes half a gigabyte
_NEIGHBOURS = 10  # of a unit in the graph, and those that trust is measured by


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Which unit lies in which cell of a grid; the same for every map drawn with it.

    Args:
        grid: the cells; as many are filled as there are units.
        cells: cell of each unit, every one of the first ``grid.units`` once: [unit].
        points: where a layout put the units before they were assigned to cells: [unit, 2].
        method: how they were laid out; "order" for units in their own order.
        trust: trustworthiness, 0..1, of the points and of the cells: how far units that lie
            together have profiles alike. NaN where it was not measured.

    Raises:
        ShapeError: the cells are not one for each unit.

    Example:
        >>> Arrangement.in_order(Grid(2, 2)).lay([1, 2, 3, 4]).tolist()
        [[1.0, 2.0], [3.0, 4.0]]
        >>> Arrangement(Grid(2, 2), [3, 2, 1, 0]).lay([1, 2, 3, 4]).tolist()
        [[4.0, 3.0], [2.0, 1.0]]
    """

    grid: Grid
    cells: Sequence[int] | NDArray[np.int64]
    points: Array | None = None
    method: str = "order"
    trust: tuple[float, float] = (float("nan"), float("nan"))

    def __post_init__(self) -> None:
        cells = np.asarray(self.cells)
        if not np.array_equal(np.sort(cells, axis=None), np.arange(self.grid.units)):
            raise ShapeError(
                f"cells of shape {cells.shape} do not put each of {self.grid.units} units into one "
                f"of the first {self.grid.units} cells of {self.grid!r}"
            )
        object.__setattr__(self, "cells", cells.astype(np.int64))

    @classmethod
    def in_order(cls, grid: Grid) -> Arrangement:
        """Unit c in cell c, as the topographic loss trains them."""
        return cls(grid, np.arange(grid.units))

    @property
    def order(self) -> NDArray[np.int64]:
        """The unit in each cell: [cell]."""
        return np.argsort(self.cells)

    def lay(self, values: ArrayLike) -> Array:
        """Values [..., unit] as maps [..., row, column], NaN where a cell is empty.

        Raises:
            ShapeError: the last axis is not that of the units.
        """
        array = np.asarray(values, dtype=np.float64)
        if array.ndim == 0 or array.shape[-1] != self.grid.units:
            raise ShapeError(f"values of shape {array.shape} do not fit {self.grid!r}: [..., unit]")
        return self.grid.lay(array[..., self.order])


def arrange(
    profiles: ArrayLike,
    method: Method = "pca",
    *,
    grid: Grid | None = None,
    seed: int = 0,
    **options: Any,
) -> Arrangement:
    """Give each unit of a trained layer a place, near units with similar profiles.

    Profiles are compared by Pearson correlation. The units are laid out in the plane and assigned
    to the cells of the grid so that the sum of squared distances moved is least (optimal
    assignment), after both axes were spread evenly by rank.

    Args:
        profiles: what units are known by, e.g. their mean responses to groups: [unit, feature].
        method: "pca", "tsne" (scikit-learn), "umap" (extra ``projection``), or "graph": the
            spectral layout of the graph of nearest neighbours.
        grid: the cells; near a square by default, with empty cells where need be.
        seed: of t-SNE and UMAP.
        options: of ``sklearn.manifold.TSNE`` or ``umap.UMAP``.

    Raises:
        ShapeError: profiles are no matrix, or do not fit the grid.
        NonFiniteError: NaN or infinity.
        SettingError: an unknown method, more than 8,192 units or fewer than four.
        MissingExtraError: UMAP is not installed.

    Source: torchprobe's own, for layers trained without the topographic loss; trustworthiness:
    Venna & Kaski 2001.

    Example:
        >>> angles = np.linspace(0, 3, 16)
        >>> found = arrange(np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1), "pca")
        >>> found.grid, bool(found.trust[1] > 0.7)
        (Grid(4 × 4), True)
    """
    directions = _directions(profiles)
    grid = grid or Grid.of(len(directions), uneven="pad")
    if grid.units != len(directions):
        raise ShapeError(f"{len(directions)} profiles do not fit {grid!r}")
    if len(directions) > _MOST:
        raise SettingError(
            f"{len(directions):,} units are too many to assign to cells (at most {_MOST:,}); "
            "arrange a part of them"
        )
    points = _layout(directions, method, seed, options)
    cells = _assigned(points, grid)
    return Arrangement(grid, cells, points, method, _trust(directions, points, cells, grid))


def _layout(directions: Array, method: str, seed: int, options: dict[str, Any]) -> Array:
    layouts = {"pca": _pca, "graph": _graph, "tsne": _tsne, "umap": _umap}
    if method not in layouts:
        raise SettingError(f"method={method!r}; choose one of {', '.join(map(repr, layouts))}")
    if options and method in ("pca", "graph"):
        raise SettingError(f"method={method!r} takes no options, got {', '.join(options)}")
    return np.asarray(layouts[method](directions, seed, options), dtype=np.float64)


def _pca(directions: Array, _: int, __: dict[str, Any]) -> Array:
    centred = directions - directions.mean(0)
    left, sizes, _axes = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(directions), 2))
    found = (left * sizes)[:, :2]
    flip = np.sign(found[np.abs(found).argmax(0), np.arange(found.shape[1])])
    points[:, : found.shape[1]] = found * np.where(flip == 0, 1, flip)
    return points


def _graph(directions: Array, _: int, __: dict[str, Any]) -> Array:
    """Eigenvectors of the graph's Laplacian; a spanning tree keeps the graph in one piece."""
    from scipy.sparse.csgraph import laplacian, minimum_spanning_tree
    from scipy.spatial.distance import cdist

    distances = cdist(directions, directions) + 1e-9  # units that are the same still touch
    np.fill_diagonal(distances, 0)
    nearest = np.argsort(distances, 1, kind="stable")[:, 1 : _NEIGHBOURS + 1]
    graph = minimum_spanning_tree(distances).toarray() > 0
    np.put_along_axis(graph, nearest, values=True, axis=1)
    edges = (graph | graph.T).astype(np.float64)
    _values, vectors = np.linalg.eigh(np.asarray(laplacian(edges, normed=True), dtype=np.float64))
    points = vectors[:, 1:3]
    return np.asarray(points * np.sign(points[np.abs(points).argmax(0), [0, 1]]))


def _tsne(directions: Array, seed: int, options: dict[str, Any]) -> Array:
    from sklearn.manifold import TSNE

    start = _pca(directions, 0, {})
    start *= 1e-4 / max(float(start[:, 0].std()), 1e-30)  # as scikit-learn scales its own
    chosen = {"perplexity": min(30.0, (len(directions) - 1) / 3), "init": start}
    return np.asarray(TSNE(random_state=seed, **{**chosen, **options}).fit_transform(directions))


def _umap(directions: Array, seed: int, options: dict[str, Any]) -> Array:
    if not find_spec("umap"):
        raise MissingExtraError(
            "method='umap' needs umap-learn: pip install 'torchprobe[projection]'"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # TensorFlow is missing
        from umap import UMAP

    chosen = {"n_neighbors": min(15, len(directions) - 1), "n_jobs": 1, **options}
    return np.asarray(UMAP(random_state=seed, **chosen).fit_transform(directions))


def _directions(profiles: ArrayLike) -> Array:
    """Profiles centred and of length 1, so that distances are 2 (1 − r); constant ones are 0."""
    matrix = np.asarray(profiles, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] < 2:  # noqa: PLR2004 - a single number has no pattern
        raise ShapeError(f"profiles of shape {matrix.shape}; give [unit, feature], two or more")
    if not np.isfinite(matrix).all():
        raise NonFiniteError("profiles hold NaN or infinity; leave such groups out")
    centred = matrix - matrix.mean(1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    alive = norms > 1e-12 * np.abs(matrix).max(1, keepdims=True)
    return np.asarray(np.where(alive, centred / np.where(alive, norms, 1), 0))


def _assigned(points: Array, grid: Grid) -> NDArray[np.int64]:
    """The cell of each unit: [unit]."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist
    from scipy.stats import rankdata

    longer = np.argsort(-points.std(0), kind="stable")  # grids are at least as high as wide
    spread = (rankdata(points[:, longer], axis=0) - 0.5) / len(points) * grid.shape - 0.5
    places = np.stack(np.divmod(np.arange(grid.units), grid.columns), 1)
    _, cells = linear_sum_assignment(cdist(spread, places, "sqeuclidean"))
    return np.asarray(cells, dtype=np.int64)


def _trust(
    directions: Array, points: Array, cells: NDArray[np.int64], grid: Grid
) -> tuple[float, float]:
    neighbours = min(_NEIGHBOURS, (len(points) - 1) // 2)
    places = np.stack(np.divmod(cells, grid.columns), 1)
    return (
        float(trustworthiness(directions, points, neighbours)),
        float(trustworthiness(directions, places, neighbours)),
    )
