"""Items clustered by how their profiles correlate; items without a profile set aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from torchprobe.numerics import Clustering
from torchprobe.numerics.distances import condensed_correlation, constant_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Method", "Profiles", "clustered"]

Array: TypeAlias = "NDArray[np.float64]"
Method: TypeAlias = Literal["average", "complete"]

_DIGITS = 12  # of a distance; what follows is rounding, which must not decide between ties


@dataclass(frozen=True, eq=False)
class Profiles:
    """A clustering of items, and why some or all items are not in it."""

    clustering: Clustering
    constant: NDArray[np.bool_]
    """Items whose profile is constant, so that no correlation is defined [item]."""
    compared: bool
    """False where no item was compared with another, however they look."""
    notes: tuple[str, ...] = ()

    def fields(self, name: str) -> dict[str, Any]:
        """The dendrogram as fields of a result."""
        return {
            f"{name}_linkage": ((f"{name}_merge", "linkage"), self.clustering.linkage),
            f"{name}_order": ((f"{name}_leaf",), self.clustering.order),
        }


def clustered(profiles: Array, what: str, across: str, method: Method, most: int) -> Profiles:
    """Cluster items by 1 − Pearson r of their profiles [item, feature].

    Args:
        profiles: one row for each item.
        what: what the items are, for notes.
        across: what their profiles run over, for notes.
        method: how the distance of two clusters follows from that of their members.
        most: leave more items than this unclustered.

    >>> found = clustered(np.array([[1.0, 2], [2, 4], [3, 3]]), "units", "classes", "average", 9)
    >>> found.clustering.cut(0.5), found.constant.tolist(), found.notes
    (array([ 0,  0, -1]), [False, False, True], ())
    """
    finite = np.isfinite(profiles).all(axis=1)
    constant = np.zeros(len(profiles), dtype=bool)
    if profiles.shape[1] < 2:  # noqa: PLR2004 - a single value correlates with nothing
        return _unclustered(constant, f"{what} are not clustered: there are no two {across}")
    constant[finite] = _constant(profiles[finite])
    notes = _notes(
        np.logical_not(finite), f"{what} not clustered because they hold NaN or infinity"
    )
    live = finite & ~constant
    if live.sum() > most:
        reason = f"{live.sum():,} {what} are not clustered: more than max_nodes={most:,}"
        return _unclustered(constant, reason, *notes)
    return Profiles(_clustering(profiles, live, method), constant, compared=True, notes=notes)


def _notes(left_out: NDArray[np.bool_], why: str) -> tuple[str, ...]:
    return (f"{left_out.sum():,} {why}",) if left_out.any() else ()


def _constant(profiles: Array) -> NDArray[np.bool_]:
    constant = np.zeros(len(profiles), dtype=bool)
    constant[constant_rows(profiles)] = True
    return constant


def _clustering(profiles: Array, live: NDArray[np.bool_], method: Method) -> Clustering:
    from scipy.cluster.hierarchy import linkage

    included, excluded = np.flatnonzero(live), np.flatnonzero(~live)
    if len(included) < 2:  # noqa: PLR2004 - nothing to merge
        return Clustering(np.empty((0, 4)), np.empty(0), included, excluded)
    distances = condensed_correlation(profiles[live]).round(_DIGITS)
    return Clustering(np.asarray(linkage(distances, method)), distances, included, excluded)


def _unclustered(constant: NDArray[np.bool_], *notes: str) -> Profiles:
    nothing = np.empty(0, dtype=np.intp)
    empty = Clustering(np.empty((0, 4)), np.empty(0), nothing, np.arange(len(constant)))
    return Profiles(empty, constant, compared=False, notes=notes)
