"""Mean of rows."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators.base import Accumulator, State
from torchprobe.accumulators.rows import as_shape, check_rows, pieces
from torchprobe.accumulators.slots import Slots, float64, int64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["Mean"]


class Mean(Accumulator):
    """Mean of rows, streamed as a float64 sum and an int64 count (methods P1, one group).

    Boolean rows give the fraction of rows in which each feature is true.

    Args:
        shape: the shape of one row: channels, or e.g. ``(channels, time)`` for maps.

    Example:
        >>> import torch
        >>> active = Mean(2)
        >>> active.update(torch.tensor([[1.0, 0], [3, 0]]) > 0)
        >>> active.update(torch.tensor([[5.0, 2], [-1, 0]]) > 0)
        >>> active.value.tolist(), int(active.count)
        ([0.75, 0.25], 4)
    """

    def __init__(self, shape: int | Sequence[int]) -> None:
        super().__init__()
        self.shape = as_shape(shape)

    @property
    def slots(self) -> Slots:
        return {"count": int64(), "sum": float64(*self.shape)}

    def reduce(self, rows: Tensor) -> State:
        """The sum of one batch; rows [row, *shape], numbers or booleans.

        Raises:
            ShapeError: rows have another shape.
        """
        check_rows(rows, self.shape)
        if not len(rows):
            return {}
        total = functools.reduce(torch.add, (piece.sum(0) for piece in pieces(rows, self.device)))
        return {"count": row_count(rows, total.device), "sum": total.view(self.shape)}

    def absorb(self, state: State) -> None:
        self.state = added(self.state, state)

    @property
    def count(self) -> Tensor:
        """Rows seen: int64, no axes."""
        return self._seen("count")

    @property
    def value(self) -> Tensor:
        """Mean of the rows: float64 [*shape]."""
        return self._seen("sum") / self.count


def row_count(rows: Tensor, device: torch.device) -> Tensor:
    """How many rows there are, int64 without axes; made on the device without waiting for it."""
    return torch.full((), len(rows), dtype=torch.int64, device=device)


def added(mine: State, other: State) -> State:
    """The sum of two states whose tensors all add; the other alone if there is none of mine."""
    if not mine:
        return dict(other)
    return {name: tensor + other[name].to(tensor.device) for name, tensor in mine.items()}
