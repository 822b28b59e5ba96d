"""The rows with the best scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators.bounded import Bounded
from torchprobe.accumulators.slots import float64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from torchprobe.accumulators.base import State
    from torchprobe.accumulators.groups import Groups

__all__ = ["Top"]


class Top(Bounded):
    """The ``n`` rows with the best scores, best first (methods P5).

    Of equal scores the smaller id is better; an id that comes twice counts once, with its better
    score; rows whose score is NaN never enter.

    Args:
        n: how many rows are kept.
        shape: the shape of one row: channels, or e.g. ``(channels, time)`` for maps.
        largest: whether large scores are good (activations) or small ones (distances).
        per_group: keep ``n`` rows of every label; they follow label by label.

    Example:
        >>> import torch
        >>> top = Top(2, 1)
        >>> rows = torch.tensor([[0.0], [1], [2], [3]])
        >>> top.update(rows, torch.arange(4), torch.tensor([0.5, 7, 0.1, 7]))
        >>> top.ids.tolist(), top.scores.tolist(), top.rows.tolist()
        ([1, 3], [7.0, 7.0], [[1.0], [3.0]])
    """

    key_slot = float64("item")

    def __init__(
        self,
        n: int,
        shape: int | Sequence[int],
        *,
        largest: bool = True,
        per_group: bool = False,
    ) -> None:
        super().__init__(shape, n, per_group=per_group)
        self.largest = largest

    def reduce(
        self, rows: Tensor, ids: Tensor, scores: Tensor, labels: Tensor | Groups | None = None
    ) -> State:
        """The best of one batch; rows [row, *shape], ids int64 [row], scores [row].

        Labels, int64 [row] or `Groups`, are kept beside the rows; negative ones are ignored.

        Raises:
            ShapeError: rows have another shape, or ids, scores or labels are not one per row.
            LabelError: ids are not int64, or labels are missing where ``per_group`` needs them.
        """
        return self._reduce(self._flip(scores.detach().cpu().to(torch.float64)), ids, rows, labels)

    @property
    def scores(self) -> Tensor:
        """The scores of the rows kept: float64 [item]."""
        return self._flip(self._sorted("keys"))

    def _flip(self, scores: Tensor) -> Tensor:
        return -scores if self.largest else scores
