"""A batch's rows about the means of their groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators.products import PRODUCT_ROWS
from torchprobe.accumulators.rows import float64_rows, parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from torchprobe.accumulators.groups import Groups

__all__ = ["CentredRows"]


class CentredRows:
    """Rows less the mean of their group, float64, part by part; every row has a group.

    All is computed relative to the first row, so that a constant column is exactly 0, whatever its
    value.

    Example:
        >>> import torch
        >>> from torchprobe.accumulators import Groups
        >>> rows = torch.tensor([[1.0, 5], [3, 5], [7, 5]])
        >>> centred = CentredRows(rows, Groups.of(torch.tensor([0, 0, 4])))
        >>> centred.means.tolist(), torch.cat(list(centred.parts())).tolist()
        ([[2.0, 5.0], [7.0, 5.0]], [[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    """

    def __init__(self, rows: Tensor, groups: Groups, device: torch.device | None = None) -> None:
        self._rows = rows
        first = float64_rows(rows[:1], device)
        self._origin = first.nan_to_num(0.0, 0.0, 0.0)  # one bad row must not spoil other groups
        self._index = groups.index.to(first.device)
        self.counts = groups.counts.to(first.device)
        """Rows of each group: int64 [group]."""
        self._offsets = self._sums(groups.n) / self.counts[:, None]
        self.means = self._origin + self._offsets
        """Mean of each group: float64 [group, channel]."""

    def __len__(self) -> int:
        return len(self._rows)

    def parts(self) -> Iterator[Tensor]:
        """The centred rows, in parts: float64 [row, channel]."""
        for index, rows in self._relative():
            yield rows.sub_(self._offsets[index])

    def _relative(self) -> Iterator[tuple[Tensor, Tensor]]:
        for part in parts(self._rows, PRODUCT_ROWS):
            rows = float64_rows(self._rows[part], self._origin.device)
            yield self._index[part], rows - self._origin

    def _sums(self, n_groups: int) -> Tensor:
        sums = self._origin.new_zeros(n_groups, self._origin.shape[1])
        for index, rows in self._relative():
            add_by_group_(sums, index, rows)
        return sums


def add_by_group_(sums: Tensor, index: Tensor, rows: Tensor) -> None:
    """Add rows [row, channel] to the sums [group, channel] of the groups they belong to.

    On accelerators `index_add_` adds in an order of its own; a product keeps results repeatable.
    """
    if rows.device.type == "cpu":
        sums.index_add_(0, index, rows)
    else:
        members = index == torch.arange(len(sums), device=index.device)[:, None]  # [group, row]
        sums.addmm_(members.double(), rows)
