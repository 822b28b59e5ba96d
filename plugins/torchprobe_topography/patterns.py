"""Sparse matrices of units, multiplied by kernels of torch's or by loops of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

__all__ = ["LoopPattern", "Pattern"]

_WORTH_A_THREAD = 1 << 17
"""Weights; a thread takes as long to be woken as to read them."""


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
        return self._products(filters)[self._place]

    def add_product_(self, gradient: Tensor, filters: Tensor, entries: Tensor) -> None:
        """Add the matrix of these entries, in the order of their places, times the filters."""
        self._add_product_(gradient, filters, entries[self._order])

    def _products(self, filters: Tensor) -> Tensor:
        zeros = self._matrix(filters.new_zeros(len(self._order)))
        found: Tensor = torch.sparse.sampled_addmm(zeros, filters, filters.T, beta=0.0).values()
        return found

    def _add_product_(self, gradient: Tensor, filters: Tensor, values: Tensor) -> None:
        gradient.addmm_(self._matrix(values), filters)

    def _matrix(self, values: Tensor) -> Tensor:
        return compat.sparse_rows(self._starts, self._columns, values, self._shape)


class LoopPattern(Pattern):
    """The same, multiplied by compiled loops, which read each row of filters from end to end.

    Rows are computed apart, so that the number of threads changes nothing.
    """

    def _products(self, filters: Tensor) -> Tensor:
        found = filters.new_empty(len(self._order))
        self._run(loops.products, filters, found)
        return found

    def _add_product_(self, gradient: Tensor, filters: Tensor, values: Tensor) -> None:
        into = gradient if gradient.is_contiguous() else torch.zeros_like(filters)
        self._run(loops.add_product, filters, values, into)
        if into is not gradient:
            gradient.add_(into)

    def _run(self, loop: Callable[..., None], *tensors: Tensor) -> None:
        """A loop over all units."""
        work = compiled(loop)
        arrays = [each.detach().numpy() for each in (self._starts, self._columns, *tensors)]

        def some(units: slice) -> None:
            work(units.start, units.stop, *arrays)

        in_threads(some, len(tensors[0]), 1 + _WORTH_A_THREAD // max(1, tensors[0].shape[1]))
