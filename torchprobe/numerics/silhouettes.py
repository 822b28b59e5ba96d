"""Silhouettes of a clustering cut at several percentiles of its distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from torchprobe.errors import ShapeError
from torchprobe.numerics._arrays import Array, Indices, as_square_distances
from torchprobe.numerics.clustering import Base, Clustering, percentile_threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

PERCENTILES = (75.0, 80.0, 85.0, 90.0, 95.0)


@dataclass(frozen=True)
class Silhouettes:
    """Mean silhouette per percentile: NaN where undefined, and how many are.

    All arrays are [percentile]; scores lie in −1..1.
    """

    percentiles: Array
    thresholds: Array
    clusters: Indices
    scores: Array

    @property
    def undefined(self) -> int:
        """Percentiles whose cut has one cluster, or only clusters of one item."""
        return int(np.count_nonzero(np.isnan(self.scores)))

    @property
    def mean(self) -> float:
        """Mean of the defined scores; NaN when none is."""
        defined = self.scores[~np.isnan(self.scores)]
        return float(defined.mean()) if len(defined) else float("nan")


def silhouette(distances: ArrayLike, labels: ArrayLike) -> float:
    """Mean silhouette (−1..1) of labelled items from their distances, condensed or square.

    NaN when undefined: a single cluster, or as many clusters as items. An item alone in its
    cluster scores 0. Source: Rousseeuw 1987; Krug & Stober 2020 (GradNAP), its evaluation.

    Raises:
        ShapeError: the distances are no distance matrix, or labels do not match it.

    >>> round(silhouette([1.0, 9.0, 8.0], [0, 0, 1]), 6)
    0.587963
    """
    from sklearn.metrics import silhouette_score

    square = as_square_distances(distances)
    groups = np.asarray(labels)
    if groups.shape != (len(square),):
        raise ShapeError(f"labels have shape {groups.shape}; expected [{len(square)}]")
    if not 1 < len(np.unique(groups)) < len(groups):
        return float("nan")
    return float(silhouette_score(square, groups, metric="precomputed"))


def silhouette_profile(
    clustering: Clustering,
    percentiles: Sequence[float] = PERCENTILES,
    base: Base = "condensed",
) -> Silhouettes:
    """Silhouettes of the clustering cut at percentiles of its own pairwise distances.

    Source: Krug & Stober 2020 (GradNAP), representation score: complete linkage, percentiles 75
    to 95 in steps of 5, and their mean.

    Raises:
        InsufficientDataError: fewer than two clustered items.
        SettingError: a percentile outside 0..100.

    >>> from torchprobe.numerics import complete_linkage
    >>> points = [[0], [1], [4], [6], [12], [13.5], [20], [30]]
    >>> round(silhouette_profile(complete_linkage(points)).mean, 5)
    0.53798
    """
    square = as_square_distances(clustering.distances)
    heights = [percentile_threshold(square, percent, base) for percent in percentiles]
    cuts = [clustering.cut(height)[clustering.included] for height in heights]
    return Silhouettes(
        percentiles=np.asarray(percentiles, dtype=np.float64),
        thresholds=np.asarray(heights, dtype=np.float64),
        clusters=np.asarray([len(np.unique(labels)) for labels in cuts], dtype=np.intp),
        scores=np.asarray([silhouette(square, labels) for labels in cuts], dtype=np.float64),
    )
