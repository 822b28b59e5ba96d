"""How far distances and clusters of items agree with kinds that are known of the items."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from torchprobe.errors import ShapeError
from torchprobe.numerics._arrays import as_square_distances
from torchprobe.numerics.silhouettes import silhouette

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

__all__ = ["Agreement", "agreement"]


class Agreement(NamedTuple):
    """How far kinds show; both numbers are NaN where there are no two kinds to compare."""

    silhouette: float
    """Whether items lie nearer to their kind than to any other, −1..1."""
    rand: float
    """Adjusted Rand index of clusters and kinds: 1 if they are the same, 0 on average by chance."""
    items: int
    """How many were compared."""


def agreement(distances: ArrayLike, clusters: ArrayLike, kinds: Sequence[str | None]) -> Agreement:
    """Compare groups of items as found with groups as known: phonemes with phonetic categories.

    Args:
        distances: between items [item, item]; NaN for those that were left out.
        clusters: the number of each item's cluster [item], −1 for none.
        kinds: what each item is; None leaves it out.

    Raises:
        ShapeError: there are not as many clusters and kinds as items.

    Source: Rousseeuw 1987 (silhouette); Hubert & Arabie 1985 (adjusted Rand index).

    >>> apart = [[0, 1, 9, 8], [1, 0, 8, 9], [9, 8, 0, 2], [8, 9, 2, 0]]
    >>> found = agreement(apart, [0, 0, 1, 1], ["vowel", "vowel", "stop", "stop"])
    >>> round(found.silhouette, 3), found.rand
    (0.824, 1.0)
    """
    from sklearn.metrics import adjusted_rand_score

    square, cluster = np.asarray(distances, dtype=np.float64), np.asarray(clusters)
    if square.ndim != 2 or not len(square) == len(cluster) == len(kinds):
        raise ShapeError(
            f"distances {square.shape}, {len(cluster)} clusters and {len(kinds)} kinds are not "
            "those of the same items; give [item, item], [item], [item]"
        )
    known = np.array([kind is not None for kind in kinds], dtype=bool) & (cluster >= 0)
    named = [str(kind) for kind, kept in zip(kinds, known, strict=True) if kept]
    if len(set(named)) < 2:
        return Agreement(float("nan"), float("nan"), len(named))
    between = as_square_distances(square[np.ix_(known, known)])
    rand = adjusted_rand_score(named, cluster[known])
    return Agreement(silhouette(between, named), float(rand), len(named))
