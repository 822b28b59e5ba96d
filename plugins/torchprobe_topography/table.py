"""Products of neighbouring filters, and sums of neighbours: two sparse matrices of one pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from torchprobe import compat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from torchprobe_topography.neighbourhood import Pairs

__all__ = ["Table"]

_PART = 1 << 22  # numbers that are gathered at once where there are no sparse kernels


class Table:
    """The pairs of a grid on a device, in a precision.

    Where torch has sparse kernels (MKL, CUDA) they read the filters once; elsewhere pairs are
    gathered, part by part. Both give the same numbers up to rounding.

    Args:
        pairs: of neighbours.
        device: where the filters are.
        dtype: float32 or float64.
        sparse: whether to use sparse kernels; by default where they are.
    """

    def __init__(
        self,
        pairs: Pairs,
        device: torch.device,
        dtype: torch.dtype,
        *,
        sparse: bool | None = None,
    ) -> None:
        self.units = pairs.units
        self.first = torch.as_tensor(pairs.first, device=device)
        """[pair]."""
        self.second = torch.as_tensor(pairs.second, device=device)
        """[pair]."""
        self.weight = torch.as_tensor(pairs.weight, device=device, dtype=dtype)
        """[pair]."""
        self._sparse = _has_sparse_kernels(device) if sparse is None else sparse
        if self._sparse:
            itself = np.arange(pairs.units)
            low = np.minimum(pairs.first, pairs.second)
            high = np.maximum(pairs.first, pairs.second)
            self._upper = _Pattern(
                np.concatenate([itself, low]), np.concatenate([itself, high]), device
            )
            self._whole = _Pattern(
                np.concatenate([itself, pairs.first, pairs.second]),
                np.concatenate([itself, pairs.second, pairs.first]),
                device,
            )

    def gram(self, filters: Tensor) -> Tensor:
        """Products of each unit with itself, then of each pair: [unit + pair]."""
        if self._sparse:
            return self._upper.products(filters)
        products = [
            torch.linalg.vecdot(filters[first], filters[second])
            for first, second in self._parts(filters, itself=True)
        ]
        return torch.cat(products)

    def add_product_(
        self, gradient: Tensor, filters: Tensor, own: Tensor, across: Tensor, alive: Tensor
    ) -> None:
        """Add to each living unit ``own`` [unit] times itself and ``across`` [pair] its neighbours.

        Args:
            gradient: what is added to: [unit, feature].
            filters: [unit, feature].
            own: the matrix's diagonal: [unit].
            across: the same on both sides of it: [pair].
            alive: units that get anything: bool [unit].
        """
        to_first, to_second = across * alive[self.first], across * alive[self.second]
        if self._sparse:
            matrix = self._whole.matrix(torch.cat([own, to_first, to_second]))
            gradient.addmm_(matrix, filters)
            return
        gradient.addcmul_(filters, own[:, None])
        start = 0
        for first, second in self._parts(filters, itself=False):
            part = slice(start, start + len(first))
            gradient.index_add_(0, first, filters[second] * to_first[part, None])
            gradient.index_add_(0, second, filters[first] * to_second[part, None])
            start += len(first)

    def _parts(self, filters: Tensor, *, itself: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Units and their neighbours, as many at a time as memory should hold."""
        first, second = self.first, self.second
        if itself:
            every = torch.arange(self.units, device=first.device)
            first, second = torch.cat([every, first]), torch.cat([every, second])
        size = max(1, _PART // max(1, filters.shape[1]))
        return zip(first.split(size), second.split(size), strict=True)


class _Pattern:
    """Where the entries of a sparse matrix stand, given in any order."""

    def __init__(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], device: torch.device
    ) -> None:
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
        entries: Tensor = found.values()[self._place]
        return entries

    def matrix(self, values: Tensor) -> Tensor:
        """The matrix of these entries, in the order in which places were given."""
        return self._matrix(values[self._order])

    def _matrix(self, values: Tensor) -> Tensor:
        return compat.sparse_rows(self._starts, self._columns, values, self._shape)


def _has_sparse_kernels(device: torch.device) -> bool:
    return device.type == "cuda" or (device.type == "cpu" and torch.backends.mkl.is_available())
