"""Mean and scatter of each class by itself, in a space of few dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators import Accumulator, Groups
from torchprobe.accumulators.groups import align, relabelled, union
from torchprobe.accumulators.rows import float64_rows
from torchprobe.accumulators.slots import Slots, float64, int64
from torchprobe.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from torchprobe.accumulators import State

__all__ = ["ClassScatter"]


class ClassScatter(Accumulator):
    """Count, mean and scatter about the mean of each class's points (methods P2, for each class).

    How many components a point has is known with the first points: a discriminant space is solved
    only once the data it is fitted on has been seen. The state takes class · component² numbers.

    Source: Chan, Golub & LeVeque, COMPSTAT 1982, eq. 2.1, for products, each class by itself.

    Example:
        >>> scatter = ClassScatter()
        >>> scatter.update(torch.tensor([[1.0, 0], [3, 0], [7, 7]]), torch.tensor([0, 0, 4]))
        >>> scatter.update(torch.tensor([[2.0, 3]]), torch.tensor([0]))
        >>> scatter.counts.tolist(), scatter.means.tolist()
        ([3, 1], [[2.0, 1.0], [7.0, 7.0]])
        >>> scatter.scatter.round(decimals=9).tolist()
        [[[2.0, 0.0], [0.0, 6.0]], [[0.0, 0.0], [0.0, 0.0]]]
    """

    @property
    def slots(self) -> Slots:
        """What the state holds."""
        classes = int64("group")
        return {
            "groups": classes,
            "counts": classes,
            "means": float64("group", "component"),
            "scatter": float64("group", "component", "component"),
        }

    def reduce(self, points: Tensor, labels: Tensor | Groups) -> State:
        """The scatters of one batch; points [row, component], labels int64 [row] or `Groups`.

        Raises:
            ShapeError: points are no matrix, or labels are not one per point.
        """
        groups = Groups.of(labels)
        if points.ndim != 2 or len(points) != len(groups.index):  # noqa: PLR2004 - a matrix
            raise ShapeError(
                f"points have shape {tuple(points.shape)}, for {len(groups.index)} labels; give "
                "[row, component] and a label for each row"
            )
        if not groups.n:
            return {}
        rows = float64_rows(points, self.device)
        parts = _by_class(rows, groups)
        means = torch.stack([part.mean(0) for part in parts])
        centred = [part - mean for part, mean in zip(parts, means, strict=True)]
        return {
            "groups": groups.values,
            "counts": groups.counts.to(rows.device),
            "means": means,
            "scatter": torch.stack([part.mT @ part for part in centred]),
        }

    def absorb(self, state: State) -> None:
        """Add another state, from `reduce` or from another accumulator, to this one."""
        if not self.state:
            self.state = {name: tensor.clone() for name, tensor in state.items()}
            return
        groups = union(self.state["groups"], state["groups"])
        mine, other = self._aligned(self.state, groups), self._aligned(state, groups)
        self.state = {"groups": groups, **_combined(mine, other)}

    def relabel(self, mapping: Mapping[int, int]) -> None:
        """Give classes other numbers."""
        if self.state:
            groups, order = relabelled(self.state["groups"], mapping)
            order = order.to(self.state["means"].device)
            rest = {name: t[order] for name, t in self.state.items() if name != "groups"}
            self.state = {"groups": groups, **rest}

    @property
    def groups(self) -> Tensor:
        """The labels seen, ascending: int64 [group]."""
        return self._seen("groups")

    @property
    def counts(self) -> Tensor:
        """Points of each class: int64 [group]."""
        return self._seen("counts")

    @property
    def means(self) -> Tensor:
        """Mean of each class's points: float64 [group, component]."""
        return self._seen("means")

    @property
    def scatter(self) -> Tensor:
        """Scatter of each class about its mean: float64 [group, component, component]."""
        return self._seen("scatter")

    def _aligned(self, state: State, groups: Tensor) -> State:
        """A state's statistics with an entry for each of these groups, on this one's device."""
        device = self.state["means"].device
        return {
            name: align(tensor, state["groups"], groups).to(device)
            for name, tensor in state.items()
            if name != "groups"
        }


def _by_class(rows: Tensor, groups: Groups) -> list[Tensor]:
    """The rows of each class, one tensor [row, component] a class."""
    order = groups.index.to(rows.device).argsort(stable=True)
    sizes = groups.counts.tolist()
    kept = rows.index_select(0, order[: sum(sizes)])  # ignored rows stand at the end
    return list(kept.split(sizes))


def _combined(a: State, b: State) -> State:
    """Chan's update for classes in the same order; a class without points adds nothing."""
    counts = a["counts"] + b["counts"]
    share = (b["counts"].double() / counts.clamp(min=1))[:, None]
    delta = b["means"] - a["means"]
    weight = (a["counts"][:, None] * share)[:, :, None]
    return {
        "counts": counts,
        "means": a["means"] + delta * share,
        "scatter": a["scatter"] + b["scatter"] + weight * (delta[:, :, None] * delta[:, None, :]),
    }
