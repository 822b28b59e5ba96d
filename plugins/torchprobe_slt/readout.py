"""Which numbers of a layer's output are nodes, and in which order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from torchprobe.errors import LayoutError, SettingError
from torchprobe.patterns import Pattern

if TYPE_CHECKING:
    from torch import Tensor

    from torchprobe import Layer
    from torchprobe.axes import Axes

__all__ = ["Readout"]


@dataclass(frozen=True, eq=False)
class Readout:
    """A layer of a model and the nodes in it: (channel, position), channels first.

    Args:
        name: module path, ``[key]`` for a part of its output, ``@n`` for its n-th call.
        axes: what the axes mean; None where the first is the sample and the rest count as they are.
        positions: "each" and "flatten" make every (channel, position) a node; "center", "mean" and
            "max" make each channel one, at the middle position or pooled over positions.
        nodes: which of these to keep, by index; all where None.
    """

    name: str
    axes: Axes | None = None
    positions: str = "flatten"
    nodes: Tensor | None = None

    @classmethod
    def of(cls, layer: Layer | str, nodes: Tensor | None = None) -> Readout:
        """The readout of a probe's layer, or of a layer by name."""
        if isinstance(layer, str):
            return cls(layer, nodes=nodes)
        return cls(layer.name, layer.axes, layer.positions, nodes)

    @cached_property
    def pattern(self) -> Pattern:
        """Module, part and call that the name means."""
        return Pattern.parse(self.name)

    def shape(self, output: Tensor) -> tuple[int, ...]:
        """What the nodes of an output are: (channel, *positions), or how many were chosen."""
        if self.nodes is not None:
            return (len(self.nodes),)
        sizes = tuple(self._canonical(output).shape[1:])
        return sizes[:1] if self.positions in ("center", "mean", "max") else sizes

    def __call__(self, output: Tensor) -> Tensor:
        """The nodes of an output: [sample, node], differentiable."""
        values = _pool(self._canonical(output), self.positions)
        return values if self.nodes is None else values[:, self._checked(values.shape[1])]

    def index(self, output: Tensor) -> Tensor | None:
        """Where each node stands in a sample's flat output: int64 [node]; None if it is pooled."""
        if self.positions in ("mean", "max"):
            return None
        if self.axes is not None and self.axes.names[:1] != ("sample",):
            return None
        count = math.prod(output.shape[1:])
        places = torch.arange(count, device=output.device).view(1, *output.shape[1:])
        return self(places)[0]

    def _canonical(self, output: Tensor) -> Tensor:
        """[sample, channel, *positions]; as it is, where no axes are given."""
        if self.axes is None:
            return output if output.ndim > 1 else output[:, None]
        if "sample" not in self.axes.names:
            raise LayoutError(
                f"layer {self.name!r} has axes {str(self.axes)!r} without a sample; its Jacobian "
                "has one row a sample: choose a layer whose output has a sample axis"
            )
        return self.axes.canonical(output)

    def _checked(self, count: int) -> Tensor:
        assert self.nodes is not None
        if len(self.nodes) and int(self.nodes.max()) >= count:
            raise SettingError(
                f"layer {self.name!r} has {count} nodes; nodes= asks for {int(self.nodes.max())}"
            )
        return self.nodes


def _pool(values: Tensor, positions: str) -> Tensor:
    """[sample, channel, *positions] → [sample, node]."""
    if values.ndim == 2 or positions in ("each", "flatten"):  # noqa: PLR2004 - no positions
        return values.flatten(1)
    maps = values.flatten(2)  # [sample, channel, position]
    if positions == "center":
        return maps[:, :, maps.shape[2] // 2]
    return maps.mean(2) if positions == "mean" else maps.amax(2)
