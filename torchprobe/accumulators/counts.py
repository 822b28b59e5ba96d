"""How often each feature is true."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators.base import Accumulator, State
from torchprobe.accumulators.mean import added, row_count
from torchprobe.accumulators.rows import as_shape, check_rows, parts
from torchprobe.accumulators.slots import Slots, int64
from torchprobe.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["Counts"]


class Counts(Accumulator):
    """Sum of integer or boolean rows, exact: int64 however many rows there are.

    Args:
        shape: the shape of one row: channels, or e.g. ``(channels, time)`` for maps.

    Example:
        >>> import torch
        >>> dead = Counts(2)
        >>> dead.update(torch.tensor([[True, False], [True, True]]))
        >>> dead.value.tolist(), int(dead.count), dead.fraction.tolist()
        ([2, 1], 2, [1.0, 0.5])
    """

    def __init__(self, shape: int | Sequence[int]) -> None:
        super().__init__()
        self.shape = as_shape(shape)

    @property
    def slots(self) -> Slots:
        return {"count": int64(), "sum": int64(*self.shape)}

    def reduce(self, rows: Tensor) -> State:
        """The counts of one batch; rows [row, *shape], booleans or integers.

        Raises:
            ShapeError: rows have another shape.
            SettingError: rows are not booleans or integers.
        """
        check_rows(rows, self.shape)
        if rows.is_floating_point() or rows.is_complex():
            raise SettingError(f"rows are {rows.dtype}; compare them first, or use Mean")
        if not len(rows):
            return {}
        sums = (rows[part].sum(0, dtype=torch.int64) for part in parts(rows))
        total = functools.reduce(torch.add, sums).to(self.device or rows.device)
        return {"count": row_count(rows, total.device), "sum": total}

    def absorb(self, state: State) -> None:
        self.state = added(self.state, state)

    @property
    def count(self) -> Tensor:
        """Rows seen: int64, no axes."""
        return self._seen("count")

    @property
    def value(self) -> Tensor:
        """Sum of the rows: int64 [*shape]."""
        return self._seen("sum")

    @property
    def fraction(self) -> Tensor:
        """Sum per row: float64 [*shape]; 0..1 for boolean rows."""
        return self.value.double() / self.count
