"""Hierarchical clustering of rows: merges, leaf order, cuts and thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from torchprobe.errors import InsufficientDataError, SettingError
from torchprobe.numerics._arrays import Array, Indices, as_points, as_square_distances, choice
from torchprobe.numerics.distances import (
    condensed_correlation,
    condensed_euclidean,
    constant_rows,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Metric = Literal["correlation", "euclidean"]
Method = Literal["average", "complete"]
Base = Literal["condensed", "square"]


@dataclass(frozen=True)
class Clustering:
    """A dendrogram over items, some of which may be excluded because no distance is defined.

    ``linkage`` [merge, 4] and ``distances`` [pair] number the included items from 0, as scipy
    does; ``included`` and ``excluded`` hold item indices. Everything the methods return is in
    terms of all items.
    """

    linkage: Array
    distances: Array
    included: Indices
    excluded: Indices

    @property
    def heights(self) -> Array:
        """Distance at which each merge happens, ascending [merge]."""
        return self.linkage[:, 2]

    @property
    def order(self) -> Indices:
        """Included items from left to right under the dendrogram [included]."""
        return self.included[self._leaves()]

    def cut(self, height: float) -> Indices:
        """Cluster of each item once all merges at or below ``height`` are done [item].

        Clusters are numbered from 0 along the leaf order; excluded items get -1.
        """
        leaves = self._leaves()
        flat = self._flat(height)[leaves]
        labels = np.full(len(self.included) + len(self.excluded), -1, dtype=np.intp)
        # a cut leaves each cluster contiguous under the dendrogram
        labels[self.included[leaves]] = np.cumsum(np.diff(flat, prepend=flat[:1]) != 0)
        return labels

    def count(self, height: float) -> int:
        """Number of clusters once all merges at or below ``height`` are done."""
        return len(self.included) - int(np.count_nonzero(self.heights <= _height(height)))

    def _leaves(self) -> Indices:
        from scipy.cluster.hierarchy import leaves_list

        few = len(self.included) < 2
        order = np.arange(len(self.included)) if few else leaves_list(self.linkage)
        return order.astype(np.intp)

    def _flat(self, height: float) -> Indices:
        from scipy.cluster.hierarchy import fcluster

        if len(self.included) < 2:
            return np.zeros(len(self.included), dtype=np.intp)
        return np.asarray(fcluster(self.linkage, _height(height), "distance"), dtype=np.intp)


def upgma(rows: ArrayLike, metric: Metric = "correlation") -> Clustering:
    """Average-linkage (UPGMA) clustering of rows [item, feature] by 1 − Pearson r or Euclidean.

    Rows constant up to rounding have no correlation and are listed in ``excluded`` (all of them,
    if need be: the clustering is then empty). Source: Nagamine & Mesgarani 2017, section 3.1.

    Raises:
        ShapeError: rows is not a matrix of finite numbers.
        InsufficientDataError: there are no rows at all.

    >>> csv = [[2, 0, 0], [0, 3, 1], [1, 1, 1], [0, 1, 6], [3, 1, 0]]  # [node, class]
    >>> clustering = upgma(csv)
    >>> clustering.excluded, clustering.cut(0.5), clustering.count(0.5)
    (array([2]), array([ 0,  1, -1,  2,  0]), 3)
    """
    items = as_points(rows, "rows")
    if choice(metric, "metric", ("correlation", "euclidean")) == "euclidean":
        return _cluster(condensed_euclidean(items), "average", len(items))
    excluded = constant_rows(items)
    varying = np.delete(items, excluded, axis=0)
    distances = condensed_correlation(varying) if len(varying) else np.empty(0)
    return _cluster(distances, "average", len(items), excluded)


def complete_linkage(rows: ArrayLike) -> Clustering:
    """Complete-linkage clustering of rows [item, feature] by Euclidean distance.

    Source: Krug, Knaebel & Stober 2018, section on clustering of neuron activation profiles.

    Raises:
        ShapeError: rows is not a matrix of finite numbers.
        InsufficientDataError: there are no rows at all.

    >>> complete_linkage([[0.0], [1.0], [4.0]]).heights
    array([1., 4.])
    """
    items = as_points(rows, "rows")
    return _cluster(condensed_euclidean(items), "complete", len(items))


def cluster_distances(distances: ArrayLike, method: Method = "average") -> Clustering:
    """Clustering of items whose distances are known, condensed [pair] or square [item, item].

    Raises:
        ShapeError: the distances are not finite, not symmetric, negative or of a wrong length.

    >>> cluster_distances([3.0, 4.0, 5.0], method="complete").heights
    array([3., 5.])
    """
    from scipy.spatial.distance import squareform

    choice(method, "method", ("average", "complete"))
    square = as_square_distances(distances)
    return _cluster(squareform(square, checks=False), method, len(square))


def percentile_threshold(distances: ArrayLike, percent: float, base: Base = "condensed") -> float:
    """Percentile of the pairwise distances, linearly interpolated: a height to cut at.

    ``base="square"`` takes the percentile of the whole matrix; its zero diagonal counts too.
    Source: Krug, Knaebel & Stober 2018 (80th percentile of the pairwise distances).

    Raises:
        InsufficientDataError: fewer than two items.
        SettingError: percent outside 0..100, or an unknown base.

    >>> percentile_threshold([1.0, 2.0, 3.0], 80)
    2.6
    >>> percentile_threshold([1.0, 2.0, 3.0], 50, base="square")
    1.0
    """
    from scipy.spatial.distance import squareform

    if not 0 <= percent <= 100:
        raise SettingError(f"percent={percent}; expected a number from 0 to 100")
    choice(base, "base", ("condensed", "square"))
    square = as_square_distances(distances)
    if len(square) < 2:
        raise InsufficientDataError("a percentile of pairwise distances needs at least two items")
    values = square if base == "square" else squareform(square, checks=False)
    return float(np.percentile(values, percent))


def _cluster(
    distances: Array, method: Method, items: int, excluded: Indices | None = None
) -> Clustering:
    from scipy.cluster.hierarchy import linkage

    left_out = np.empty(0, dtype=np.intp) if excluded is None else excluded
    included = np.setdiff1d(np.arange(items), left_out)
    merges = linkage(distances, method) if len(distances) else np.empty((0, 4))
    return Clustering(np.asarray(merges), distances, included, left_out)


def _height(height: float) -> float:
    if np.isnan(height):
        raise SettingError("height is NaN; give the distance at which to cut")
    return float(height)
