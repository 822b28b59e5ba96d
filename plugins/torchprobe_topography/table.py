"""Products of neighbouring filters, and sums of neighbours: a sparse matrix, half and whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from torchprobe import compat
from torchprobe.compiled import can_compile
from torchprobe_topography import loops
from torchprobe_topography.patterns import LoopPattern, Pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torchprobe_topography.neighbourhood import Pairs

__all__ = ["Kernel", "Table", "kernel_for"]

Kernel: TypeAlias = Literal["loops", "sparse", "gather"]

_PART = 1 << 22  # numbers that are gathered at once where there are no sparse kernels
_WORTH_COMPILING = 1 << 18
"""Weights: a second of compiling is won back in some thousand steps."""


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
        self.units = pairs.units
        self.first = torch.as_tensor(pairs.first, device=device)
        """[pair]."""
        self.second = torch.as_tensor(pairs.second, device=device)
        """[pair]."""
        self.weight = torch.as_tensor(pairs.weight, device=device, dtype=dtype)
        """[pair]."""
        self._patterns = None if kernel == "gather" else _patterns(pairs, device, kernel)
        """Of each pair once, and on both sides of the diagonal."""

    def gram(self, filters: Tensor) -> Tensor:
        """Products of each unit with itself, then of each pair: [unit + pair]."""
        if self._patterns is not None:
            return self._patterns[0].products(filters)
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
        to_first = across * alive.index_select(0, self.first)
        to_second = across * alive.index_select(0, self.second)
        if self._patterns is not None:
            entries = torch.cat([own, to_first, to_second])
            self._patterns[1].add_product_(gradient, filters, entries)
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


def kernel_for(filters: Tensor) -> Kernel:
    """What multiplies filters [unit, feature] fastest.

    Compiled loops where numba is there and the layer large enough to be compiled for; else torch's
    sparse kernels where it has them (MKL, CUDA). Elsewhere pairs are gathered, part by part.
    """
    if _can_loop(filters):
        return "loops"
    device = filters.device.type
    sparse = device == "cuda" or (device == "cpu" and torch.backends.mkl.is_available())
    return "sparse" if sparse else "gather"


def _can_loop(filters: Tensor) -> bool:
    if compat.is_compiling():  # Dynamo has no numbers for them
        return False
    here = filters.device.type == "cpu" and filters.is_contiguous()
    return here and filters.numel() >= _WORTH_COMPILING and can_compile()


def _patterns(
    pairs: Pairs, device: torch.device, kernel: Kernel
) -> tuple[Pattern | LoopPattern, Pattern | LoopPattern]:
    itself, first, second = np.arange(pairs.units), pairs.first, pairs.second
    half = np.concatenate([itself, first]), np.concatenate([itself, second])
    whole = np.concatenate([half[0], second]), np.concatenate([half[1], first])
    if kernel == "loops":
        return (
            LoopPattern(*half, loops.PRODUCTS_AT_ONCE),
            LoopPattern(*whole, loops.ADDED_AT_ONCE),
        )
    return Pattern(*half, device), Pattern(*whole, device)
