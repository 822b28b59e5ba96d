"""Mean, variance and standard deviation of each feature."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from torchprobe.accumulators.base import Accumulator, State
from torchprobe.accumulators.mean import row_count
from torchprobe.accumulators.rows import as_shape, check_rows, pieces
from torchprobe.accumulators.slots import Slots, float64, int64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["Moments"]


class Moments(Accumulator):
    """Mean and variance of each feature by Chan's update (methods P2), never from sums of squares.

    The relative error of the variance stays within 1e-12 + 2⁻⁵²·|mean|/std whatever the batches,
    and a feature that never changes has variance exactly 0.

    Source: Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", COMPSTAT 1982: the formula for joining two samples.

    Args:
        shape: the shape of one row: channels, or e.g. ``(channels, time)`` for maps.

    Example:
        >>> import torch
        >>> moments = Moments(2)
        >>> moments.update(torch.tensor([[0.0, 0], [2, 0]]))
        >>> moments.update(torch.tensor([[4.0, 2], [6, 4], [8, 6]]))
        >>> moments.mean.tolist(), moments.variance(ddof=0).tolist()
        ([4.0, 2.4], [8.0, 5.4399...])
    """

    def __init__(self, shape: int | Sequence[int]) -> None:
        super().__init__()
        self.shape = as_shape(shape)

    @property
    def slots(self) -> Slots:
        feature = float64(*self.shape)
        return {"count": int64(), "mean": feature, "squares": feature}

    def reduce(self, rows: Tensor) -> State:
        """The moments of one batch; rows [row, *shape].

        Raises:
            ShapeError: rows have another shape.
        """
        check_rows(rows, self.shape)
        if not len(rows):
            return {}
        state = functools.reduce(_combined, map(_of_piece, pieces(rows, self.device)))
        return {
            "count": state["count"],
            "mean": state["mean"].view(self.shape),
            "squares": state["squares"].view(self.shape),
        }

    def absorb(self, state: State) -> None:
        self.state = _combined(self.state, state) if self.state else dict(state)

    @property
    def count(self) -> Tensor:
        """Rows seen: int64, no axes."""
        return self._seen("count")

    @property
    def mean(self) -> Tensor:
        """Mean of the rows: float64 [*shape]."""
        return self._seen("mean")

    def variance(self, ddof: int = 1) -> Tensor | None:
        """Variance, float64 [*shape], at least 0; None for fewer than 2 or at most ``ddof`` rows.

        ``ddof=1`` divides by count - 1 and is unbiased; ``ddof=0`` divides by the count.
        """
        squares, count = self._seen("squares"), int(self.count)
        return squares / (count - ddof) if count > max(1, ddof) else None

    def std(self, ddof: int = 1) -> Tensor | None:
        """The root of `variance`."""
        variance = self.variance(ddof)
        return None if variance is None else variance.sqrt()


def _of_piece(rows: Tensor) -> State:
    origin = rows[0]
    centred = rows - origin  # a constant column becomes exactly 0, whatever its value
    mean = centred.mean(0)
    squares = centred.sub_(mean).square_().sum(0)
    return {"count": row_count(rows, rows.device), "mean": origin + mean, "squares": squares}


def _combined(a: State, b: State) -> State:
    """Chan's update: the moments of two sets of rows taken together."""
    b = {name: tensor.to(a[name].device) for name, tensor in b.items()}
    count = a["count"] + b["count"]
    share = b["count"].double() / count  # not int / int, which is float32 by default
    delta = b["mean"] - a["mean"]
    return {
        "count": count,
        "mean": a["mean"] + delta * share,
        "squares": a["squares"] + b["squares"] + delta.square() * (a["count"] * share),
    }
