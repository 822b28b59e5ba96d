"""Scatter of all rows about their mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators.groups import Groups
from torchprobe.accumulators.pooled_scatter import PooledScatter
from torchprobe.accumulators.products import symmetric
from torchprobe.accumulators.rows import check_rows

if TYPE_CHECKING:
    from torch import Tensor

    from torchprobe.accumulators.base import State

__all__ = ["Scatter"]


class Scatter(PooledScatter):
    """Mean and scatter matrix, by Chan's update (methods P2): the scatter within one class.

    Source: Chan, Golub & LeVeque, COMPSTAT 1982, with products of two features for squares.

    Example:
        >>> import torch
        >>> scatter = Scatter(2)
        >>> scatter.update(torch.tensor([[0.0, 0], [2, 0]]))
        >>> scatter.update(torch.tensor([[4.0, 2], [6, 4], [8, 6]]))
        >>> int(scatter.count), scatter.mean.tolist(), scatter.value.round(decimals=9).tolist()
        (5, [4.0, 2.4], [[40.0, 32.0], [32.0, 27.2]])
    """

    def reduce(self, rows: Tensor) -> State:
        """The scatter of one batch; rows [row, channel].

        Raises:
            ShapeError: rows have another shape.
        """
        check_rows(rows, (self.channels,))
        return self._reduce(rows, _one_group(len(rows), rows.device))

    @property
    def count(self) -> Tensor:
        """Rows seen: int64, no axes."""
        return self._seen("counts")[0]

    @property
    def mean(self) -> Tensor:
        """Mean of the rows: float64 [channel]."""
        return self._seen("means")[0]

    @property
    def value(self) -> Tensor:
        """Sum of the outer products of the rows less their mean: float64 [channel, channel]."""
        return symmetric(self._seen("scatter"))


def _one_group(n_rows: int, device: torch.device) -> Groups:
    counts = torch.full((1,), n_rows, dtype=torch.int64, device=device)
    index = torch.zeros(n_rows, dtype=torch.int64, device=device)
    return Groups(torch.zeros(min(1, n_rows), dtype=torch.int64), index, counts)
