"""Labels that mean nothing: the control that a probe's accuracy is to be compared with.

Rows, or types of rows, are spread over `BINS` bins by a hash; a bin belongs to a class, each class
to as many bins as its share of the rows. Because the bins are summed before it is known how many
classes there are and how common each is, one pass over the data fits the control as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

import numpy as np
import torch

from torchprobe.accumulators.sample import hash_order

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from torchprobe import LayerBatch

__all__ = ["BINS", "ROWS", "Control", "class_of_bin", "class_statistics", "row_bins"]

Array: TypeAlias = "NDArray[np.float64]"

BINS = 1024
"""Shares of classes are met to 1 in 1,024; more bins would cost a wide layer more memory."""
ROWS = "rows"
"""The control in which every row has a label of its own."""
_SEED = 0x5EED
_TOP_BITS = 54  # of 64 are shifted out: 10 bits are 1,024 bins


def row_bins(batch: LayerBatch, control: str, seed: int) -> Tensor:
    """The bin of each of a batch's rows: int64 [row], -1 where a row has no class or no type.

    Args:
        batch: seen as the grouping of the classes.
        control: `ROWS`, or the grouping whose labels are the types.
        seed: other seeds spread rows otherwise.

    Raises:
        LabelError: the batch has no labels of that grouping, or no ids.
    """
    labels = batch.labels.cpu()
    if control == ROWS:
        types = batch.row_ids
    else:
        types = batch.view(control, batch.layer.positions).labels.cpu()
    bins = (hash_order(types, seed ^ _SEED) >> _TOP_BITS) + BINS // 2
    return bins.masked_fill((labels < 0) | (types < 0), -1)


def class_of_bin(counts: Array) -> NDArray[np.intp]:
    """The class of each bin, as an index [bin]: shares as near to those of the rows as bins allow.

    Args:
        counts: rows of each class [class].

    Example:
        >>> np.bincount(class_of_bin(np.array([3.0, 1.0]))).tolist()
        [768, 256]
    """
    exact = BINS * counts / counts.sum()
    bins = np.floor(exact).astype(np.intp)
    most_missed = np.argsort(bins - exact, kind="stable")
    bins[most_missed[: BINS - bins.sum()]] += 1
    return np.repeat(np.arange(len(counts)), bins)


def class_statistics(
    bins: NDArray[np.intp], counts: Array, means: Array, classes: NDArray[np.intp]
) -> tuple[Array, Array]:
    """Rows [class] and means [class, channel] of the control's classes, from those of the bins.

    Args:
        bins: the bins that have rows [item].
        counts: their rows [item].
        means: their means [item, channel].
        classes: the class of every bin [bin].
    """
    members = np.zeros((classes.max() + 1, len(bins)))
    members[classes[bins], np.arange(len(bins))] = counts
    rows = members.sum(axis=1)
    return rows, members @ means / np.maximum(rows, 1)[:, np.newaxis]


class Predictor(Protocol):
    """What tells classes apart."""

    def predicted(self, rows: Tensor) -> Tensor:
        """The class of each row [row, channel]: int64 [row]."""

    def to(self, device: torch.device) -> Self:
        """The same where some rows are."""


@dataclass(frozen=True, eq=False)
class Control:
    """A probe fitted to labels that mean nothing."""

    predictor: Predictor
    class_of_bin: NDArray[np.intp]

    def right(self, rows: Tensor, bins: Tensor) -> Tensor:
        """Whether the control's class of each row is predicted: bool [row that has a bin]."""
        have = bins >= 0
        found = self.predictor.predicted(rows[have.to(rows.device)])
        return found.cpu() == classes_of(bins[have], self.class_of_bin)

    def to(self, device: torch.device) -> Self:
        """The same where some rows are."""
        return replace(self, predictor=self.predictor.to(device))


def classes_of(bins: Tensor, class_of_bin: NDArray[np.intp]) -> Tensor:
    """The control's class of each row, as an index: int64 [row], for bins from 0 [row]."""
    return torch.from_numpy(class_of_bin)[bins]
