"""The labels of a batch's rows, sorted out once and shared by every layer and accumulator."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from torchprobe.errors import LabelError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

__all__ = ["Groups", "align", "make_room", "relabelled", "renamed", "union"]


@dataclass(frozen=True, eq=False)
class Groups:
    """Which group each row belongs to.

    Only groups present in the batch are listed, so that a batch's statistics stay compact however
    many groups there are. Labels may be any int64 from 0; negative ones are ignored.

    Example:
        >>> import torch
        >>> groups = Groups.of(torch.tensor([7, -1, 3, 7]))
        >>> groups.values.tolist(), groups.index.tolist(), groups.counts.tolist()
        ([3, 7], [1, 2, 0, 1], [1, 2])
    """

    values: Tensor
    """The labels present, ascending: int64 [group], on the CPU."""
    index: Tensor
    """Row → position in `values`, or ``len(values)`` where the row is ignored: int64 [row]."""
    counts: Tensor
    """How many rows each group has: int64 [group], where `index` is."""

    @classmethod
    def of(cls, labels: Tensor | Groups) -> Groups:
        """Sort out the labels of rows, int64 [row]; groups are passed through.

        Raises:
            LabelError: labels are not integers.
            ShapeError: labels are not one per row.
        """
        if isinstance(labels, Groups):
            return labels
        if labels.ndim != 1:
            raise ShapeError(f"labels have shape {tuple(labels.shape)}; give one label per row")
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise LabelError(f"labels are {labels.dtype}; give integers, -1 where a row is ignored")
        return cls._from_integers(labels.long())

    @classmethod
    def _from_integers(cls, labels: Tensor) -> Groups:
        values, index, counts = torch.unique(labels, return_inverse=True, return_counts=True)
        ignored = int((values < 0).sum())
        index = torch.where(index < ignored, len(values), index) - ignored
        return cls(values[ignored:].cpu(), index, counts[ignored:])

    @property
    def n(self) -> int:
        """How many groups are present."""
        return len(self.values)

    @cached_property
    def kept(self) -> Tensor | None:
        """The rows that belong to a group, by index: int64; None where all do."""
        kept = (self.index < self.n).nonzero().squeeze(1)
        return None if len(kept) == len(self.index) else kept

    @cached_property
    def members(self) -> Groups:
        """The groups of the rows that are `kept`."""
        if self.kept is None:
            return self
        return Groups(self.values, self.index.index_select(0, self.kept), self.counts)

    @cached_property
    def labels(self) -> Tensor:
        """The rows' labels again, -1 where ignored: int64 [row]."""
        table = torch.cat([self.values, self.values.new_full((1,), -1)])
        return table.to(self.index.device)[self.index]

    @cached_property
    def one_hot(self) -> Tensor:
        """Membership as float64 [group, row]; zero columns for ignored rows."""
        hot = torch.zeros(
            self.n + 1, len(self.index), dtype=torch.float64, device=self.index.device
        )
        hot.scatter_(0, self.index[None], 1.0)
        return hot[: self.n]

    def select(self, rows: Tensor) -> Groups:
        """The groups of some rows only, given by a boolean mask or by their indices."""
        return Groups.of(self.labels[rows])

    def to(self, device: torch.device | str) -> Groups:
        """The same groups with `index` and `counts` on a device."""
        if self.index.device == torch.device(device):
            return self
        return Groups(self.values, self.index.to(device), self.counts.to(device))


def union(mine: Tensor, other: Tensor) -> Tensor:
    """The labels of both, ascending: int64 [group]."""
    if torch.equal(mine, other):
        return mine
    labels: Tensor = torch.unique(torch.cat([mine, other]))
    return labels


def align(tensor: Tensor, groups: Tensor, onto: Tensor) -> Tensor:
    """Rows of ``tensor`` moved from their ``groups`` to a superset ``onto``; new rows are zero.

    The order of a row's axes in memory stays as it is.
    """
    if len(groups) == len(onto):
        return tensor
    if tensor.ndim == 3 and tensor.stride(1) < tensor.stride(2):  # noqa: PLR2004
        return align(tensor.transpose(1, 2), groups, onto).transpose(1, 2)
    aligned = _zeros(tensor, len(onto))
    aligned[torch.searchsorted(onto, groups).to(tensor.device)] = tensor
    return aligned


def _zeros(like: Tensor, n: int) -> Tensor:
    """So many rows of zeros; numpy asks the system for large pages where there are many."""
    shape = (n, *like.shape[1:])
    if like.device.type == "cpu" and like.dtype == torch.float64:
        return torch.from_numpy(np.zeros(shape))
    return like.new_zeros(shape)


def make_room(state: dict[str, Tensor], names: Iterable[str], groups: Tensor) -> Tensor:
    """Let some tensors of a state, which are by group, hold more groups.

    Args:
        state: with its groups under "groups".
        names: of the tensors.
        groups: ascending, int64 [group].

    Returns:
        Where the groups are: int64 [group].
    """
    mine = state["groups"]
    together = union(mine, groups)
    if len(together) != len(mine):
        for name in names:
            state[name] = align(state[name], mine, together)
        state["groups"] = together
    return torch.searchsorted(together, groups)


def relabelled(groups: Tensor, mapping: Mapping[int, int]) -> tuple[Tensor, Tensor]:
    """Groups renumbered and sorted again, with the order that sorts everything beside them."""
    names = renamed(groups, mapping)
    order = names.argsort()
    return names[order], order


def renamed(labels: Tensor, mapping: Mapping[int, int]) -> Tensor:
    """Labels under their new numbers; those that the mapping does not name stay."""
    return labels.clone().apply_(lambda label: mapping.get(label, label))
