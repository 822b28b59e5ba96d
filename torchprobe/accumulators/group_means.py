"""Sums and counts by group: the statistic behind class selectivity and activation profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe.accumulators.base import Accumulator, State
from torchprobe.accumulators.groups import Groups, make_room, relabelled
from torchprobe.accumulators.rows import as_shape, labelled_parts
from torchprobe.accumulators.slots import Slots, float64, int64

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor

__all__ = ["GroupMeans"]


class GroupMeans(Accumulator):
    """Mean of each group's rows, streamed as float64 sums and int64 counts (methods P1).

    Args:
        shape: the shape of one row: channels, or e.g. ``(channels, time)`` for maps.

    Example:
        >>> import torch
        >>> means = GroupMeans(2)
        >>> means.update(torch.tensor([[1.0, 0], [3, 0], [9, 9]]), torch.tensor([5, 5, -1]))
        >>> means.groups.tolist(), means.value.tolist(), means.counts.tolist()
        ([5], [[2.0, 0.0]], [2])
    """

    def __init__(self, shape: int | Sequence[int]) -> None:
        super().__init__()
        self.shape = as_shape(shape)

    @property
    def slots(self) -> Slots:
        groups = int64("group")
        return {"groups": groups, "counts": groups, "sums": float64("group", *self.shape)}

    def reduce(self, rows: Tensor | Iterable[Tensor], labels: Tensor | Groups) -> State:
        """The sums of one batch.

        Args:
            rows: [row, *shape], at once or in parts, as `LayerBatch.row_parts` gives them.
            labels: int64 [row], or `Groups`.

        Raises:
            ShapeError: rows have another shape, or labels are not one per row.
        """
        groups = Groups.of(labels)
        parts = labelled_parts(rows, groups, self.shape, self.device)
        if not groups.n:
            return {}
        sums = group_sums(parts, groups)
        counts = groups.counts.to(sums.device)
        sums = sums.reshape(groups.n, *self.shape)
        return {"groups": groups.values, "counts": counts, "sums": sums}

    def absorb(self, state: State) -> None:
        """Add another state, in place: new sums for every batch would cost more than adding."""
        if not self.state:
            self.state = {name: tensor.clone() for name, tensor in state.items()}
            return
        at = make_room(self.state, ("counts", "sums"), state["groups"])
        for name in ("counts", "sums"):
            mine = self.state[name]
            mine.index_add_(0, at.to(mine.device), state[name].to(mine.device))

    def relabel(self, mapping: Mapping[int, int]) -> None:
        if self.state:
            groups, order = relabelled(self.state["groups"], mapping)
            counts, sums = self.state["counts"], self.state["sums"]
            order = order.to(sums.device)
            self.state = {"groups": groups, "counts": counts[order], "sums": sums[order]}

    @property
    def groups(self) -> Tensor:
        """The labels seen, ascending: int64 [group]."""
        return self._seen("groups")

    @property
    def counts(self) -> Tensor:
        """Rows of each group: int64 [group]."""
        return self._seen("counts").clone()  # later batches are added in place

    @property
    def value(self) -> Tensor:
        """Mean of each group's rows: float64 [group, *shape]."""
        counts = self.counts.view(-1, *[1] * len(self.shape))
        return self._seen("sums") / counts


def group_sums(parts: Iterable[Tensor], groups: Groups) -> Tensor:
    """Sum of each group's rows: float64 [row, feature] in parts → [group, feature].

    On the CPU `index_add_` costs one pass over the rows however many groups there are; on
    accelerators it adds in an order of its own, so that a matrix product keeps results repeatable.
    """
    sums, seen = None, 0
    for rows in parts:
        if sums is None:
            sums = _Sums(rows, groups)
        first, seen = seen, seen + rows.shape[0]
        sums.add(rows, slice(first, seen))
    assert sums is not None
    return sums.by_group.contiguous()


class _Sums:
    """Sums by group that lie in memory as the rows do: to add rows to others would turn them."""

    def __init__(self, like: Tensor, groups: Groups) -> None:
        self.groups = groups.to(like.device)
        self.adds = like.device.type == "cpu"
        self.by_column = like.stride(0) < like.stride(1)
        n, width = groups.n + 1, like.shape[1]  # ignored rows go to a group of their own
        self.sums = like.new_zeros((width, n) if self.by_column else (n, width))

    def add(self, rows: Tensor, which: slice) -> None:
        """Add rows, which are these of all."""
        if not self.adds:
            found = self.groups.one_hot[:, which] @ rows
            self.by_group.add_(found)
        elif self.by_column:
            self.sums.index_add_(1, self.groups.index[which], rows.t())
        else:
            self.sums.index_add_(0, self.groups.index[which], rows)

    @property
    def by_group(self) -> Tensor:
        """[group, feature]."""
        return (self.sums.t() if self.by_column else self.sums)[: self.groups.n]
