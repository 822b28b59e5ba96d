"""Scatter within classes: what linear discriminant analysis needs, in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe.accumulators.groups import Groups
from torchprobe.accumulators.pooled_scatter import PooledScatter
from torchprobe.accumulators.products import product, symmetric
from torchprobe.accumulators.rows import check_labelled_rows

if TYPE_CHECKING:
    from torch import Tensor

    from torchprobe.accumulators.base import State

__all__ = ["WithinScatter"]


class WithinScatter(PooledScatter):
    """Class means and one pooled scatter of the rows about them (methods P2w).

    The between-class and total scatters follow by adding, never by subtracting: with class means
    about 1e6 and noise 1e-2 the difference of total and between scatter is negative.

    Source: Chan, Golub & LeVeque, COMPSTAT 1982, applied to each class.

    Example:
        >>> import torch
        >>> scatter = WithinScatter(2)
        >>> scatter.update(torch.tensor([[1.0, 0], [3, 0], [9, 9]]), torch.tensor([0, 0, -1]))
        >>> scatter.update(torch.tensor([[2.0, 3], [6, 1]]), torch.tensor([0, 5]))
        >>> scatter.groups.tolist(), scatter.counts.tolist(), scatter.means.tolist()
        ([0, 5], [3, 1], [[2.0, 1.0], [6.0, 1.0]])
        >>> scatter.within.round(decimals=9).tolist(), scatter.between.round(decimals=9).tolist()
        ([[2.0, 0.0], [0.0, 6.0]], [[12.0, 0.0], [0.0, 0.0]])
    """

    def reduce(self, rows: Tensor, labels: Tensor | Groups) -> State:
        """The scatter of one batch; rows [row, channel], labels int64 [row] or `Groups`.

        Raises:
            ShapeError: rows have another shape, or labels are not one per row.
        """
        groups = Groups.of(labels)
        check_labelled_rows(rows, groups, (self.channels,))
        if groups.kept is not None:
            rows = rows.index_select(0, groups.kept.to(rows.device))
        return self._reduce(rows, groups.members)

    @property
    def groups(self) -> Tensor:
        """The labels seen, ascending: int64 [group]."""
        return self._seen("groups")

    @property
    def counts(self) -> Tensor:
        """Rows of each class: int64 [group]."""
        return self._seen("counts")

    @property
    def means(self) -> Tensor:
        """Mean of each class: float64 [group, channel]."""
        return self._seen("means")

    @property
    def grand_mean(self) -> Tensor:
        """Mean of all rows that have a class: float64 [channel]."""
        shares = self.counts.double() / self.counts.sum()
        return shares @ self.means

    @property
    def within(self) -> Tensor:
        """Scatter about the class means, summed over classes: float64 [channel, channel]."""
        return symmetric(self._seen("scatter"))

    @property
    def between(self) -> Tensor:
        """Scatter of the class means about the grand mean, weighted by their counts."""
        return product((self.means - self.grand_mean) * self.counts.double().sqrt()[:, None])

    @property
    def total(self) -> Tensor:
        """Scatter of all rows about the grand mean: float64 [channel, channel]."""
        return self.within + self.between
