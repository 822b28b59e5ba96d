"""Which groups have similar profiles, and how distinct the clusters are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe import Field
from torchprobe.numerics import (
    complete_linkage,
    percentile_threshold,
    silhouette_profile,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["LINKAGE", "cluster_fields"]

LINKAGE = ("left", "right", "distance", "size")


def cluster_fields(
    profiles: NDArray[np.float64], percentile: float, percentiles: Sequence[float]
) -> dict[str, Any]:
    """The dendrogram of the groups, clusters and silhouettes, as fields of a result.

    Complete linkage of Euclidean distances between profiles [group, channel, *positions].
    Silhouettes that are undefined (one cluster, or nothing but single groups) are NaN, left out of
    the mean and counted.

    Source: Krug & Stober 2020, section 3.4.
    """
    clustering = complete_linkage(profiles.reshape(len(profiles), -1))
    threshold, scores, mean = float("nan"), np.full(len(percentiles), np.nan), float("nan")
    thresholds = scores.copy()
    if len(profiles) > 1:
        threshold = percentile_threshold(clustering.distances, percentile)
        found = silhouette_profile(clustering, percentiles)
        thresholds, scores, mean = found.thresholds, found.scores, found.mean
    cluster = clustering.cut(np.inf if np.isnan(threshold) else threshold)
    return {
        "distances": Field("group other", _square(clustering.distances), range=(0, None)),
        "linkage": ("merge linkage", clustering.linkage),
        "order": ("leaf", clustering.order),
        "threshold": Field("", threshold, range=(0, None)),
        "cluster": ("group", cluster),
        "n_clusters": float(cluster.max() + 1),
        "thresholds": Field("percentile", thresholds, range=(0, None)),
        "silhouettes": Field("percentile", scores, range=(-1, 1)),
        "mean_silhouette": Field("", mean, range=(-1, 1)),
        "n_undefined": float(np.isnan(scores).sum()),
    }


def _square(condensed: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.spatial.distance import squareform

    return squareform(condensed) if len(condensed) else np.zeros((1, 1))
