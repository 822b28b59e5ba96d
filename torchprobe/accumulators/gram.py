"""Uncentred products of features: the way to singular values of data that does not fit memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators.base import Accumulator, State
from torchprobe.accumulators.mean import row_count
from torchprobe.accumulators.products import PRODUCT_ROWS, add_product_, symmetric
from torchprobe.accumulators.rows import as_shape, check_rows, float64_rows, parts
from torchprobe.accumulators.slots import Slots, float64, int64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["Gram"]


class Gram(Accumulator):
    """Gram matrix X'X of all rows (methods P3); its eigenvalues are the squared singular values.

    Singular values below about 1.5e-8 of the largest are lost to rounding; `QRFactor` keeps them.
    With ``leading`` axes there is one Gram matrix for each of their entries, as for the Jacobians
    of every node in one layer.

    Args:
        features: the width of a row.
        leading: axes before the features, each with a matrix of its own.

    Example:
        >>> import torch
        >>> gram = Gram(2)
        >>> gram.update(torch.tensor([[2.0, 0], [0, 1]]))
        >>> gram.update(torch.tensor([[2.0, 1]]))
        >>> gram.value.tolist(), int(gram.count)
        ([[8.0, 2.0], [2.0, 2.0]], 3)
    """

    def __init__(self, features: int, leading: int | Sequence[int] = ()) -> None:
        super().__init__()
        self.leading = as_shape(leading)
        self.features = features

    @property
    def slots(self) -> Slots:
        return {"count": int64(), "gram": float64(*self.leading, self.features, self.features)}

    def reduce(self, rows: Tensor) -> State:
        """The products of one batch; rows [row, *leading, feature].

        A batch of fewer rows than features is multiplied out when it is absorbed ("factor").

        Raises:
            ShapeError: rows have another shape.
        """
        check_rows(rows, (*self.leading, self.features))
        if not len(rows):
            return {}
        if len(rows) < self.features:
            factor = self._factor(rows).clone()  # the caller may overwrite the rows
            return {"count": row_count(rows, factor.device), "factor": factor}
        first = float64_rows(rows[:1], self.device)
        gram = first.new_zeros(*self.leading, self.features, self.features)
        for part in parts(rows, PRODUCT_ROWS):
            add_product_(gram, self._factor(rows[part]))
        return {"count": row_count(rows, gram.device), "gram": gram}

    def absorb(self, state: State) -> None:
        if not self.state:
            tensor = state["factor" if "factor" in state else "gram"]
            zeros = tensor.new_zeros(*self.leading, self.features, self.features)
            self.state = {"count": torch.zeros_like(state["count"]), "gram": zeros}
        gram = self.state["gram"]
        count = self.state["count"] + state["count"].to(gram.device)
        if "factor" in state:
            add_product_(gram, state["factor"].to(gram.device))
        else:
            gram += state["gram"].to(gram.device)
        self.state = {"count": count, "gram": gram}

    def _factor(self, rows: Tensor) -> Tensor:
        """[row, *leading, feature] → contiguous float64 [*leading, row, feature]."""
        return float64_rows(rows, self.device).movedim(0, -2).contiguous()

    @property
    def count(self) -> Tensor:
        """Rows seen: int64, no axes."""
        return self._seen("count")

    @property
    def value(self) -> Tensor:
        """Sum of the outer products of the rows: float64 [*leading, feature, feature]."""
        return symmetric(self._seen("gram"))
