"""How often each true label meets each predicted one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators.base import Accumulator, State
from torchprobe.accumulators.groups import Groups, renamed
from torchprobe.accumulators.slots import Slots, int64
from torchprobe.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["Confusion"]


class Confusion(Accumulator):
    """Counts of (true, predicted) label pairs.

    Only pairs that occur are kept, so that labels from a large vocabulary cost nothing until they
    are seen. Rows whose label or prediction is negative are ignored.

    Example:
        >>> import torch
        >>> confusion = Confusion()
        >>> confusion.update(torch.tensor([3, 3, 7, -1]), torch.tensor([3, 9, 7, 3]))
        >>> confusion.labels.tolist(), confusion.matrix.tolist()
        ([3, 7, 9], [[1, 0, 1], [0, 1, 0], [0, 0, 0]])
        >>> confusion.accuracy, confusion.groups.tolist(), confusion.class_accuracy.tolist()
        (0.666..., [3, 7], [0.5, 1.0])
    """

    @property
    def slots(self) -> Slots:
        return {"groups": int64("pair", 2), "counts": int64("pair")}

    def reduce(self, true: Tensor | Groups, predicted: Tensor | Groups) -> State:
        """The pairs of one batch; both int64 [row] or `Groups`.

        Raises:
            ShapeError: there is not one prediction for each label.
        """
        mine, theirs = Groups.of(true), Groups.of(predicted)
        if len(mine.index) != len(theirs.index):
            raise ShapeError(
                f"{len(mine.index)} labels and {len(theirs.index)} predictions; give one "
                "prediction for each label"
            )
        index = theirs.index.to(mine.index.device)
        both = (mine.index < mine.n) & (index < theirs.n)
        codes, counts = torch.unique((mine.index * theirs.n + index)[both], return_counts=True)
        if not len(codes):
            return {}
        of_true, of_predicted = codes.cpu() // theirs.n, codes.cpu() % theirs.n
        pairs = torch.stack([mine.values[of_true], theirs.values[of_predicted]], dim=1)
        return {"groups": pairs, "counts": counts.to(self.device or counts.device)}

    def absorb(self, state: State) -> None:
        if not self.state:
            self.state = dict(state)
            return
        mine = self.state["counts"]
        self.state = _summed(
            torch.cat([self.state["groups"], state["groups"]]),
            torch.cat([mine, state["counts"].to(mine.device)]),
        )

    def relabel(self, mapping: Mapping[int, int]) -> None:
        if self.state:
            pairs = renamed(self.state["groups"], mapping)
            self.state = _summed(pairs, self.state["counts"])

    @property
    def labels(self) -> Tensor:
        """All labels seen, true or predicted, ascending: int64 [label]."""
        labels: Tensor = torch.unique(self._seen("groups"))
        return labels

    @property
    def matrix(self) -> Tensor:
        """Counts over `labels`: int64 [label, label], true labels first."""
        pairs, counts = self._seen("groups"), self._seen("counts")
        labels = self.labels
        at = torch.searchsorted(labels, pairs).to(counts.device)
        matrix = counts.new_zeros(len(labels), len(labels))
        matrix[at[:, 0], at[:, 1]] = counts
        return matrix

    @property
    def accuracy(self) -> float:
        """Fraction of rows predicted right: 0..1."""
        counts = self._seen("counts")
        return int(counts[self._right].sum()) / int(counts.sum())

    @property
    def groups(self) -> Tensor:
        """The true labels seen, ascending: int64 [group]."""
        groups: Tensor = torch.unique(self._seen("groups")[:, 0])
        return groups

    @property
    def class_accuracy(self) -> Tensor:
        """Fraction of each true label's rows predicted right (recall): float64 [group], 0..1."""
        counts, groups = self._seen("counts"), self.groups
        at = torch.searchsorted(groups, self._seen("groups")[:, 0].contiguous()).to(counts.device)
        zeros = counts.new_zeros(len(groups))
        right = zeros.index_add(0, at, counts * self._right)
        return right.double() / zeros.index_add(0, at, counts)

    @property
    def _right(self) -> Tensor:
        pairs = self._seen("groups")
        return (pairs[:, 0] == pairs[:, 1]).to(self._seen("counts").device)


def _summed(pairs: Tensor, counts: Tensor) -> State:
    """Pairs sorted, each once, with the sum of its counts."""
    labels, at = torch.unique(pairs, return_inverse=True)  # by number: unique rows are slow to find
    codes, index = torch.unique(at[:, 0] * len(labels) + at[:, 1], return_inverse=True)
    total = counts.new_zeros(len(codes)).index_add_(0, index.to(counts.device), counts)
    places = torch.stack([codes // len(labels), codes % len(labels)], dim=1)
    return {"groups": labels[places], "counts": total}
