"""Receptive-field windows: which part of the input each position of a layer sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch

from torchprobe.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


__all__ = ["Directions", "Window", "WindowSpec", "Windows"]


class Window(NamedTuple):
    """What position t sees along one axis: ``size`` entries from ``start + stride · t`` on.

    Entries before the first or after the last are padding; the Jacobian is 0 there.

    Example:
        >>> Window(size=3, start=-1).entries(torch.arange(2)).tolist()
        [[-1, 0, 1], [0, 1, 2]]
    """

    size: int
    """Entries of the input."""
    stride: int = 1
    """By how many the window moves from one position to the next."""
    start: int = 0
    """Where position 0 begins, negative where the layer pads."""
    axis: int | None = None
    """The input's axis without its sample axis; by default position axes belong to the last axes of
    the input, in order."""

    def entries(self, positions: Tensor) -> Tensor:
        """The entries that positions see, in or out of the input: int64 [position, size]."""
        first = self.start + self.stride * positions
        return first[:, None] + torch.arange(self.size, device=positions.device)


WindowSpec: TypeAlias = "Window | Sequence[Window] | Mapping[str, Window | Sequence[Window]]"
"""One window for each position axis, for all layers or by name."""


@dataclass(frozen=True, eq=False)
class Windows:
    """One layer's windows along its position axes.

    Args:
        along: one window for each position axis.
        input_shape: the input's sizes without the sample axis.
        node_shape: (channel, *positions).
    """

    along: tuple[Window, ...]
    input_shape: tuple[int, ...]
    node_shape: tuple[int, ...]

    @classmethod
    def of(
        cls,
        spec: Window | Sequence[Window],
        input_shape: tuple[int, ...],
        node_shape: tuple[int, ...],
    ) -> Windows:
        """The windows a user gives.

        Raises:
            SettingError: there is not one window for each position axis, or one is impossible.
        """
        along = (spec,) if isinstance(spec, Window) else tuple(spec)
        if any(window.size < 1 or window.stride < 1 for window in along):
            raise SettingError(f"windows {along} must have a size and stride of 1 or more")
        if len(along) != len(node_shape) - 1 or len(along) > len(input_shape):
            raise SettingError(
                f"{len(along)} windows for nodes of shape {node_shape} (channel, *positions) over "
                f"an input of shape {input_shape}; give one for each position axis"
            )
        return cls(along, input_shape, node_shape)

    @cached_property
    def axes(self) -> tuple[int, ...]:
        """The input axis that each position axis runs along."""
        last = len(self.input_shape) - len(self.along)
        each = (last + n if w.axis is None else w.axis for n, w in enumerate(self.along))
        return tuple(axis % len(self.input_shape) for axis in each)

    @property
    def shape(self) -> tuple[int, ...]:
        """What one row's input is made of: the input's sizes, those along positions cut down."""
        sizes = list(self.input_shape)
        for axis, window in zip(self.axes, self.along, strict=True):
            sizes[axis] = window.size
        return tuple(sizes)

    @property
    def periods(self) -> tuple[int, ...]:
        """Along each input axis, how far apart two entries must be for no node to see both."""
        return tuple(min(p) for p in zip(self.shape, self.input_shape, strict=True))

    def cut(self, tangents: Tensor, periods: tuple[int, ...]) -> Tensor:
        """Derivatives by classes of entries → [row, channel, window entry], rows being positions.

        Args:
            tangents: [class, sample, node], the class of an entry being its place modulo the period
                along every input axis.
            periods: along each input axis, no less than the window's size.
        """
        samples = tangents.shape[1]
        values = tangents.reshape(*periods, samples, *self.node_shape)
        for number, (axis, window) in enumerate(zip(self.axes, self.along, strict=True)):
            place = len(periods) + 2 + number  # of this position axis
            values = self._along(values, window, axis, place, periods[axis])
        first = len(periods)
        order = [first, *range(first + 2, values.ndim), first + 1, *range(first)]
        rows = values.permute(order)  # [sample, *positions, channel, *window]
        return rows.reshape(-1, self.node_shape[0], math.prod(self.shape))

    def inputs(self, values: Tensor) -> Tensor:
        """The input of each row: [sample, *input] → [row, window entry], 0 in the padding."""
        samples = len(values)
        moved = values.movedim(0, -1)[..., None]  # [*input, sample, channel]
        ones = (1,) * len(self.along)
        moved = moved.reshape(*self.input_shape, samples, 1, *ones)
        one = Windows(self.along, self.input_shape, (1, *self.node_shape[1:]))
        moved = moved.expand(*self.input_shape, samples, 1, *self.node_shape[1:])
        return one.cut(
            moved.reshape(-1, samples, math.prod(self.node_shape[1:])), self.input_shape
        )[:, 0]

    def _along(self, values: Tensor, window: Window, axis: int, place: int, period: int) -> Tensor:
        """Entries by class along one input axis → entries of the window of each position."""
        positions = torch.arange(values.shape[place], device=values.device)
        entries = window.entries(positions)  # [position, entry]
        inside = (entries >= 0) & (entries < self.input_shape[axis])
        shape = [1] * values.ndim
        shape[place], shape[axis] = entries.shape
        index, kept = (  # the entry's axis stands before the position's
            part.mT.reshape(shape) for part in (entries.remainder(period), inside)
        )
        return torch.take_along_dim(values, index, dim=axis) * kept


@dataclass(frozen=True)
class Directions:
    """Directions in the input: one for each class of entries that no node sees two of.

    Without windows every entry is its own class. With them far fewer directions give the whole
    Jacobian (Curtis, Powell & Reid 1974: estimating sparse Jacobians by groups of columns).
    """

    input_shape: tuple[int, ...]
    periods: tuple[int, ...]

    @classmethod
    def of(cls, input_shape: tuple[int, ...], windows: Mapping[str, Windows | None]) -> Directions:
        """As few directions as all layers' windows allow."""
        each = [input_shape if w is None else w.periods for w in windows.values()]
        return cls(input_shape, tuple(map(max, zip(*each, strict=True))))

    def __len__(self) -> int:
        return math.prod(self.periods)

    def tangents(self, part: slice, like: Tensor) -> Tensor:
        """Some of them: [direction, *input], 1 at the entries of the class and 0 elsewhere."""
        number = torch.arange(len(self), device=like.device)[part]
        tangents = torch.ones(
            len(number), *[1] * len(self.periods), dtype=like.dtype, device=like.device
        )
        for axis in reversed(range(len(self.periods))):
            place = torch.arange(self.input_shape[axis], device=like.device) % self.periods[axis]
            hits = place == (number % self.periods[axis])[:, None]  # [direction, entry]
            number = number // self.periods[axis]
            shape = [len(hits), *[1] * len(self.periods)]
            shape[axis + 1] = self.input_shape[axis]
            tangents = tangents * hits.view(shape)
        return tangents
