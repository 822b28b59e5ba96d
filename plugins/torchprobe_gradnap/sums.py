"""What is kept of aligned examples: their means by group, and over all of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators import Accumulator, Groups, State
from torchprobe.accumulators.groups import align, relabelled, union
from torchprobe.accumulators.rows import positions_first
from torchprobe.accumulators.slots import Slots, float64, int64
from torchprobe.errors import EmptyStateError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from torchprobe_gradnap.alignment import Alignment

__all__ = ["AlignedMeans"]

_PIECE = 1 << 17  # numbers that are made float64 at a time: 1 MB, in memory that is used again
_NOBODYS = (1 << 62) + 1  # the group of examples without a label


class _Waiting(dict[str, "Tensor"]):
    """A batch whose sums are still to be made."""

    maps: Tensor
    index: Tensor
    """Which of the batch's groups an example belongs to: int64 [sample]."""
    place: Tensor
    """Which position of the window each of its positions is moved to, −1 for none."""


class AlignedMeans(Accumulator):
    """Means of examples by group, and over all, with or without a label, moved into a window.

    Examples wait as they are and are moved while they are added: their values are read once, where
    moved copies and sums by batch would be written and read again.

    Args:
        channels: neurons of an example.
        window: positions of the window.

    Example:
        >>> import torch
        >>> from torchprobe_gradnap.alignment import Alignment
        >>> means = AlignedMeans(1, (2,))
        >>> at = Alignment(torch.tensor([[1], [1], [0]]), (2,), (2,))
        >>> maps = torch.tensor([[[1.0, 2]], [[3, 4]], [[8, 0]]])
        >>> means.update(maps, torch.tensor([0, 0, -1]), at)
        >>> means.labels.tolist(), means.of_groups.tolist(), means.of_all.tolist()
        ([0], [[[2.0, 3.0]]], [[1.3333333333333333, 4.666666666666667]])
    """

    def __init__(self, channels: int, window: Sequence[int]) -> None:
        super().__init__()
        self.channels, self.window = channels, tuple(window)
        self.positions = math.prod(window)

    @property
    def slots(self) -> Slots:
        """What the state holds."""
        return {
            "groups": int64("group"),
            "counts": int64("group"),
            "sums": float64("group", self.positions, self.channels),
        }

    def reduce(self, maps: Tensor, labels: Tensor, alignment: Alignment) -> State:
        """What the state of a batch will be made of.

        Args:
            maps: examples [sample, channel, *positions], which nobody overwrites.
            labels: int64 [sample], −1 where there is none.
            alignment: where they are moved.
        """
        groups = Groups.of(labels.masked_fill(labels < 0, _NOBODYS)).to(maps.device)
        if not groups.n:
            return {}
        state = _Waiting(groups=groups.values, counts=groups.counts)
        state.maps, state.index, state.place = maps, groups.index, alignment.place
        return state

    def absorb(self, state: State) -> None:
        """Add another state, in place."""
        at = self._room_for(state["groups"])
        counts, sums = self.state["counts"], self.state["sums"]
        counts.index_add_(0, at.to(counts.device), state["counts"].to(counts.device))
        if isinstance(state, _Waiting):
            self._add(state, at)
        else:
            sums.index_add_(0, at.to(sums.device), state["sums"].to(sums.device))

    def _add(self, batch: _Waiting, at: Tensor) -> None:
        """Move the examples of a batch and add them, some at a time, so that they stay in cache."""
        sums = self.state["sums"].view(-1, self.channels)
        first = at.to(batch.index.device)[batch.index] * self.positions
        maps = batch.maps.flatten(2) if self.window else batch.maps[..., None]
        at_once = max(1, _PIECE // max(1, maps[0].numel()))
        shape = at_once, maps.shape[2], self.channels
        room = torch.empty(shape, dtype=torch.float64, device=maps.device)
        to = (first[:, None] + batch.place.clamp(min=0)).to(sums.device)
        nowhere = batch.place < 0
        for start in range(0, len(maps), at_once):
            part = slice(start, start + at_once)
            rows = positions_first(maps[part], room[: len(maps[part])]).flatten(0, 1)
            rows.index_fill_(0, nowhere[part].flatten().nonzero().flatten(), 0)
            _add_rows(sums, to[part].flatten(), rows.to(sums.device))

    def _room_for(self, groups: Tensor) -> Tensor:
        """Make room for groups and say where they are: int64 [group]."""
        if not self.state:
            none = {
                "groups": torch.zeros(0, dtype=torch.int64),
                "counts": torch.zeros(0, dtype=torch.int64),
                "sums": torch.zeros(0, self.positions, self.channels, dtype=torch.float64),
            }
            self.state = self._placed(none)
        mine = self.state["groups"]
        together = union(mine, groups)
        if len(together) != len(mine):
            for name in ("counts", "sums"):
                self.state[name] = align(self.state[name], mine, together)
            self.state["groups"] = together
        return torch.searchsorted(together, groups)

    def relabel(self, mapping: Mapping[int, int]) -> None:
        """Give groups other numbers."""
        if self.state:
            self.state["groups"], order = relabelled(self.state["groups"], mapping)
            for name in ("counts", "sums"):
                self.state[name] = self.state[name][order.to(self.state[name].device)]

    @property
    def labels(self) -> Tensor:
        """The labels seen, ascending: int64 [group].

        Raises:
            EmptyStateError: none was.
        """
        labels = self._seen("groups")
        labels = labels[labels != _NOBODYS]
        if not len(labels):
            raise EmptyStateError("no example with a label was seen")
        return labels

    @property
    def sizes(self) -> Tensor:
        """Examples of each group: int64 [group]."""
        return self._seen("counts")[: len(self.labels)].clone()  # nobody's group is the last

    @property
    def of_groups(self) -> Tensor:
        """Mean of each group: float64 [group, channel, *window]."""
        sums = self._seen("sums")[: len(self.labels)]
        return self._maps(sums / self.sizes[:, None, None])

    @property
    def of_all(self) -> Tensor:
        """Mean of all examples: float64 [channel, *window]."""
        return self._maps((self._seen("sums").sum(0) / self._seen("counts").sum())[None])[0]

    def _maps(self, rows: Tensor) -> Tensor:
        """[map, position, channel] → [map, channel, *window]."""
        return rows.transpose(1, 2).reshape(len(rows), self.channels, *self.window)


def _add_rows(sums: Tensor, to: Tensor, rows: Tensor) -> None:
    """Add each row to the one of the sums that it belongs to, in the same order each time."""
    if sums.device.type == "cpu":
        sums.index_add_(0, to, rows)
    else:  # sorts before it adds, where index_add_ takes threads as they come
        sums.index_put_((to,), rows, accumulate=True)
