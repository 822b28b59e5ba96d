"""Scatter between paired rows: what Procrustes alignment and cross-correlation need."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from torchprobe.accumulators.base import Accumulator, State
from torchprobe.accumulators.mean import row_count
from torchprobe.accumulators.rows import check_rows, float64_rows, parts
from torchprobe.accumulators.slots import Slots, float64, int64
from torchprobe.errors import ShapeError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CrossScatter"]


class CrossScatter(Accumulator):
    """Means, cross-scatter and total squares of paired rows (x, y), by Chan's update (methods P2).

    Source: Chan, Golub & LeVeque, COMPSTAT 1982, with products of two features for squares.

    Args:
        d_x: the width of x.
        d_y: the width of y.

    Example:
        >>> import torch
        >>> pairs = CrossScatter(2, 1)
        >>> pairs.update(torch.tensor([[0.0, 0], [2, 0]]), torch.tensor([[1.0], [3.0]]))
        >>> pairs.update(torch.tensor([[4.0, 3]]), torch.tensor([[5.0]]))
        >>> pairs.value.tolist(), float(pairs.squares_x), float(pairs.squares_y)
        ([[8.0], [6.0]], 14.0, 8.0)
    """

    def __init__(self, d_x: int, d_y: int) -> None:
        super().__init__()
        self.d_x, self.d_y = d_x, d_y

    @property
    def slots(self) -> Slots:
        return {
            "count": int64(),
            "mean_x": float64(self.d_x),
            "mean_y": float64(self.d_y),
            "cross": float64(self.d_x, self.d_y),
            "squares_x": float64(),
            "squares_y": float64(),
        }

    def reduce(self, x: Tensor, y: Tensor) -> State:
        """The scatter of one batch; x [row, d_x] paired with y [row, d_y].

        Raises:
            ShapeError: x or y has another shape, or they are not paired.
        """
        check_rows(x, (self.d_x,))
        check_rows(y, (self.d_y,))
        if len(x) != len(y):
            raise ShapeError(f"{len(x)} rows of x and {len(y)} of y; give them in pairs")
        if not len(x):
            return {}
        pairs = ((x[part], y[part]) for part in parts(x))
        return functools.reduce(_combined, (self._of_part(*pair) for pair in pairs))

    def _of_part(self, x: Tensor, y: Tensor) -> State:
        x, y = float64_rows(x, self.device), float64_rows(y, self.device or x.device)
        (mean_x, x), (mean_y, y) = _centred(x), _centred(y)
        return {
            "count": row_count(x, x.device),
            "mean_x": mean_x,
            "mean_y": mean_y,
            "cross": x.T @ y,
            "squares_x": x.square().sum(),
            "squares_y": y.square().sum(),
        }

    def absorb(self, state: State) -> None:
        self.state = _combined(self.state, state) if self.state else dict(state)

    @property
    def count(self) -> Tensor:
        """Pairs seen: int64, no axes."""
        return self._seen("count")

    @property
    def mean_x(self) -> Tensor:
        """Mean of x: float64 [d_x]."""
        return self._seen("mean_x")

    @property
    def mean_y(self) -> Tensor:
        """Mean of y: float64 [d_y]."""
        return self._seen("mean_y")

    @property
    def value(self) -> Tensor:
        """Sum of the outer products of centred x and y: float64 [d_x, d_y]."""
        return self._seen("cross")

    @property
    def squares_x(self) -> Tensor:
        """Sum of all squares of centred x, its squared Frobenius norm: float64, no axes."""
        return self._seen("squares_x")

    @property
    def squares_y(self) -> Tensor:
        """Sum of all squares of centred y, its squared Frobenius norm: float64, no axes."""
        return self._seen("squares_y")


def _centred(rows: Tensor) -> tuple[Tensor, Tensor]:
    relative = rows - rows[0]  # a constant column becomes exactly 0, whatever its value
    mean = relative.mean(0)
    return rows[0] + mean, relative.sub_(mean)


def _combined(a: State, b: State) -> State:
    """Chan's update: the scatter of two sets of pairs taken together."""
    b = {name: tensor.to(a[name].device) for name, tensor in b.items()}
    count = a["count"] + b["count"]
    share = b["count"].double() / count
    weight = a["count"] * share
    x, y = b["mean_x"] - a["mean_x"], b["mean_y"] - a["mean_y"]
    return {
        "count": count,
        "mean_x": a["mean_x"] + x * share,
        "mean_y": a["mean_y"] + y * share,
        "cross": a["cross"] + b["cross"] + weight * x[:, None] * y,
        "squares_x": a["squares_x"] + b["squares_x"] + weight * x.square().sum(),
        "squares_y": a["squares_y"] + b["squares_y"] + weight * y.square().sum(),
    }
