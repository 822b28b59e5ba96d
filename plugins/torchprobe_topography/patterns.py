"""Sparse matrices of units, multiplied by kernels of torch's or by loops of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from torchprobe import compat
from torchprobe.compiled import compiled
from torchprobe.threads import in_threads
from torchprobe_topography import loops

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    Indices = NDArray[np.int64]

__all__ = ["Jobs", "LoopPattern", "Pattern", "numbers"]

_PART = 1 << 18
"""Weights that a thread takes at once: a tenth of a millisecond."""
_WORTH_A_THREAD = 4
"""Parts: to begin threads takes as long as two or three."""


class Jobs:
    """Loops over the units of several layers, to be shared out over threads together.

    Layers of a usual size are over sooner than threads have begun. Units are computed apart, so
    that the number of threads changes nothing.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[Callable[[slice], None], slice]] = []
        self._written: set[int] = set()

    def add(self, loop: Callable[[slice], None], filters: Tensor, into: Tensor) -> None:
        """Add a loop over some of the filters' units, which writes to the same of ``into``."""
        if into.data_ptr() in self._written:  # a weight that two layers share
            self.run()
        self._written.add(into.data_ptr())
        units, features = filters.shape
        step = max(1, _PART // max(1, features))
        self._parts += [
            (loop, slice(start, min(start + step, units))) for start in range(0, units, step)
        ]

    def run(self) -> None:
        """Do and forget them."""
        parts, self._parts, self._written = self._parts, [], set()

        def some(which: slice) -> None:
            for loop, units in parts[which]:
                loop(units)

        in_threads(some, len(parts), _WORTH_A_THREAD)


class Pattern:
    """Where the entries of a sparse matrix [unit, unit] stand, multiplied by torch's kernels.

    Args:
        rows: of the entries, in any order: [entry].
        columns: [entry].
        device: where the filters are.
    """

    def __init__(self, rows: Indices, columns: Indices, device: torch.device) -> None:
        units = int(rows.max()) + 1
        order = np.lexsort((columns, rows))
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=units))])
        self._shape = units, units
        self._starts, self._columns = (
            torch.as_tensor(each, dtype=torch.int32, device=device)
            for each in (starts, columns[order])
        )
        self._order = torch.as_tensor(order, device=device)
        self._place = torch.as_tensor(np.argsort(order), device=device)

    def products(self, filters: Tensor) -> Tensor:
        """The entries of filters · filtersᵀ, in the order in which they were given."""
        zeros = self._matrix(filters.new_zeros(len(self._order)))
        found = torch.sparse.sampled_addmm(zeros, filters, filters.T, beta=0.0)
        entries: Tensor = found.values().index_select(0, self._place)
        return entries

    def add_product_(self, gradient: Tensor, filters: Tensor, entries: Tensor) -> None:
        """Add the matrix of these entries, in the order of their places, times the filters."""
        gradient.addmm_(self._matrix(entries.index_select(0, self._order)), filters)

    def _matrix(self, values: Tensor) -> Tensor:
        return compat.sparse_rows(self._starts, self._columns, values, self._shape)


class LoopPattern:
    """The same, multiplied by compiled loops over as many columns in each row as in the fullest.

    Empty places stand for the unit itself times 0: one that is not finite spoils no other.

    Args:
        rows: of the entries, in any order, each unit at least once: [entry].
        columns: [entry].
        at_once: columns that the loop takes at once.
    """

    def __init__(self, rows: Indices, columns: Indices, at_once: int) -> None:
        counts = np.bincount(rows)
        width = -(-int(counts.max()) // at_once) * at_once
        order = np.argsort(rows, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        self._columns = np.repeat(np.arange(len(counts))[:, None], width, axis=1)
        self._columns[rows, place] = columns
        self._place = torch.as_tensor(rows * width + place)

    def products(self, filters: Tensor, jobs: Jobs) -> Callable[[], Tensor]:
        """What gives the entries of filters · filtersᵀ, as they were given, after the jobs."""
        found = filters.new_empty(self._columns.shape)
        work, units, sums = compiled(loops.products), numbers(filters), numbers(found)

        def some(part: slice) -> None:
            work(part.start, self._columns[part], units, sums[part])

        jobs.add(some, filters, found)
        return lambda: found.view(-1).index_select(0, self._place)

    def add_product_(self, gradient: Tensor, filters: Tensor, entries: Tensor, jobs: Jobs) -> None:
        """Add the matrix of these entries, in the order of their places, times the filters.

        Args:
            gradient: contiguous: [unit, feature].
            filters: [unit, feature].
            entries: [entry].
            jobs: which will do it.
        """
        table = entries.new_zeros(self._columns.size).scatter_(0, self._place, entries)
        values = numbers(table.view(self._columns.shape))
        work, units, sums = compiled(loops.add_product), numbers(filters), numbers(gradient)

        def some(part: slice) -> None:
            work(part.start, self._columns[part], values[part], units, sums)

        jobs.add(some, filters, gradient)


def numbers(tensor: Tensor) -> NDArray[Any]:
    """A tensor's numbers, where they are."""
    array: NDArray[Any] = tensor.detach().numpy()
    return array
