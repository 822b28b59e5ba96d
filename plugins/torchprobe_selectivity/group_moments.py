"""Mean and spread of each group's rows: what a class-wise d' needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchprobe.accumulators import GroupMeans, Groups
from torchprobe.accumulators.group_means import group_sums
from torchprobe.accumulators.groups import align, relabelled, union
from torchprobe.accumulators.rows import float64_rows
from torchprobe.accumulators.slots import Slots, float64

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torchprobe.accumulators import State

__all__ = ["GroupMoments"]


class GroupMoments(GroupMeans):
    """Mean and sum of squared deviations of each group's rows, never from sums of squares.

    The means are those of `GroupMeans` bit for bit; deviations merge by Chan's update (methods P2).

    Source: Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", COMPSTAT 1982, eq. 2.1, for every group by itself.

    Example:
        >>> moments = GroupMoments(1)
        >>> moments.update(torch.tensor([[0.0], [2], [7]]), torch.tensor([0, 0, 1]))
        >>> moments.update(torch.tensor([[4.0], [9]]), torch.tensor([0, 1]))
        >>> moments.value.tolist(), moments.squares.tolist()
        ([[2.0], [8.0]], [[8.0], [2.0]])
    """

    @property
    def slots(self) -> Slots:
        """What the state holds: that of `GroupMeans`, and the squared deviations."""
        return {**super().slots, "squares": float64("group", *self.shape)}

    def reduce(self, rows: Tensor | Iterable[Tensor], labels: Tensor | Groups) -> State:
        """The moments of one batch; arguments and errors are those of `GroupMeans`.

        Rows are gone through twice: those that come in parts are put together first.
        """
        if not isinstance(rows, Tensor):
            rows = torch.cat([part.clone() for part in rows])
        groups = Groups.of(labels)
        state = super().reduce(rows, groups)
        if not state:
            return {}
        flat = float64_rows(rows, self.device).flatten(1)  # [row, feature]
        groups = groups.to(flat.device)
        means = state["sums"].flatten(1) / groups.counts[:, None]
        means = torch.cat([means, means.new_zeros(1, means.shape[1])])  # ignored rows look up 0
        squares = group_sums([(flat - means[groups.index]).square_()], groups)
        return {**state, "squares": squares.view_as(state["sums"])}

    def absorb(self, state: State) -> None:
        """Add another state, from `reduce` or from another accumulator, to this one."""
        if not self.state:
            self.state = dict(state)
            return
        groups = union(self.state["groups"], state["groups"])
        mine, other = self._aligned(self.state, groups), self._aligned(state, groups)
        self.state = {"groups": groups, **_combined(mine, other)}

    def relabel(self, mapping: Mapping[int, int]) -> None:
        """Give groups other numbers."""
        if self.state:
            groups, order = relabelled(self.state.pop("groups"), mapping)
            order = order.to(self.state["sums"].device)
            self.state = {name: tensor[order] for name, tensor in self.state.items()}
            self.state["groups"] = groups

    @property
    def squares(self) -> Tensor:
        """Sum of squared deviations from each group's mean: float64 [group, *shape]."""
        return self._seen("squares")

    def _aligned(self, state: State, groups: Tensor) -> State:
        """A state's statistics with a row for each of these groups, on this one's device."""
        device = self.state["sums"].device
        return {
            name: align(tensor, state["groups"], groups).to(device)
            for name, tensor in state.items()
            if name != "groups"
        }


def _combined(a: State, b: State) -> State:
    """Chan's update of groups that stand in the same order; a group with no rows adds nothing."""
    columns = (-1, *[1] * (a["sums"].ndim - 1))
    n_a, n_b = (state["counts"].double().view(columns) for state in (a, b))
    delta = b["sums"] / n_b.clamp(min=1) - a["sums"] / n_a.clamp(min=1)
    shared = n_a * n_b / (n_a + n_b).clamp(min=1)  # [group, 1]
    return {
        "counts": a["counts"] + b["counts"],
        "sums": a["sums"] + b["sums"],
        "squares": a["squares"] + b["squares"] + delta.square() * shared,
    }
