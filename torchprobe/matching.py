"""How labels, masks and lengths of one rate meet the positions of a layer of another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import torch

from torchprobe.errors import LabelError, SettingError
from torchprobe.positions import BEYOND, Map, PositionsMap

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Matching", "Rules"]

_CHOICES = {
    "label_rule": ("center", "majority"),
    "mask_rule": ("center", "any_valid", "all_valid"),
}


@dataclass(frozen=True)
class Rules:
    """How labels and masks are matched; documented on `Probe`."""

    labels_at: str | Mapping[str, str] | None = None
    lengths_at: str = "input"
    label_rule: str = "center"
    mask_rule: str = "center"
    computed: frozenset[str] = frozenset()
    """Groupings that are computed from the output."""

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise SettingError(
                    f"{name}={getattr(self, name)!r}; choose one of {', '.join(map(repr, allowed))}"
                )

    def places(self, grouping: str | None) -> tuple[str, ...]:
        """Where labels of a grouping (None: a mask) may be: "input", "output", a layer."""
        said = self.labels_at
        if grouping is not None and said is not None:
            place = said.get(grouping) if isinstance(said, Mapping) else said
            if place is not None:
                return (place,)
        return ("output", "input") if grouping in self.computed else ("input", "output")


class _Axis(NamedTuple):
    """Positions along one axis of the input, and how many there may be."""

    along: str
    map: Map
    least: int
    most: int


class Matching:
    """One forward pass: the sizes of its input and output, and the maps of its layers.

    Args:
        sizes: positions of the input, by axis.
        map_of: the map of a layer, by name, or of the "output"; raises `LabelError`.
        rules: what the user chose.
    """

    def __init__(
        self,
        sizes: Callable[[], Mapping[str, int]],
        map_of: Callable[[str], PositionsMap],
        rules: Rules,
    ) -> None:
        self._sizes, self.map_of, self.rules = sizes, map_of, rules
        self.output: tuple[int, ...] | None = None
        """Positions of the output along its axes, once that is known."""
        self._taken: list[tuple[tuple[_Axis, ...], tuple[int, ...]]] = []
        """What was taken for positions of the output before that was known."""

    def key(self, layer: str) -> object:
        """What two layers have in common that meet the same labels; the layer, where unknown."""
        try:
            found = self.map_of(layer)
            return found.maps, found.along, found.grid, tuple(self._sizes().items())
        except LabelError:
            return layer

    def end(self, output: tuple[int, ...]) -> None:
        """The pass has ended, with an output that has these positions.

        Raises:
            LabelError: labels that were taken for the output's have not as many.
        """
        self.output = output
        for axes, sizes in self._taken:
            now = {axis.along: axis.least for axis in self._axes("output")}
            if any(now.get(axis.along, n) != n for axis, n in zip(axes, sizes, strict=True)):
                raise LabelError(
                    f"labels have positions {sizes}, but the model's input has "
                    f"{tuple(self._sizes().values())} and its output {output}"
                )

    def fits_lengths(self, shape: tuple[int, ...]) -> bool:
        """Whether a layer [sample, position] has the positions that lengths count."""
        if self.rules.lengths_at == "input":
            return len(shape) == 2 and tuple(self._sizes().values()) == shape[1:]  # noqa: PLR2004
        return self.rules.lengths_at == "output" and self.output == shape[1:]

    def check(self, layer: str, sizes: tuple[int, ...]) -> None:
        """Refuse a measured map that cannot be right where a layer has so many positions.

        Args:
            layer: its name, or "output".
            sizes: its positions in this pass, along each of its axes.

        Raises:
            LabelError: its stride changes with the input's length, or nothing is known of it.
        """
        target, inputs = self.map_of(layer), self._sizes()
        for at, (along, n) in enumerate(zip(target.along, target.grid or sizes, strict=True)):
            if along is not None:
                self._check(target, at, n, inputs[along])

    def labels(self, values: Tensor, grouping: str, shape: tuple[int, ...], layer: str) -> Tensor:
        """Labels [sample, *positions of anywhere] as [sample, *positions of the layer].

        -1 where a position stands for nothing that is labelled.

        Raises:
            LabelError: they are at no rate that is known, or the layer has no such positions.
        """
        return self._spread(values, grouping, self.rules.label_rule, shape, layer)

    def at_output(self, values: Tensor, grouping: str) -> Tensor:
        """Labels [sample, *positions of anywhere] as [sample, *positions of the output].

        Raises:
            LabelError: they are at no rate that is known, or it is not known yet how many
                positions the output will have.
        """
        places, sizes = self.rules.places(grouping), tuple(values.shape[1:])
        place = next((each for each in places if self._located(sizes, each)), "")
        if not place:
            raise LabelError(self._nowhere(places))
        if place == "output":
            return values
        axes = self._axes("output")
        if any(axis.least != axis.most for axis in axes):
            _check_steady(self.map_of("output"))
            raise LabelError(
                f"labels {grouping!r} are those of the {place}, and how many positions the output "
                "will have is not known yet; give labels of the output's positions"
            )
        shape = (len(values), *(axis.most for axis in axes))
        return self.labels(values, grouping, shape, "output")

    def mask(self, values: Tensor, shape: tuple[int, ...], layer: str) -> Tensor:
        """A mask likewise, bool; what lies outside of it does not count."""
        return self._spread(values.long() - 1, None, self.rules.mask_rule, shape, layer) >= 0

    def within(self, lengths: Tensor, shape: tuple[int, ...], layer: str) -> Tensor:
        """Which of the layer's positions lie within lengths: bool [sample, *positions].

        Raises:
            LabelError: the input has several axes, or a length is more than it has.
        """
        place = self.rules.lengths_at
        axes = self._axes(place)
        if len(axes) != 1:
            raise LabelError(
                f"lengths count positions along one axis, but the {place} has "
                f"{', '.join(axis.along for axis in axes) or 'none'}; pass "
                "mask=[sample, *positions] instead"
            )
        longest, most = int(lengths.max()), axes[0].most
        if longest > most:
            raise LabelError(
                f"a length of {longest} exceeds the {most} positions of the {place}; lengths that "
                "count others: Probe(lengths_at='output'), or the name of a layer"
            )
        n = longest if most == BEYOND else most
        inside = torch.arange(n)[None] < lengths[:, None]
        return self._met(inside.long() - 1, axes, self.rules.mask_rule, shape, layer) >= 0

    # -- where labels are

    def _spread(
        self, values: Tensor, grouping: str | None, rule: str, shape: tuple[int, ...], layer: str
    ) -> Tensor:
        target = self.map_of(layer)
        if len(target.axes) == 1 and target.maps[0] == Map() and _flat(values) == shape[1:]:
            return values.flatten(1)  # said to be one to one: tokens of an image
        places = self.rules.places(grouping)
        for place in places:
            found = self._located(tuple(values.shape[1:]), place)
            if found:
                axes, sizes = found
                return self._met(values.view(len(values), *sizes), axes, rule, shape, layer)
        raise LabelError(self._nowhere(places))

    def _located(
        self, sizes: tuple[int, ...], place: str
    ) -> tuple[tuple[_Axis, ...], tuple[int, ...]] | None:
        """The axes that have so many positions there, and the sizes along them."""
        axes = self._axes(place)
        grid = () if place == "input" else self.map_of(place).grid
        if grid and sizes == (math.prod(grid),):
            sizes = grid
        found = [
            some
            for some in itertools.combinations(axes, len(sizes))
            if all(axis.least <= n <= axis.most for axis, n in zip(some, sizes, strict=True))
        ]
        if len(found) > 1:
            which = " or ".join(" ".join(axis.along for axis in some) for some in found)
            raise LabelError(
                f"they may run along {which} of the {place}; give them for all of its positions, "
                f"{tuple(axis.most for axis in axes)}"
            )
        if found and place == "output" and self.output is None:
            self._taken.append((found[0], sizes))
        return (found[0], sizes) if found else None

    def _axes(self, place: str) -> list[_Axis]:
        """The axes of positions at some place."""
        inputs = self._sizes()
        if place == "input":
            return [_Axis(name, Map(field=1), n, n) for name, n in inputs.items()]
        found = self.map_of(place)
        exact = self.output if place == "output" and not found.grid else None
        axes = []
        for at, (name, each) in enumerate(zip(found.along, found.maps, strict=True)):
            if name is None:
                continue
            counts = (0, BEYOND)
            if exact is not None and len(exact) == len(found.along):
                counts = exact[at], exact[at]
            elif found.sizes:
                counts = each.counts(inputs[name], found.sizes[at])
            axes.append(_Axis(name, each, *counts))
        return axes

    def _nowhere(self, places: tuple[str, ...]) -> str:
        known = []
        for place in dict.fromkeys(("input", "output", *places)):
            sizes = [str(axis.most) if axis.most < BEYOND else "?" for axis in self._axes(place)]
            what = f"the model's {place}" if place in ("input", "output") else f"layer {place!r}"
            known.append(f"{what} has positions ({', '.join(sizes)})")
        return (
            f"{', '.join(known)}: labels must have as many as one of these. Of another layer: "
            "Probe(labels_at='its name')"
        )

    # -- from there to a layer

    def _met(
        self,
        values: Tensor,
        axes: tuple[_Axis, ...] | list[_Axis],
        rule: str,
        shape: tuple[int, ...],
        layer: str,
    ) -> Tensor:
        """Values [sample, *axes] as [sample, *positions of the layer]; -1 where there are none."""
        target = self.map_of(layer)
        sizes = target.grid or shape[1:]
        order: list[int] = []
        inputs = self._sizes()
        for axis in axes:
            if axis.along not in target.along:
                raise LabelError(f"it has no positions along the input's {axis.along!r}")
            at, n = target.along.index(axis.along), values.shape[len(order) + 1]
            self._check(target, at, sizes[at], inputs[axis.along])
            mine = target.maps[at].over(sizes[at], inputs[axis.along])
            index = _index(mine, axis.map.over(n, inputs[axis.along]), sizes[at], n, rule)
            values = _taken(values, len(order) + 1, index)
            order.append(at)
        windows = values.flatten(len(order) + 1)
        reduced = windows.squeeze(-1) if windows.shape[-1] == 1 else _REDUCED[rule](windows)
        placed = reduced.permute(0, *(1 + at for at in _ranks(order)))
        whole = [n if at in order else 1 for at, n in enumerate(sizes)]
        return placed.reshape(len(values), *whole).expand(-1, *sizes).reshape(shape)

    def _check(self, target: PositionsMap, at: int, n: int, n_input: int) -> None:
        """Refuse a map that was measured, but cannot be right for this length."""
        if not target.sizes or (n_input, n) == target.sizes[at][0]:  # as it was measured
            return
        _check_steady(target)
        least, most = target.maps[at].counts(n_input, target.sizes[at])
        if not least <= n <= most:
            raise LabelError(
                f"for {n_input} positions of the input it has {n}, but with its "
                f"{target.maps[at]} it would have {least} to {most}: its stride changes with the "
                f"input's length; state it: Probe(positions={{{target.layer!r}: 'ratio'}})"
            )


def _check_steady(target: PositionsMap) -> None:
    """Refuse a map that was measured on lengths that have different strides."""
    for each, known in zip(target.maps, target.sizes, strict=False):
        if not each.steady(known):
            found = ", ".join(f"{n} for {size}" for size, n in known)
            raise LabelError(
                f"layer {target.layer!r} has as many positions as these of the input: {found}. Its "
                "stride changes with the input's length; give inputs of one length, or state "
                f"positions={{{target.layer!r}: ...}}"
            )


def _flat(values: Tensor) -> tuple[int, ...]:
    return (math.prod(values.shape[1:]),)


def _ranks(order: list[int]) -> list[int]:
    """For each in ascending order, where it stands."""
    return sorted(range(len(order)), key=order.__getitem__)


@lru_cache(maxsize=512)
def _index(target: Map, source: Map, n: int, n_source: int, rule: str) -> Tensor:
    """The positions of the source that each position of the target meets: int64 [target, each].

    -1 where there are none.
    """
    first = last = target.nearest(source, n)
    if rule != "center" and target.field is not None:
        first, last = (each.clamp(-1, n_source) for each in target.seen_of(source, n))
    width = max(int((last - first).max()) + 1, 1)
    index = first[:, None] + torch.arange(width)
    outside = (index > last[:, None]) | (index < 0) | (index >= n_source)
    return index.masked_fill(outside, -1)


def _taken(values: Tensor, dim: int, index: Tensor) -> Tensor:
    """Values by index along one axis, -1 where that is; the last axis counts those of each."""
    taken = values.index_select(dim, index.flatten().clamp(min=0))
    mask = (index < 0).flatten().view(-1, *[1] * (values.ndim - dim - 1))
    apart: Tensor = taken.masked_fill(mask, -1).unflatten(dim, tuple(index.shape))
    return apart.movedim(dim + 1, -1)


def _most_frequent(windows: Tensor) -> Tensor:
    """The most frequent label of each window, the smallest of several; -1 where all are ignored."""
    width = windows.shape[-1]
    ordered = windows.sort(-1).values
    begins = torch.ones_like(ordered, dtype=torch.bool)
    begins[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    at = torch.arange(width).expand_as(ordered)
    start = torch.where(begins, at, 0).cummax(-1).values
    run = (at - start + 1).masked_fill(ordered < 0, 0)  # how often it was met so far
    return ordered.gather(-1, run.argmax(-1, keepdim=True)).squeeze(-1)


def _any_valid(windows: Tensor) -> Tensor:
    return windows.amax(-1)


def _all_valid(windows: Tensor) -> Tensor:
    return windows.amin(-1)


_REDUCED = {
    "center": _any_valid,
    "majority": _most_frequent,
    "any_valid": _any_valid,
    "all_valid": _all_valid,
}
