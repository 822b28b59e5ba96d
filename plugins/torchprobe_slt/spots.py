"""Which nodes of a layer are looked at, and which part of the input they can see."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from torchprobe.errors import SettingError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torchprobe import Layer

__all__ = ["WORDS", "Place", "Spot", "middles", "spot"]

Place: TypeAlias = "str | int"
"""A position along every axis of positions: "middle", "first", "last", or a number."""

WORDS = ("middle", "first", "last")


@dataclass(frozen=True, eq=False)
class Spot:
    """The nodes of one layer: its channels, at one position of every sample."""

    layer: Layer
    place: Tensor
    """The position, along each axis of positions: int64 [sample, axis]."""
    window: tuple[int, ...]
    """Sizes of the input that a node is taken to depend on, without the sample."""
    columns: Tensor | None = None
    """Where these are in a sample's flattened input, −1 for beyond it: int64 [sample, input]; None:
    everywhere."""
    nodes: Tensor | None = None
    """Which channels: int64 [node]; None: all."""

    @property
    def n_nodes(self) -> int:
        """How many nodes there are."""
        return self.layer.width if self.nodes is None else len(self.nodes)

    @property
    def n_inputs(self) -> int:
        """How many input values a node is taken to depend on."""
        return math.prod(self.window)

    def values(self, output: Tensor) -> Tensor:
        """The nodes' values in what the layer put out: [sample, node]."""
        self.layer.axes.check(output.shape, self.layer.name)
        values = self.layer.axes.canonical(output)
        if len(values) != len(self.place):
            raise ShapeError(
                f"layer {self.layer.name!r} has {len(values)} samples but the input "
                f"{len(self.place)}; transforms need the sample as the first axis of the input"
            )
        if self.layer.axes.positions:
            samples = torch.arange(len(values), device=values.device)
            values = values.movedim(1, -1)[(samples, *self.place.to(values.device).unbind(1))]
        return values.clone() if self.nodes is None else values.index_select(1, self._nodes(values))

    def chosen(self, transforms: Tensor) -> Tensor:
        """Those of all channels' transforms [sample, channel, input] that are the nodes'."""
        if self.nodes is None:
            return transforms
        return transforms.index_select(1, self.nodes.to(transforms.device))

    def inputs(self, flat: Tensor) -> Tensor:
        """What the nodes see of flattened inputs [sample, ..., value]: [sample, ..., input]."""
        if self.columns is None:
            return flat
        at = self.columns.to(flat.device).view(len(flat), *[1] * (flat.ndim - 2), -1)
        seen = flat.gather(-1, at.clamp(min=0).expand(*flat.shape[:-1], at.shape[-1]))
        return seen.masked_fill_(at < 0, 0)

    def _nodes(self, values: Tensor) -> Tensor:
        assert self.nodes is not None
        return self.nodes.to(values.device)

    def seeing(self, inputs: Tensor) -> Spot:
        """The same with only some of the inputs that the nodes see: int64 [input]."""
        columns = inputs.expand(len(self.place), -1)
        if self.columns is not None:
            columns = self.columns.index_select(1, inputs)
        return replace(self, columns=columns, window=(len(inputs),))

    def part(self, samples: slice) -> Spot:
        """The same for some samples only."""
        columns = None if self.columns is None else self.columns[samples]
        return replace(self, place=self.place[samples], columns=columns)


def middles(layer: Layer, shape: Sequence[int], n: int, place: Place = "middle") -> Tensor:
    """The position looked at in each of ``n`` samples of a layer: int64 [sample, axis].

    Args:
        layer: whose positions.
        shape: what the layer put out, in the model's own order.
        n: how many samples.
        place: which position; a number counts from 0, a negative one from the end.

    Raises:
        SettingError: there is no such position.
    """
    sizes = [layer.axes.size(shape, axis) for axis in layer.axes.positions]
    found = [_position(place, size, layer.name) for size in sizes]
    return torch.tensor(found, dtype=torch.int64).expand(n, len(sizes))


def _position(place: Place, size: int, layer: str) -> int:
    if isinstance(place, str):
        return {"middle": size // 2, "first": 0, "last": size - 1}[place]
    if not -size <= place < size:
        raise SettingError(
            f"position={place}, but layer {layer!r} has {size}; choose 'middle', 'first', 'last' "
            f"or a number from {-size} to {size - 1}"
        )
    return place % size


def spot(
    layer: Layer,
    place: Tensor,
    inputs: tuple[tuple[str, ...], tuple[int, ...]],
    *,
    whole: bool = False,
    nodes: Tensor | None = None,
) -> Spot:
    """The nodes of a layer with the window of the input that they see.

    Args:
        layer: which; its ``positions_map`` tells its receptive field.
        place: the position looked at: int64 [sample, axis].
        inputs: names and sizes of the input's axes after the sample's; names may be missing.
        whole: take the whole input, whatever a node sees.
        nodes: which channels; all where None.
    """
    names, sizes = inputs
    found = layer.positions_map
    axes: list[tuple[Tensor | None, int]] = [(None, size) for size in sizes]
    if found is not None and not whole and not found.grid and len(names) == len(sizes):
        axes = [_seen(layer, place, *each) for each in zip(names, sizes, strict=True)]
    window = tuple(width for _, width in axes)
    if all(first is None for first, _ in axes):
        return Spot(layer, place, window, None, nodes)
    return Spot(layer, place, window, _columns(axes, sizes, len(place)), nodes)


def _seen(layer: Layer, place: Tensor, name: str, size: int) -> tuple[Tensor | None, int]:
    """The first of the input's positions that are seen along an axis [sample], and how many."""
    found = layer.positions_map
    assert found is not None
    if name not in found.along:
        return None, size
    at = found.along.index(name)
    positions = layer.axes.size(layer.shape, layer.axes.positions[at])
    lies = found.maps[at].over(positions, size)
    if lies.field is None:
        return None, size
    return lies.spans(place[:, at])[0], lies.field


def _columns(axes: list[tuple[Tensor | None, int]], sizes: tuple[int, ...], n: int) -> Tensor:
    """Indices into the flattened input, −1 beyond it: int64 [sample, input]."""
    columns = torch.zeros(n, 1, dtype=torch.int64)
    inside = torch.ones(n, 1, dtype=torch.bool)
    for (first, width), size in zip(axes, sizes, strict=True):
        start = torch.zeros(n, dtype=torch.int64) if first is None else first
        along = start[:, None] + torch.arange(width)  # [sample, position]
        columns = (columns[:, :, None] * size + along[:, None].clamp(0, size - 1)).flatten(1)
        inside = (inside[:, :, None] & ((along >= 0) & (along < size))[:, None]).flatten(1)
    return columns.masked_fill(~inside, -1)
