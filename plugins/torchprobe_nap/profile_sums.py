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

__all__ = ["MapSums", "Maps", "ProfileSums"]

_BY_GROUP = ("counts", "sums", "weights")
_BLOCK = 1 << 19  # numbers that are made float64 at a time: 4 MB


@dataclass(frozen=True, eq=False)
class MapSums:
    """What one batch adds: maps or windows, summed by group and over everything."""

    groups: Groups
    """Of the maps; those without a label are summed apart."""
    sums: Tensor
    """Float64 [group, position, channel]."""
    weights: Tensor
    """How many maps have each position: float64 [group, position]."""
    rest: Tensor
    """Of the maps without a label: float64 [position, channel]."""
    rest_weights: Tensor
    """Float64 [position]."""
    left_out: int = 0
    """Maps with a label that are in no sum because they are incomplete."""
    borrowed: bool = False
    """Whether the sums lie in memory of `ProfileSums.scratch`."""


@dataclass(frozen=True, eq=False)
class Maps:
    """What one batch adds: whole maps as they are, which are summed once they are absorbed.

    Maps in the model's precision take half the memory of their float64 sums, and are read once
    where sums by batch would be written and read again.
    """

    groups: Groups
    """Of the maps, on the CPU."""
    maps: Tensor
    """[map, position, channel], on the CPU; in memory of `ProfileSums.scratch`."""
    left_out: int = 0


class _Lent(dict[str, "Tensor"]):
    """A state in borrowed memory."""

    memory: Tensor


class _Held(_Lent):
    """Maps with their groups, in borrowed memory."""


class ProfileSums(Accumulator):
    """Sums and counts of maps [position, channel], by group and over everything (methods P1).

    What has no label is summed apart, for the mean over everything. How many positions there are,
    the first batch says. Sums are added in place: with hundreds of groups they take hundreds of
    megabytes, which to allocate anew for each batch would cost more than the forward pass.

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
            "rest": float64("position", self.channels),
            "rest_weights": float64("position"),
            "left_out": int64(),
        }

    def reduce(self, cut: MapSums | Maps) -> State:
        """The state of one batch, or its maps.

        Raises:
            ShapeError: there are not as many positions as before.
        """
        shape = cut.maps.shape[1:] if isinstance(cut, Maps) else cut.rest.shape
        before = self.state["rest"].shape if self.state else shape
        if shape != before:
            raise ShapeError(
                f"maps of {shape[0]} positions follow maps of {before[0]}; profiles need the same "
                "number: keep the first with length=..., or use window=(left, right)"
            )
        return _held(cut) if isinstance(cut, Maps) else _summed(cut)

    def scratch(self, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
        """Memory for what a batch adds, on the CPU; used before, where there is such.

        What a batch adds waits until the forward pass has ended. Memory taken from the system for
        each layer and given back after each pass costs ten times as much as the sums themselves.
        """
        size = math.prod(shape) * dtype.itemsize
        try:
            memory = self._spare.pop()  # one step, so that no two threads get the same
        except IndexError:
            memory = torch.empty(0, dtype=torch.uint8)
        if len(memory) < size:
            memory = torch.empty(size, dtype=torch.uint8)
        return memory[:size].view(dtype).view(shape)

    def absorb(self, state: State) -> None:
        """Add another state, in place."""
        if isinstance(state, _Held):
            self._add_maps(state)
        else:
            self._add(state)
        if isinstance(state, _Lent):
            self._spare[:] = [state.memory]

    def _add(self, state: State) -> None:
        at = self._room_for(state["groups"], state["rest"])
        for name, tensor in self.state.items():
            added = state[name].to(tensor.device)
            if name in _BY_GROUP:
                tensor.index_add_(0, at.to(tensor.device), added)
            elif name != "groups":
                tensor.add_(added)

    def _add_maps(self, held: State) -> None:
        maps, counts, index = held["maps"], held["counts"], held["index"]
        at = self._room_for(held["groups"], maps[0])
        where, labelled = self.state["sums"].device, index < len(at)
        size = max(1, _BLOCK // maps[0].numel())
        chosen = maps if bool(labelled.all()) else maps[labelled]
        for part, of in zip(chosen.split(size), at[index[labelled]].split(size), strict=True):
            self.state["sums"].index_add_(0, of.to(where), part.to(where).double())
        for part in maps[~labelled].split(size):
            self.state["rest"] += part.to(where).sum(0, dtype=torch.float64)
        at, counts = at.to(where), counts.to(where)
        self.state["counts"].index_add_(0, at, counts)
        self.state["weights"].index_add_(0, at, counts[:, None].double().expand(-1, maps.shape[1]))
        self.state["rest_weights"] += float(len(maps) - len(chosen))
        self.state["left_out"] += held["left_out"].to(where)

    def _room_for(self, groups: Tensor, like: Tensor) -> Tensor:
        """Make room for groups and say where they are: int64 [group]."""
        if not self.state:
            sizes: dict[int | str, int] = {"group": 0, "position": len(like)}
            empty = {
                name: torch.zeros([sizes.get(axis, axis) for axis in slot.axes], dtype=slot.dtype)
                for name, slot in self.slots.items()
            }
            where = self.device or like.device
            self.state = {
                name: tensor if name in self.on_cpu else tensor.to(where)
                for name, tensor in empty.items()
            }
        mine = self.state["groups"]
        together = union(mine, groups)
        if len(together) != len(mine):
            for name in _BY_GROUP:
                self.state[name] = align(self.state[name], mine, together)
            self.state["groups"] = together
        return torch.searchsorted(together, groups)

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
        weights = self._seen("weights").sum(0) + self._seen("rest_weights")
        return (self._seen("sums").sum(0) + self._seen("rest")) / weights[:, None]

    @property
    def left_out(self) -> Tensor:
        """Maps with a label that are in no sum: int64, no axes."""
        return self._seen("left_out")


def _summed(cut: MapSums) -> State:
    state = _Lent(
        groups=cut.groups.values,
        counts=cut.groups.counts,
        sums=cut.sums,
        weights=cut.weights,
        rest=cut.rest,
        rest_weights=cut.rest_weights,
        left_out=torch.full((), cut.left_out, device=cut.rest.device),
    )
    if not cut.borrowed:
        return dict(state)
    state.memory = _memory(cut.sums)
    return state


def _held(cut: Maps) -> State:
    state = _Held(
        groups=cut.groups.values,
        counts=cut.groups.counts,
        index=cut.groups.index,
        maps=cut.maps,
        left_out=torch.full((), cut.left_out),
    )
    state.memory = _memory(cut.maps)
    return state


def _memory(tensor: Tensor) -> Tensor:
    """The memory that a tensor lies in, as bytes."""
    return torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())  # type: ignore[call-overload]
