"""A probed point of a model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import torch

from torchprobe.axes import Axes
from torchprobe.errors import SettingError
from torchprobe.positions import PositionsMap

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["POSITIONS", "Layer"]

POSITIONS = ("each", "mean", "max", "center", "flatten")
"""What a row is: each position by itself, a pooled sample, or a sample with all its positions."""


@dataclass(frozen=True)
class Layer:
    """A probed point: its name, the meaning of its axes and its sizes as first seen.

    ``name`` is the module's path, with ``[key]`` for a part of a nested output and ``@n`` for the
    n-th call in one forward pass (``lstm[0]``, ``block.act@2``).
    """

    name: str
    axes: Axes
    shape: tuple[int, ...]
    """Shape when first seen, in the model's own order; sample and positions may vary later."""
    module: str = ""
    """The module's class name."""
    dtype: torch.dtype = torch.float32
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    positions: str = "each"
    """One of `POSITIONS`: what analyzers get as a row."""
    positions_map: PositionsMap | None = field(default=None, compare=False)
    """How its positions lie over the input's, where an analyzer has ``needs_positions``."""

    @property
    def position_shape(self) -> tuple[int, ...]:
        """Sizes of the position axes when first seen: (time,) or (height, width) or ()."""
        if self.positions != "each":
            return ()
        return tuple(self.axes.size(self.shape, name) for name in self.axes.positions)

    @property
    def width(self) -> int:
        """How many units there are: the size of the channel axis."""
        return self.axes.size(self.shape, "channel")

    @property
    def channels(self) -> int:
        """How many entries a row has: the units, times the positions where these are flattened."""
        if self.positions == "flatten":
            return self.width * math.prod(replace(self, positions="each").position_shape)
        return self.width

    def at(self, positions: str) -> Layer:
        """This layer with its positions pooled or flattened.

        Raises:
            SettingError: not one of `POSITIONS`.
        """
        if positions not in POSITIONS:
            raise SettingError(f"positions={positions!r}; choose one of {', '.join(POSITIONS)}")
        return self if positions == self.positions else replace(self, positions=positions)

    def state(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return {
            "name": self.name,
            "axes": str(self.axes),
            "shape": list(self.shape),
            "module": self.module,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": str(self.device),
            "positions_map": self.positions_map.state() if self.positions_map else None,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `state`; every position a row."""
        found = state["positions_map"]
        return cls(
            name=state["name"],
            axes=Axes.parse(state["axes"]),
            shape=tuple(state["shape"]),
            module=state["module"],
            dtype=getattr(torch, state["dtype"]),
            device=torch.device(state["device"]),
            positions_map=None if found is None else PositionsMap.from_state(found),
        )
