"""Gram matrices of Jacobians, multiplied in place and in pieces that stay in the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators import Gram
from torchprobe.accumulators.products import add_product_

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Products"]

_PIECE = 16
"""Matrices whose rows are gathered at once: a cache line of float32 Jacobians serves them all."""


class Products(Gram):
    """Gram matrices that take rows in without waiting for a transaction.

    Example:
        >>> products = Products(2, 3)
        >>> products.add(torch.arange(6.0).view(1, 3, 2))
        >>> products.value[0].tolist(), int(products.count)
        ([[0.0, 0.0], [0.0, 1.0]], 1)
    """

    def add(self, rows: Tensor) -> None:
        """Multiply in rows [row, matrix, feature] of any strides; rows of zeros cost nothing."""
        if not len(rows):
            return
        if rows.device.type != "cpu":
            self.absorb(self.reduce(rows))
            return
        if not self.state:
            zeros = torch.zeros(*self.leading, self.features, self.features, dtype=torch.float64)
            self.state = {"count": torch.zeros((), dtype=torch.int64), "gram": zeros}
        self.state["count"] = self.state["count"] + len(rows)
        for first in range(0, rows.shape[1], _PIECE):
            piece = rows[:, first : first + _PIECE].movedim(1, 0).contiguous()
            for number, values in enumerate(piece, start=first):
                add_product_(self.state["gram"][number], _not_zero(values))

    @property
    def lower(self) -> Tensor:
        """The matrices, of which only the lower triangles hold anything: a view, not a copy."""
        return self._seen("gram")


def _not_zero(rows: Tensor) -> Tensor:
    """The rows that are not all zero, as those of a closed rectifier are: float64."""
    kept = rows.any(1).nonzero().squeeze(1)
    return (rows if len(kept) == len(rows) else rows[kept]).double()
