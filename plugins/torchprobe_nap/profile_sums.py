"""Sums of maps by group and over all data: the state behind profiles and their baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators import Accumulator, State
from torchprobe.accumulators.groups import align, relabelled, union
from torchprobe.accumulators.slots import Slots, float64, int64
from torchprobe.errors import EmptyStateError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from torchprobe.accumulators import Groups

__all__ = ["MapSums", "ProfileSums"]

_BY_GROUP = ("counts", "sums", "weights")


@dataclass(frozen=True, eq=False)
class MapSums:
    """What one batch adds: maps or windows, summed by group and over everything."""

    groups: Groups
    """Of the maps; those without a label count in the sums over everything."""
    sums: Tensor
    """Float64 [group, position, channel]."""
    weights: Tensor
    """How many maps have each position: float64 [group, position]."""
    total: Tensor
    """Of all maps, with and without a label: float64 [position, channel]."""
    total_weights: Tensor
    """Float64 [position]."""
    left_out: int = 0
    """Maps with a label that are in no sum because they are incomplete."""
    memory: Tensor | None = None
    """Whose memory the sums lie in, where `ProfileSums.absorb` may take it back."""


class _Lent(dict[str, "Tensor"]):
    """A state in borrowed memory."""

    memory: Tensor


class ProfileSums(Accumulator):
    """Sums and counts of maps [position, channel], by group and over everything (methods P1).

    The sum over everything is kept apart because it holds what has no label, too. How many
    positions there are, the first batch says. Sums are added in place: with hundreds of groups
    they take hundreds of megabytes, which to allocate anew for each batch would cost more than the
    forward pass.

    Args:
        channels: numbers at each position.

    Example:
        >>> import torch
        >>> from torchprobe.accumulators import Groups
        >>> from torchprobe_nap.sums import sum_maps
        >>> sums = ProfileSums(1)
        >>> rows = torch.arange(6.0, dtype=torch.float64)[:, None]
        >>> sums.update(sum_maps(rows, Groups.of(torch.tensor([3, 3, -1])), width=2))
        >>> sums.groups.tolist(), sums.counts.tolist(), sums.mean.tolist(), sums.overall.tolist()
        ([3], [2], [[[1.0], [2.0]]], [[2.0], [3.0]])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self._spare: list[Tensor] = []

    @property
    def slots(self) -> Slots:
        """What the state holds."""
        return {
            "groups": int64("group"),
            "counts": int64("group"),
            "sums": float64("group", "position", self.channels),
            "weights": float64("group", "position"),
            "total": float64("position", self.channels),
            "total_weights": float64("position"),
            "left_out": int64(),
        }

    def reduce(self, cut: MapSums) -> State:
        """The state of one batch.

        Raises:
            ShapeError: there are not as many positions as before.
        """
        before = self.state.get("total", cut.total)
        if cut.total.shape != before.shape:
            raise ShapeError(
                f"maps of {len(cut.total)} positions follow maps of {len(before)}; profiles need "
                "the same number: keep the first with length=..., or use window=(left, right)"
            )
        state = _Lent(
            groups=cut.groups.values,
            counts=cut.groups.counts,
            sums=cut.sums,
            weights=cut.weights,
            total=cut.total,
            total_weights=cut.total_weights,
            left_out=torch.full((), cut.left_out, device=cut.total.device),
        )
        if cut.memory is None:
            return dict(state)
        state.memory = cut.memory
        return state

    def scratch(self, *shape: int) -> Tensor:
        """Zeros for the sums of a batch, float64 on the CPU; in memory used before where there is.

        Sums wait until the forward pass has ended. Memory taken from the system for each layer and
        given back after each pass costs ten times as much as the sums themselves.
        """
        size = math.prod(shape)
        try:
            memory = self._spare.pop()  # one step, so that no two threads get the same
        except IndexError:
            memory = torch.empty(0, dtype=torch.float64)
        if len(memory) < size:
            memory = torch.empty(size, dtype=torch.float64)
        return memory[:size].view(shape).zero_()

    def absorb(self, state: State) -> None:
        """Add another state, in place."""
        self._add(state)
        if isinstance(state, _Lent):
            self._spare[:] = [state.memory]

    def _add(self, state: State) -> None:
        if not self.state:  # a copy: what follows is added to it in place
            self.state = self._placed({name: tensor.clone() for name, tensor in state.items()})
            return
        mine, groups = self.state["groups"], union(self.state["groups"], state["groups"])
        at = torch.searchsorted(groups, state["groups"])
        for name, tensor in self.state.items():
            added = state[name].to(tensor.device)
            if name in _BY_GROUP:
                self.state[name] = align(tensor, mine, groups)
                self.state[name].index_add_(0, at.to(tensor.device), added)
            elif name != "groups":
                tensor.add_(added)
        self.state["groups"] = groups

    def relabel(self, mapping: Mapping[int, int]) -> None:
        """Give groups other numbers."""
        if self.state:
            self.state["groups"], order = relabelled(self.state["groups"], mapping)
            for name in _BY_GROUP:
                self.state[name] = self.state[name][order.to(self.state[name].device)]

    @property
    def groups(self) -> Tensor:
        """The labels seen, ascending: int64 [group].

        Raises:
            EmptyStateError: no map with a label was seen, or none was complete.
        """
        if self.state and not len(self.state["groups"]):
            raise EmptyStateError(
                f"{int(self.left_out)} labelled maps or windows were offered but none was complete"
            )
        return self._seen("groups")

    @property
    def counts(self) -> Tensor:
        """Maps of each group: int64 [group]."""
        return self._seen("counts")

    @property
    def mean(self) -> Tensor:
        """Each group's mean map: float64 [group, position, channel]; NaN where no map reaches."""
        return self._seen("sums") / self._seen("weights")[..., None]

    @property
    def overall(self) -> Tensor:
        """Mean of all maps, with and without a label: float64 [position, channel]."""
        return self._seen("total") / self._seen("total_weights")[:, None]

    @property
    def left_out(self) -> Tensor:
        """Maps with a label that are in no sum: int64, no axes."""
        return self._seen("left_out")
