"""Which groups have similar profiles: distances, clusters, how distinct these are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from torchprobe.numerics import (
    Clustering,
    Silhouettes,
    percentile_threshold,
    silhouette_profile,
)
from torchprobe.numerics.distances import condensed_euclidean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Base", "GroupClusters", "clustered", "rank_correlation"]

Array: TypeAlias = "NDArray[np.float64]"
Base: TypeAlias = Literal["condensed", "square"]

_DIGITS = 12  # of a distance; what follows is rounding, which must not decide between ties


@dataclass(frozen=True, eq=False)
class GroupClusters:
    """A complete-linkage clustering of groups, cut at a percentile of their distances."""

    clustering: Clustering
    threshold: float
    """NaN where there are no two groups to compare."""
    silhouettes: Silhouettes

    @property
    def cluster(self) -> NDArray[np.intp]:
        """Of each group, numbered along the dendrogram; -1 for groups left out [group]."""
        return self.clustering.cut(np.inf if np.isnan(self.threshold) else self.threshold)

    @property
    def distances(self) -> Array:
        """Between all groups, NaN for those left out [group, group]."""
        from scipy.spatial.distance import squareform

        included = self.clustering.included
        n = len(included) + len(self.clustering.excluded)
        distances = np.full((n, n), np.nan)
        between = squareform(self.clustering.distances) if len(included) > 1 else 0.0
        distances[np.ix_(included, included)] = between
        return distances


def clustered(
    profiles: Array, percentile: float, percentiles: Sequence[float], base: Base
) -> GroupClusters:
    """Cluster profiles [group, channel, position] by their Euclidean distance.

    Groups whose profile holds NaN or infinity are left out.

    >>> found = clustered(np.array([[[0.0]], [[1.0]], [[4.0]]]), 80, [75], "condensed")
    >>> found.distances[0].tolist(), found.threshold, found.cluster
    ([0.0, 1.0, 4.0], 3.6, array([1, 1, 0]))
    """
    rows = profiles.reshape(len(profiles), -1)  # [group, neuron and position]
    clustering = _complete_linkage(rows)
    if len(clustering.included) < 2:  # noqa: PLR2004 - nothing to compare with
        undefined = np.full(len(percentiles), np.nan)
        clusters = np.ones(len(percentiles), dtype=np.intp)
        none = Silhouettes(np.asarray(percentiles), undefined, clusters, undefined)
        return GroupClusters(clustering, float("nan"), none)
    return GroupClusters(
        clustering,
        percentile_threshold(clustering.distances, percentile, base),
        silhouette_profile(clustering, percentiles, base),
    )


def _complete_linkage(rows: Array) -> Clustering:
    from scipy.cluster.hierarchy import linkage

    finite = np.isfinite(rows).all(axis=1)
    included, excluded = np.flatnonzero(finite), np.flatnonzero(~finite)
    if len(included) < 2:  # noqa: PLR2004 - no merge
        return Clustering(np.empty((0, 4)), np.empty(0), included, excluded)
    distances = _rounded(condensed_euclidean(rows[finite]))
    return Clustering(linkage(distances, "complete"), distances, included, excluded)


def rank_correlation(counts: NDArray[np.int64], distances: Array) -> float:
    """Spearman's correlation of group size with mean distance to other groups, −1..1.

    Negative where rare groups lie far away: their means still hold what is particular to their few
    examples. NaN for fewer than three groups and where either is the same for all.

    >>> apart = np.array([[0, 1, 9], [1, 0, 8], [9, 8, 0]])
    >>> round(rank_correlation(np.array([50, 80, 3]), apart), 3)
    -1.0
    """
    from scipy.stats import rankdata

    compared = np.isfinite(distances).any(axis=1)
    sizes, apart = rankdata(counts[compared]), rankdata(np.nansum(distances[compared], axis=1))
    if len(sizes) < 3 or np.ptp(sizes) == 0 or np.ptp(apart) == 0:  # noqa: PLR2004 - two always do
        return float("nan")
    return float(np.clip(np.corrcoef(sizes, apart)[0, 1], -1, 1))


def _rounded(distances: Array) -> Array:
    """To so many digits of the largest."""
    scale = distances.max(initial=0.0)
    return (distances / scale).round(_DIGITS) * scale if scale > 0 else distances
