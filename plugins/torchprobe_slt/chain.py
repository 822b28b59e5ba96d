"""Closed form: Jacobians of a chain of matrices and pointwise functions, from either end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

__all__ = ["Chain", "Linear", "Scale", "Step"]


@dataclass(frozen=True, eq=False)
class Linear:
    """A matrix [out, in] applied to each of ``groups`` rows of a sample."""

    matrix: Tensor
    groups: int = 1

    def push(self, tangents: Tensor | None, part: slice, owned: bool) -> Tensor:  # noqa: ARG002
        """Its Jacobian times tangents: [sample, groups·in, input] → [sample, groups·out, input]."""
        if tangents is None:
            return self._whole()
        rows = tangents.unflatten(1, (self.groups, self.matrix.shape[1]))
        pushed: Tensor = (self.matrix @ rows).flatten(1, 2)
        return pushed

    def pull(self, cotangents: Tensor | None, part: slice) -> Tensor:  # noqa: ARG002
        """Cotangents times its Jacobian: [sample, node, groups·out] → [sample, node, groups·in]."""
        if cotangents is None:
            return self._whole()
        rows = cotangents.unflatten(2, (self.groups, len(self.matrix)))
        pulled: Tensor = (rows @ self.matrix).flatten(2)
        return pulled

    def flops(self) -> float:
        """Floating point operations to push one tangent or pull one cotangent."""
        return 2.0 * self.matrix.numel() * self.groups

    def scaled(self, by: Scale) -> Linear:
        """This and a function behind it whose slopes are the same for every sample, as one."""
        return Linear(by.slopes[:1].mT * self._whole()[0])

    def _whole(self) -> Tensor:
        """Its Jacobian: [1, groups·out, groups·in]."""
        if self.groups == 1:
            return self.matrix[None]
        whole: Tensor = torch.block_diag(*[self.matrix] * self.groups)
        return whole[None]


@dataclass(frozen=True, eq=False)
class Scale:
    """Slopes [sample or 1, node] of a function of each entry by itself."""

    slopes: Tensor

    def push(self, tangents: Tensor | None, part: slice, owned: bool) -> Tensor:
        """[sample, node, input], each node times its slope; in place if the tangents are owned."""
        slopes = self._of(part)
        if tangents is None:
            return torch.diag_embed(slopes)
        if owned and len(tangents) >= len(slopes):
            return tangents.mul_(slopes[:, :, None])
        return tangents * slopes[:, :, None]

    def pull(self, cotangents: Tensor | None, part: slice) -> Tensor:
        """[sample, node, inner], each inner entry times its slope."""
        slopes = self._of(part)
        return torch.diag_embed(slopes) if cotangents is None else cotangents * slopes[:, None]

    def flops(self) -> float:
        """Next to nothing."""
        return 0.0

    @property
    def constant(self) -> bool:
        """Whether it is the same for every sample, as that of batch norm in eval mode is."""
        return bool((self.slopes == self.slopes[:1]).all())

    def _of(self, part: slice) -> Tensor:
        return self.slopes if len(self.slopes) == 1 else self.slopes[part]


Step = Linear | Scale


class Chain:
    """A forward pass that is a chain: steps in order, and layers that stand between them.

    Steps that are the same for every sample are folded into the matrix before them, unless a
    layer stands in between.

    Args:
        steps: from the input on.
        places: by layer, after how many steps its output stands.
        start: the input of all samples, flat: [sample, input].
    """

    def __init__(self, steps: Sequence[Step], places: Mapping[str, int], start: Tensor) -> None:
        self.start = start
        self.steps: list[Step] = []
        self.places: dict[str, int] = {}
        for number, step in enumerate([*steps, None]):
            here = [layer for layer, place in places.items() if place == number]
            self.places.update(dict.fromkeys(here, len(self.steps)))
            if step is not None:
                self._append(step)

    def push(self, part: slice) -> dict[str, Tensor]:
        """Jacobians of all layers, in one sweep from the input: [sample or 1, node, input]."""
        stops = set(self.places.values())
        tangents: Tensor | None = None
        reached, owned = {0: tangents}, False
        for number, step in enumerate(self.steps[: max(stops, default=0)], start=1):
            moved = step.push(tangents, part, owned)
            owned = number not in stops and not (tangents is None and isinstance(step, Linear))
            tangents = moved
            if number in stops:
                reached[number] = tangents
        return {layer: self._given(reached[place]) for layer, place in self.places.items()}

    def pull(self, layer: str, part: slice) -> Tensor:
        """Jacobian of one layer, from its nodes back to the input: [sample or 1, node, input]."""
        cotangents: Tensor | None = None
        for step in reversed(self.steps[: self.places[layer]]):
            cotangents = step.pull(cotangents, part)
        return self._given(cotangents)

    def push_flops(self, features: int) -> float:
        """Operations of `push` for one sample; the first matrix comes for nothing."""
        last = self.steps[: max(self.places.values(), default=0)]
        return features * sum(step.flops() for step in _behind_first(last))

    def pull_flops(self, nodes: Mapping[str, int]) -> float:
        """Floating point operations of `pull` of every layer, given its number of nodes."""
        each = {layer: self.steps[: self.places[layer]][::-1] for layer in nodes}
        return sum(
            count * sum(step.flops() for step in _behind_first(each[layer]))
            for layer, count in nodes.items()
        )

    def _given(self, jacobian: Tensor | None) -> Tensor:
        """A Jacobian; that of the input itself where no step comes before."""
        return torch.diag_embed(torch.ones_like(self.start[:1])) if jacobian is None else jacobian

    def _append(self, step: Step) -> None:
        before = self.steps[-1] if self.steps else None
        between = len(self.steps) in self.places.values()
        if isinstance(step, Scale):
            if bool((step.slopes == 1).all()):
                return
            if not between and isinstance(before, Linear) and step.constant:
                self.steps[-1] = before.scaled(step)
                return
            if not between and isinstance(before, Scale):
                self.steps[-1] = Scale(before.slopes * step.slopes)
                return
        self.steps.append(step)


def _behind_first(steps: Sequence[Step]) -> list[Step]:
    """The steps after the first matrix, whose Jacobian is itself."""
    first = next((n for n, step in enumerate(steps) if isinstance(step, Linear)), len(steps))
    return list(steps[first + 1 :])
