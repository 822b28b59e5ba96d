"""Which items have the smallest keys: by key, ties by id, each item once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["smallest", "within_limits"]


def smallest(items: Mapping[str, Tensor], n: int, *, per_group: bool) -> Tensor:
    """Indices of the ``n`` items with the smallest keys, of all or of each label, in that order.

    Items are "keys", "ids" and "labels", each [item] on the CPU; of items with one id the one
    with the smallest key counts.

    Example:
        >>> keys, ids = torch.tensor([5, 2, 2, 9]), torch.tensor([10, 12, 11, 10])
        >>> smallest({"keys": keys, "ids": ids, "labels": ids}, 3, per_group=False).tolist()
        [2, 1, 0]
    """
    keys, ids, labels = (items[name].numpy() for name in ("keys", "ids", "labels"))
    order = np.lexsort((ids, keys, labels) if per_group else (ids, keys))
    order = order[_first_of_each(ids[order])]
    kept = order[_rank_in_run(labels[order]) < n] if per_group else order[:n]
    return torch.from_numpy(kept)


def within_limits(items: Mapping[str, Tensor], held: Mapping[str, Tensor], n: int) -> Tensor:
    """Which items are not larger than what their label already holds ``n`` of: bool [item]."""
    groups, index, counts = torch.unique(held["labels"], return_inverse=True, return_counts=True)
    keys = held["keys"]
    largest = keys.new_zeros(len(groups)).scatter_reduce_(
        0, index, keys, "amax", include_self=False
    )
    at = torch.searchsorted(groups, items["labels"]).clamp(max=len(groups) - 1)
    full = (groups[at] == items["labels"]) & (counts[at] >= n)
    within: Tensor = ~full | (items["keys"] <= largest[at])
    return within


def _first_of_each(values: NDArray[np.int64]) -> NDArray[np.intp]:
    return np.sort(np.unique(values, return_index=True)[1])


def _rank_in_run(values: NDArray[np.int64]) -> NDArray[np.intp]:
    """The place of each value in its run of equal values, from 0."""
    starts = np.flatnonzero(np.diff(values, prepend=values[:1] - 1))
    lengths = np.diff(starts, append=len(values))
    return np.arange(len(values)) - np.repeat(starts, lengths)
