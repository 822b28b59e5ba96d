"""Triangular factor of all rows: singular values to full precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators.base import Accumulator, State
from torchprobe.accumulators.mean import row_count
from torchprobe.accumulators.rows import check_rows, float64_rows
from torchprobe.accumulators.slots import Slots, float64, int64

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["QRFactor"]


class QRFactor(Accumulator):
    """Triangular factor R of all rows, X = QR, updated by R ← qr([R; batch]).R (methods P3).

    R has the singular values of X down to 2.2e-16 of the largest, where a Gram matrix loses them
    below 1.5e-8; it costs about five times as much. R is unique up to the signs of its rows.

    Source: Golub & Van Loan, "Matrix Computations", 4th ed., section 6.5 (appending rows).

    Example:
        >>> import torch
        >>> factor = QRFactor(2)
        >>> factor.update(torch.tensor([[2.0, 0], [0, 1]]))
        >>> factor.update(torch.tensor([[2.0, 1]]))
        >>> (factor.value.T @ factor.value).round(decimals=12).tolist()
        [[8.0, 2.0], [2.0, 2.0]]
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    @property
    def slots(self) -> Slots:
        return {"count": int64(), "factor": float64("row", self.features)}

    @property
    def nbytes(self) -> int:
        """Bytes of the state; before any update, of a complete factor."""
        return super().nbytes if self.state else 8 + 8 * self.features**2

    def reduce(self, rows: Tensor) -> State:
        """The factor of one batch; rows [row, feature].

        Raises:
            ShapeError: rows have another shape.
        """
        check_rows(rows, (self.features,))
        if not len(rows):
            return {}
        rows = float64_rows(rows, self.device)
        return {"count": row_count(rows, rows.device), "factor": _triangle(rows)}

    def absorb(self, state: State) -> None:
        if not self.state:
            self.state = dict(state)
            return
        mine = self.state["factor"]
        count = self.state["count"] + state["count"].to(mine.device)
        factor = _triangle(torch.cat([mine, state["factor"].to(mine.device)]))
        self.state = {"count": count, "factor": factor}

    @property
    def count(self) -> Tensor:
        """Rows seen: int64, no axes."""
        return self._seen("count")

    @property
    def value(self) -> Tensor:
        """R: float64 [row, feature] with as many rows as were seen, at most one per feature."""
        return self._seen("factor")


def _triangle(rows: Tensor) -> Tensor:
    factor: Tensor = torch.linalg.qr(rows, mode="r").R
    return factor
