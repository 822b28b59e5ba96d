"""Sums of maps by group: the state behind profiles and their baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators import Accumulator, State
from torchprobe.accumulators.groups import make_room, relabelled
from torchprobe.accumulators.slots import Slots, float64, int64
from torchprobe.errors import EmptyStateError, ShapeError
from torchprobe_nap.sums import Maps, MapSums, WindowedRows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["ProfileSums"]

_BY_GROUP = ("counts", "sums", "weights")
_BLOCK = 1 << 19  # numbers that are made float64, or summed by group, at a time: 4 MB


class _Waiting(dict[str, "Tensor"]):
    """A batch whose sums are still to be made."""

    cut: Maps | WindowedRows


class ProfileSums(Accumulator):
    """Sums and counts of maps [position, channel] by group (methods P1).

    What has no label is a group of its own, −1, for the mean over everything. How many positions
    there are, the first batch says. Sums are added in place, and those of a batch only once it is
    absorbed: with hundreds of groups they take hundreds of megabytes, which to make anew for each
    batch would cost more than the forward pass.

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
            "left_out": int64(),
        }

    def reduce(self, cut: MapSums | Maps | WindowedRows) -> State:
        """The state of one batch, or what it will be made of.

        Raises:
            ShapeError: there are not as many positions as before.
        """
        width = _width(cut)
        before = self.state["sums"].shape[1] if self.state else width
        if width != before:
            raise ShapeError(
                f"maps of {width} positions follow maps of {before}; profiles need the same "
                "number: keep the first with length=..., or use window=(left, right)"
            )
        state = _Waiting(
            groups=cut.groups.values,
            counts=cut.groups.counts,
            left_out=torch.full((), cut.left_out, device=cut.groups.counts.device),
        )
        if isinstance(cut, MapSums):
            return {**state, "sums": cut.sums, "weights": cut.weights}
        state.cut = cut
        return state

    def scratch(self, *shape: int, dtype: torch.dtype) -> Tensor:
        """Memory for what waits of a batch, on the CPU; that of the batch before, where it fits.

        Memory taken from the system for each layer and given back after each pass costs ten times
        as much as the sums themselves.
        """
        try:
            memory = self._spare.pop()  # one step, so that no two threads get the same
        except IndexError:
            memory = None
        if memory is not None and memory.shape == shape and memory.dtype == dtype:
            return memory
        return torch.empty(shape, dtype=dtype, device="cpu")

    def absorb(self, state: State) -> None:
        """Add another state, in place."""
        if isinstance(state, _Waiting):
            self._add_batch(state)
            return
        at = self._room_for(state["groups"], state["sums"].shape[1])
        for name in _BY_GROUP:
            mine = self.state[name]
            mine.index_add_(0, at.to(mine.device), state[name].to(mine.device))
        self.state["left_out"] += state["left_out"].to(self.state["left_out"].device)

    def _add_batch(self, batch: _Waiting) -> None:
        cut = batch.cut
        whole = isinstance(cut, Maps)
        at = self._room_for(cut.groups.values, _width(cut), channels_first=whole)
        if isinstance(cut, Maps):
            self._add_maps(cut, at)
            self._spare[:] = [cut.maps.transpose(1, 2)]
        else:
            self._add_windows(cut, at)
        counts, weights = self.state["counts"], self.state["weights"]
        at, added = at.to(counts.device), cut.groups.counts.to(counts.device)
        counts.index_add_(0, at, added)
        weights.index_add_(0, at, added[:, None].double().expand(-1, weights.shape[1]))
        self.state["left_out"] += cut.left_out

    def _add_maps(self, cut: Maps, at: Tensor) -> None:
        sums, maps, index = self.state["sums"], cut.maps, at[cut.groups.index]
        if sums.stride(1) < sums.stride(2):  # as they lie, which torch adds four times as fast
            sums, maps = sums.transpose(1, 2), maps.transpose(1, 2)
        size = max(1, _BLOCK // maps[0].numel())
        for part, of in zip(maps.split(size), index.split(size), strict=True):
            sums.index_add_(0, of.to(sums.device), part.double().to(sums.device))

    def _add_windows(self, cut: WindowedRows, at: Tensor) -> None:
        sums, at = self.state["sums"], at.to(self.state["sums"].device)
        at_once = max(1, _BLOCK // max(1, cut.groups.n * self.channels, len(cut.starts)))
        for first in range(0, cut.width if cut.groups.n else 0, at_once):
            places = range(first, min(first + at_once, cut.width))
            made = cut.sums_at(places).transpose(0, 1)  # [group, place, channel]
            sums[:, first : places.stop].index_add_(0, at, made.to(sums.device))

    def _room_for(self, groups: Tensor, width: int, *, channels_first: bool = False) -> Tensor:
        """Make room for groups and say where they are: int64 [group].

        Args:
            groups: ascending, int64 [group].
            width: positions of a map.
            channels_first: how sums lie in memory, where there are none so far: as whole maps come,
                so that adding them turns nothing round. Their axes are the same either way.
        """
        if not self.state:
            sizes = {"group": 0, "position": width, self.channels: self.channels}
            empty = {
                name: torch.zeros([sizes[axis] for axis in slot.axes], dtype=slot.dtype)
                for name, slot in self.slots.items()
            }
            if channels_first:
                empty["sums"] = torch.zeros(0, self.channels, width).double().transpose(1, 2)
            self.state = self._placed(empty)
        return make_room(self.state, _BY_GROUP, groups)

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
        groups = self._seen("groups")
        if not bool((groups >= 0).any()):
            raise EmptyStateError(
                f"{int(self.left_out)} labelled maps or windows were offered but none was complete"
            )
        return groups[groups >= 0]

    def _labelled(self, name: str) -> Tensor:
        """Of the state, what has a label; −1 sorts before all labels."""
        rest = int((self._seen("groups") < 0).sum())
        return self.state[name][rest:]

    @property
    def counts(self) -> Tensor:
        """Maps of each group: int64 [group]."""
        return self._labelled("counts")

    @property
    def mean(self) -> Tensor:
        """Each group's mean map: float64 [group, position, channel]; NaN where no map reaches."""
        return self._labelled("sums") / self._labelled("weights")[..., None]

    @property
    def overall(self) -> Tensor:
        """Mean of all maps, with and without a label: float64 [position, channel]."""
        return self._seen("sums").sum(0) / self._seen("weights").sum(0)[:, None]

    @property
    def left_out(self) -> Tensor:
        """Maps with a label that are in no sum: int64, no axes."""
        return self._seen("left_out")


def _width(cut: MapSums | Maps | WindowedRows) -> int:
    """Positions of each map or window."""
    if isinstance(cut, WindowedRows):
        return cut.width
    return (cut.maps if isinstance(cut, Maps) else cut.sums).shape[1]
