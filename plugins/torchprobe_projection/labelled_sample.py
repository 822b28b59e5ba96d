"""A bounded sample of rows with their labels in every grouping."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators import BoundedSample
from torchprobe.errors import MergeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from torchprobe.accumulators import Groups, State

__all__ = ["LabelledSample"]

_PREFIX = "grouping:"
_ROOM = 4
"""Groupings that the memory planned beforehand has room for."""


class LabelledSample(BoundedSample):
    """A `BoundedSample` that keeps each row's labels in all groupings, whichever there are.

    One picture serves every grouping: where rows lie does not depend on how they are coloured.

    Example:
        >>> import torch
        >>> sample = LabelledSample(1, n=3)
        >>> rows, ids = torch.arange(8.0)[:, None], torch.arange(8)
        >>> sample.update(rows, ids, groupings={"parity": ids % 2})
        >>> sample.ids.tolist(), sample.groupings
        ([3, 5, 7], {'parity': tensor([1, 1, 1])})
    """

    @property
    def nbytes(self) -> int:
        """Bytes of the state; before any update, of ``n`` rows and a few groupings."""
        return super().nbytes + (0 if self.state else 8 * self.n * _ROOM)

    def reduce(
        self,
        rows: Tensor,
        ids: Tensor,
        labels: Tensor | Groups | None = None,
        groupings: Mapping[str, Tensor] | None = None,
    ) -> State:
        """The rows of one batch that may enter; rows [row, *shape], ids and labels int64 [row].

        Labels of ``groupings`` are kept beside the rows, negative ones (none) as well.

        Raises:
            ShapeError: rows have another shape, or ids are not one per row.
            LabelError: ids are not int64.
        """
        state = super().reduce(rows, ids, labels)
        if not state:
            return {}
        spoken = {_PREFIX + name: given.cpu() for name, given in (groupings or {}).items()}
        known = {"ids": ids.cpu(), **spoken}
        return {**state, **{key: _looked_up(state["ids"], key, [known]) for key in spoken}}

    def absorb(self, state: State) -> None:
        """Add another state; of a row that comes twice the labels that came first are kept."""
        mine = self.state
        super().absorb(state)
        for key in dict.fromkeys([*_groupings(mine), *_groupings(state)]):
            self.state[key] = _looked_up(self.state["ids"], key, [mine, state])

    def check_slots(self, state: Mapping[str, Tensor]) -> None:
        """Raise `MergeError` unless a full state is a sample with labels beside it."""
        labels = _groupings(state)
        super().check_slots({name: state[name] for name in state if name not in labels})
        for key in labels:
            if state[key].dtype != torch.int64 or state[key].shape != state["ids"].shape:
                raise MergeError(f"{key!r} of a sample are not int64 labels, one for each row")

    @property
    def groupings(self) -> dict[str, Tensor]:
        """The labels of `rows` in each grouping: int64 [item], -1 where there is none."""
        keys = _groupings(self.state)
        return {key.removeprefix(_PREFIX): self._sorted(key).cpu() for key in keys}


def _groupings(state: Mapping[str, Tensor]) -> list[str]:
    return [name for name in state if name.startswith(_PREFIX)]


def _looked_up(ids: Tensor, key: str, states: list[Mapping[str, Tensor]]) -> Tensor:
    """The labels of ids in the first of the states that knows them, -1 in none: int64 [item]."""
    labels = torch.full_like(ids, -1)
    for state in reversed(states):
        if key in state:
            order = state["ids"].argsort()
            at = order[torch.searchsorted(state["ids"][order], ids).clamp(max=len(order) - 1)]
            known = state[key].cpu()[at]
            labels = torch.where(state["ids"][at] == ids, known, labels)
    return labels
