"""The linear function that a network applies to each sample, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torchprobe.errors import LayerNotFoundError
from torchprobe.wording import unknown

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Jacobian", "Jacobians"]


@dataclass(frozen=True, eq=False)
class Jacobian:
    """The linear functions of one layer: near sample i its nodes are ``values[i] @ x + offset[i]``.

    Source: Nagamine & Mesgarani 2017, eq. 1-4, where it is called data Jacobian or
    sample-dependent linear transform (SLT); the offset, which the paper omits, makes the function
    exact where the network is piecewise linear.
    """

    values: Tensor
    """J: [sample, node, input], in the model's dtype."""
    offset: Tensor
    """c = h − Jx: [sample, node]."""
    output: Tensor
    """The nodes' own values h: [sample, node]."""
    input: Tensor
    """x, by which J is the derivative: [sample, input]."""
    node_shape: tuple[int, ...]
    """What the node axis is made of: (channel, *positions)."""
    input_shape: tuple[int, ...]
    """What the input axis is made of, e.g. (frequency, time)."""

    def unflatten(self, sample: int, node: int) -> Tensor:
        """One SLT in the shape of the input: [*input_shape]."""
        return self.values[sample, node].reshape(self.input_shape)


@dataclass(frozen=True, eq=False)
class Jacobians(Mapping[str, Jacobian]):
    """Jacobians by layer, and how they were come by."""

    layers: Mapping[str, Jacobian]
    samples: slice
    """Which samples of the batch these are."""
    route: str
    """"push" and "pull" are the closed form from the input's and from the nodes' end, "forward" and
    "reverse" automatic differentiation."""
    flops: Mapping[str, float] = field(default_factory=dict)
    """Estimated floating point operations a sample of every route; the cheapest is taken."""
    exact: bool = True
    """Whether the network is piecewise linear, so that J and c are its function around each sample;
    otherwise they are its tangent there, a local approximation."""
    notes: tuple[str, ...] = ()
    """What else there is to know, such as why a cheaper route could not be taken."""

    def __getitem__(self, layer: str) -> Jacobian:
        if layer not in self.layers:
            raise LayerNotFoundError(unknown("layer", layer, self.layers))
        return self.layers[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{n!r}: {tuple(j.values.shape)}" for n, j in self.layers.items())
        kind = "exact" if self.exact else "local approximation"
        return f"Jacobians({{{shapes}}}, by {self.route}, {kind})"
