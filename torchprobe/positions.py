"""Which positions of the model's input a layer's positions stand for, and what they see of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import torch

from torchprobe.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

__all__ = ["BEYOND", "Map", "PositionsMap"]

Number: TypeAlias = "int | float | str | Fraction"

BEYOND = 1 << 40
"""A position further out than any input reaches: where a field without bound ends."""

_ROUNDED = 64
"""Positions that a network may round up and down by, as one that halves five times and doubles
again; sizes that are further off have another stride."""


@dataclass(frozen=True, init=False, repr=False)
class Map:
    """How the positions of a layer lie over those of the model's input, along one axis.

    Position ``i`` stands for input position ``offset + stride · i``: the middle of what it sees.
    Numbers are exact fractions; a field of even size has its middle between two positions.

    Args:
        stride: input positions from one position of the layer to the next, 1/2 after doubling by
            upsampling; None: by ratio, the layer's positions spread evenly over the input of every
            length.
        offset: the input position that the layer's first stands for.
        field: how many input positions one sees (the receptive field); None: without bound.
        left: how far it sees before its middle; None: all before it.
        right: how far it sees after its middle; None: all after it. A layer that sees all before
            and 0 after is causal.
        phases: the first and last input position that each of the layer's first positions sees,
            where an upsampling makes them differ; further ones repeat them.

    Raises:
        SettingError: a stride or field that is not positive, or no number.

    Example:
        >>> conv = Map(stride=2, offset=3, field=7)
        >>> conv
        Map(stride 2, offset 3, field 7)
        >>> [each.tolist() for each in conv.spans(torch.arange(3))]
        [[0, 2, 4], [6, 8, 10]]
    """

    stride: Fraction | None
    offset: Fraction
    left: Fraction | None
    right: Fraction | None
    phases: tuple[tuple[int, int], ...]

    def __init__(
        self,
        stride: Number | None = 1,
        offset: Number = 0,
        field: Number | None = None,
        *,
        left: Number | None = None,
        right: Number | None = None,
        phases: Sequence[tuple[int, int]] = (),
    ) -> None:
        reach = None if field is None else (_fraction("field", field) - 1) / 2
        for name, value in {
            "stride": None if stride is None else _fraction("stride", stride),
            "offset": _fraction("offset", offset),
            "left": reach if left is None else _fraction("left", left),
            "right": reach if right is None else _fraction("right", right),
            "phases": tuple(phases),
        }.items():
            object.__setattr__(self, name, value)
        if self.stride is not None and self.stride <= 0:
            raise SettingError(f"stride={stride!r}; give a positive number, or None: by ratio")
        if reach is not None and reach < 0:
            raise SettingError(f"field={field!r}; give 1 or more, or None: without bound")

    @classmethod
    def of_spans(cls, spans: Sequence[tuple[int, int]], shift: int) -> Map:
        """From what each of the first positions sees, first to last; later ones see it shifted.

        Example:
            >>> Map.of_spans([(-1, 0), (0, 0)], shift=1)  # a transposed convolution
            Map(stride 1/2, offset -1/2, field 2)
        """
        stride = Fraction(shift, len(spans))
        middles = [Fraction(first + last, 2) for first, last in spans]
        off = [middle - stride * at for at, middle in enumerate(middles)]
        field = max(last - first + 1 for first, last in spans)
        return cls(
            stride, sum(off, Fraction(0)) / len(off), field, phases=spans if len(spans) > 1 else ()
        )

    @property
    def field(self) -> int | None:
        """How many input positions one position sees; None: no bound, on one side or both."""
        if self.left is None or self.right is None:
            return None
        return int(self.left + self.right + 1)

    def over(self, n: int, n_input: int) -> Map:
        """The same for ``n`` positions over so many of the input: a map by ratio gets its stride.

        Example:
            >>> Map(stride=None).over(4, 100)
            Map(stride 25, offset 12, field global)
        """
        if self.stride is not None:
            return self
        stride = Fraction(n_input, max(n, 1))
        return Map(stride, (stride - 1) / 2, left=self.left, right=self.right)

    def spans(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """The first and last input position that positions see, in or out of the input.

        Both int64 like ``positions``; minus and plus `BEYOND` where there is no bound.
        """
        if self.phases:
            period, table = len(self.phases), torch.tensor(self.phases)
            shift = int(self._stride * period)
            moved = positions.div(period, rounding_mode="floor") * shift
            ends = table[positions % period]
            return ends[..., 0] + moved, ends[..., 1] + moved
        first, last = torch.full_like(positions, -BEYOND), torch.full_like(positions, BEYOND)
        if self.left is not None:
            first = _ceil(self._stride, self.offset - self.left, positions)
        if self.right is not None:
            last = _floor(self._stride, self.offset + self.right, positions)
        return first, last

    def nearest(self, other: Map, n: int) -> Tensor:
        """For each of ``n`` positions the one of ``other`` that is nearest: int64 [n].

        Of two equally near the later one, as the middle of T positions is T // 2. Some may lie
        outside of what ``other`` has.
        """
        stride, apart = other._stride, self.offset - other.offset
        return _floor(self._stride / stride, apart / stride + Fraction(1, 2), torch.arange(n))

    def seen_of(self, other: Map, n: int) -> tuple[Tensor, Tensor]:
        """The positions of ``other``, first to last, whose middle each of ``n`` positions sees.

        Both int64 [n], in or out of what ``other`` has; the last before the first where none is.
        """
        first, last = self.spans(torch.arange(n))
        step = 1 / other._stride
        return _ceil(step, -other.offset * step, first), _floor(step, -other.offset * step, last)

    def inside(self, other: Map, n: int) -> tuple[Tensor, Tensor]:
        """The positions, first to last, that see nothing but what each of ``n`` of ``other`` sees.

        These are what a network without padding would compute from that part of the input alone.
        Both int64 [n], in or out of what the layer has; the last before the first where none is.

        Raises:
            SettingError: one of the two maps has no bound.

        Example:
            >>> output, conv = Map(offset=4, field=9), Map(offset=1, field=3)
            >>> [each.tolist() for each in conv.inside(output, 3)]  # windows of 7 positions
            [[0, 1, 2], [6, 7, 8]]
        """
        if other.field is None or self.field is None:
            raise SettingError(
                f"windows need receptive fields with an end, but {other} is asked for positions of "
                f"{self}; take whole maps, or state them: "
                "Probe(positions={'layer': tp.positions.Map(stride, offset, field)})"
            )
        first, last = _inside(self, other, n)
        return first.clone(), last.clone()

    @property
    def _stride(self) -> Fraction:
        if self.stride is None:
            raise SettingError("a map by ratio depends on the input's length: map.over(n, n_input)")
        return self.stride

    def __repr__(self) -> str:
        line = "by ratio" if self.stride is None else f"stride {self.stride}, offset {self.offset}"
        return f"Map({line}, field {self.field_text})"

    @property
    def field_text(self) -> str:
        """The field in a word: its size, "past" or "future" if one-sided, or "global"."""
        if self.left is None and self.right is None:
            return "global"
        if self.left is None:
            return "past"
        return "future" if self.right is None else str(self.field)

    def steady(self, known: Sequence[tuple[int, int]]) -> bool:
        """Whether known (n_input, n) go with one stride, but for what a network rounds inside.

        Example:
            >>> Map(stride=4).steady([(200, 50), (90, 22)])
            True
            >>> Map(stride=4).steady([(200, 50), (90, 45)])
            False
        """
        if self.stride is None or not known:
            return True
        ends = [n * self.stride - size for size, n in known]
        sizes = [size for size, _ in known]
        apart = max(ends) - min(ends)
        return apart <= max(Fraction(_ROUNDED), self.stride) or 4 * apart <= max(sizes) - min(sizes)

    def counts(self, n_input: int, known: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """The least and most positions over ``n_input``, going by known (n_input, n).

        A chain of strided layers has ⌊(n_input + c) / stride⌋ positions with one c for all lengths.
        By ratio, any number is possible.
        """
        if self.stride is None:
            return 0, BEYOND
        ends = [n * self.stride - size for size, n in known]
        low, high = max(ends), min(ends) + self.stride
        if low >= high:  # no chain of strides: it goes up and down again
            low, high = min(ends), max(ends) + self.stride
        slack = len(self.phases) or math.ceil(1 / self.stride) - 1
        least, most = (n_input + low) / self.stride, (n_input + high) / self.stride
        return math.floor(least) - slack, math.ceil(most) - 1 + slack

    def state(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        exact = {name: getattr(self, name) for name in ("stride", "offset", "left", "right")}
        plain = {name: None if value is None else str(value) for name, value in exact.items()}
        return {**plain, "phases": [list(span) for span in self.phases]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `state`."""
        sides = {side: state[side] for side in ("left", "right")}
        phases = [(first, last) for first, last in state["phases"]]
        return cls(state["stride"], state["offset"], **sides, phases=phases)


@dataclass(frozen=True)
class PositionsMap:
    """How a layer's positions lie over the model's input: a `Map` for each of its position axes."""

    layer: str
    axes: tuple[str, ...]
    """The layer's position axes; of the layer whose positions these are in one row, if `grid`."""
    along: tuple[str | None, ...]
    """The input's axis that each runs along; None where it is none of the input's (frequencies
    that only the network has)."""
    maps: tuple[Map, ...]
    sizes: tuple[tuple[tuple[int, int], ...], ...] = ()
    """By axis, (positions of the input, positions of the layer) where that is known."""
    grid: tuple[int, ...] = ()
    """Sizes of `axes` where the layer has their product in one axis (tokens of an image)."""
    note: str = ""
    """What else is to be said: how positions without a field of their own were placed."""
    output: PositionsMap | None = None
    """The same of the model's output; None for the output itself."""

    def __getitem__(self, axis: str) -> Map:
        """The map along one of the input's axes."""
        if axis not in self.along:
            raise SettingError(
                f"layer {self.layer!r} has no positions along the input's {axis!r}, only along "
                f"{', '.join(repr(each) for each in self.along if each) or 'nothing'}"
            )
        return self.maps[self.along.index(axis)]

    def windows(self, n_output: Sequence[int]) -> tuple[tuple[Tensor, Tensor], ...]:
        """The layer's positions that belong to what each position of the model's output saw.

        Args:
            n_output: how many positions the output has along each of its axes.

        Returns:
            For each of `axes`, the first and last position, both int64 [position of the output],
            in or out of what the layer has (out where the output saw padding).

        Raises:
            SettingError: a receptive field has no end, or an axis is not among the output's.
        """
        output = self.output or self
        sizes = dict(zip(output.along, n_output, strict=True))
        return tuple(
            each.inside(output[axis or ""], sizes[axis])
            for axis, each in zip(self.along, self.maps, strict=True)
        )

    def state(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return {
            "layer": self.layer,
            "axes": list(self.axes),
            "along": list(self.along),
            "maps": [each.state() for each in self.maps],
            "sizes": [[list(pair) for pair in pairs] for pairs in self.sizes],
            "grid": list(self.grid),
            "note": self.note,
            "output": self.output.state() if self.output else None,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `state`."""
        return cls(
            layer=state["layer"],
            axes=tuple(state["axes"]),
            along=tuple(state["along"]),
            maps=tuple(Map.from_state(each) for each in state["maps"]),
            sizes=tuple(tuple((n, m) for n, m in pairs) for pairs in state["sizes"]),
            grid=tuple(state["grid"]),
            note=state["note"],
            output=None if state["output"] is None else cls.from_state(state["output"]),
        )


def _fraction(name: str, number: Number) -> Fraction:
    try:
        return Fraction(number)
    except (TypeError, ValueError, OverflowError) as error:
        raise SettingError(f"{name}={number!r} is no number; give e.g. 2, 0.5 or '1/3'") from error


@lru_cache(maxsize=512)
def _inside(layer: Map, other: Map, n: int) -> tuple[Tensor, Tensor]:
    """`Map.inside`, worked out once: each utterance asks it of each layer."""
    first, last = other.spans(torch.arange(n))
    period = len(layer.phases) or 1
    step = 1 / (layer._stride * period)  # noqa: SLF001
    starts, ends = [], []
    for phase, (begin, end) in enumerate(zip(*layer.spans(torch.arange(period)), strict=True)):
        start, stop = _ceil(step, 0, first - begin), _floor(step, 0, last - end)
        starts.append((start * period + phase).masked_fill(start > stop, BEYOND))
        ends.append((stop * period + phase).masked_fill(start > stop, -BEYOND))
    return torch.stack(starts).amin(0), torch.stack(ends).amax(0)


def _floor(stride: Fraction, offset: Fraction | int, positions: Tensor) -> Tensor:
    """⌊stride · position + offset⌋ in whole numbers; beyond stays beyond."""
    offset = Fraction(offset)
    whole = math.lcm(stride.denominator, offset.denominator)
    line = positions.clamp(-BEYOND, BEYOND) * int(stride * whole) + int(offset * whole)
    return line.div(whole, rounding_mode="floor").clamp(-BEYOND, BEYOND)


def _ceil(stride: Fraction, offset: Fraction | int, positions: Tensor) -> Tensor:
    return -_floor(-stride, -Fraction(offset), positions)
