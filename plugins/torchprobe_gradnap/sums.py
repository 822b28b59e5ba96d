"""What is kept of aligned examples: their means by group, and over all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe.accumulators import GroupMeans, Groups
from torchprobe.errors import EmptyStateError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AlignedMeans"]

_NOBODYS = (1 << 62) + 1  # the group of examples without a label


class AlignedMeans(GroupMeans):
    """Means of examples by group, and over all, with or without a label.

    Example:
        >>> import torch
        >>> means = AlignedMeans((1, 2))
        >>> means.add(torch.tensor([[[1.0, 2]], [[3, 4]], [[8, 0]]]), torch.tensor([0, 0, -1]))
        >>> means.labels.tolist(), means.of_groups.tolist(), means.of_all.tolist()
        ([0], [[[2.0, 3.0]]], [[4.0, 2.0]])
    """

    def add(self, examples: Tensor, labels: Tensor) -> None:
        """Take in examples [sample, *shape] and their labels int64 [sample], −1 where none."""
        groups = Groups.of(labels.masked_fill(labels < 0, _NOBODYS))
        self.update(examples, groups.to(examples.device))

    @property
    def labels(self) -> Tensor:
        """The labels seen, ascending: int64 [group].

        Raises:
            EmptyStateError: none was.
        """
        labels = self.groups[self.groups != _NOBODYS]
        if not len(labels):
            raise EmptyStateError("no example with a label was seen")
        return labels

    @property
    def sizes(self) -> Tensor:
        """Examples of each group: int64 [group]."""
        return self.counts[: len(self.labels)]  # nobody's group, if any, is the last

    @property
    def of_groups(self) -> Tensor:
        """Mean of each group: float64 [group, *shape]."""
        return self.value[: len(self.labels)]

    @property
    def of_all(self) -> Tensor:
        """Mean of all examples: float64 [*shape]."""
        return self._seen("sums").sum(0) / self.counts.sum()
