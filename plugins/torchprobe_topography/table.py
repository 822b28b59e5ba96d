"""Products of neighbouring filters, and sums of neighbours: a sparse matrix, half and whole."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from torchprobe import compat
from torchprobe.compiled import can_compile
from torchprobe_topography.patterns import Jobs, PairedProducts, PairedSums, Pattern, numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torchprobe_topography.neighbourhood import Indices, Pairs

__all__ = ["Kernel", "Table", "kernel_for"]

Kernel: TypeAlias = Literal["loops", "sparse", "gather"]

_PART = 1 << 22  # numbers that are gathered at once where there are no sparse kernels


class Table:
    """The pairs of a grid on a device, in a precision.

    Args:
        pairs: of neighbours.
        device: where the filters are.
        dtype: float32 or float64.
        kernel: what multiplies (`kernel_for`). All give the same numbers up to rounding.
    """

    def __init__(
        self, pairs: Pairs, device: torch.device, dtype: torch.dtype, kernel: Kernel
    ) -> None:
        self.units, self.kernel = pairs.units, kernel
        self.first = torch.as_tensor(pairs.first, device=device)
        """[pair]."""
        self.second = torch.as_tensor(pairs.second, device=device)
        """[pair]."""
        self.weight = torch.as_tensor(pairs.weight, device=device, dtype=dtype)
        """[pair]."""
        half, whole = _entries(pairs)
        self._loops = self._sparse = None
        if kernel == "loops":
            self._loops = PairedProducts(*half), PairedSums(*whole)
            self.arrays = numbers(self.first), numbers(self.second), numbers(self.weight)
        elif kernel == "sparse":
            self._sparse = Pattern(*half, device), Pattern(*whole, device)

    def gram(self, filters: Tensor, jobs: Jobs) -> Callable[[], Tensor]:
        """What gives, after some jobs, products of units with themselves, then of pairs.

        Args:
            filters: [unit, feature].
            jobs: are added to.

        Returns:
            A function that gives [unit + pair].
        """
        if self._loops is not None:
            return self._loops[0].products(filters, jobs)
        return functools.partial(self._gram, filters)

    def _gram(self, filters: Tensor) -> Tensor:
        with torch.autocast(filters.device.type, enabled=False):
            if self._sparse is not None:
                return self._sparse[0].products(filters)
            products = [
                torch.linalg.vecdot(filters[first], filters[second])
                for first, second in self._parts(filters, itself=True)
            ]
            return torch.cat(products)

    def add_product_(self, gradient: Tensor, filters: Tensor, entries: Tensor, jobs: Jobs) -> None:
        """Add a sparse matrix times the filters.

        Args:
            gradient: what is added to: [unit, feature].
            filters: [unit, feature].
            entries: of units with themselves, of pairs' first units with the second ones, and of
                second ones with first ones: [unit + pair + pair].
            jobs: which do some of it: read the gradient after them.
        """
        if self._loops is not None and gradient.is_contiguous():
            self._loops[1].add_product_(gradient, filters, entries, jobs)
        elif self._loops is not None:
            found, mine = torch.zeros_like(filters), Jobs()
            self._loops[1].add_product_(found, filters, entries, mine)
            mine.run()
            gradient.add_(found)
        else:
            self._add_product_(gradient, filters, entries)

    def _add_product_(self, gradient: Tensor, filters: Tensor, entries: Tensor) -> None:
        with torch.autocast(filters.device.type, enabled=False):
            if self._sparse is not None:
                self._sparse[1].add_product_(gradient, filters, entries)
            else:
                self._add_gathered_(gradient, filters, entries)

    def _add_gathered_(self, gradient: Tensor, filters: Tensor, entries: Tensor) -> None:
        pairs = len(self.first)
        own, to_first, to_second = entries.split([self.units, pairs, pairs])
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


def kernel_for(filters: Tensor, *, loops: bool) -> Kernel:
    """What multiplies filters [unit, feature] fastest.

    Args:
        filters: of one layer.
        loops: whether compiled loops are worth compiling; they need numba and contiguous filters on
            the CPU. Else torch's sparse kernels where it has them (MKL, CUDA). Elsewhere pairs are
            gathered, part by part.
    """
    if loops and not compat.is_compiling() and _can_loop(filters):
        return "loops"
    device = filters.device.type
    sparse = device == "cuda" or (device == "cpu" and torch.backends.mkl.is_available())
    return "sparse" if sparse else "gather"


def _can_loop(filters: Tensor) -> bool:
    return filters.device.type == "cpu" and filters.is_contiguous() and can_compile()


def _entries(pairs: Pairs) -> tuple[tuple[Indices, Indices], tuple[Indices, Indices]]:
    """Rows and columns: units with themselves and pairs; then also the pairs' other halves."""
    itself, first, second = np.arange(pairs.units), pairs.first, pairs.second
    half = np.concatenate([itself, first]), np.concatenate([itself, second])
    return half, (np.concatenate([half[0], second]), np.concatenate([half[1], first]))
