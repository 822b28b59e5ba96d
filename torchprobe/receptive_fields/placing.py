"""Makes maps of what was measured, also where positions have no field of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from torchprobe.positions import Map, PositionsMap

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torchprobe.receptive_fields.survey import Survey

__all__ = ["BY_RATIO", "placed"]


BY_RATIO = "by ratio"
"""The note on positions that are spread evenly, for want of anything better."""

_OTHERS = {"stack", "head"}
"""Axes that are no positions of the input, whatever their size."""


@dataclass(frozen=True)
class _Line:
    """The positions of one layer along one axis of the input."""

    layer: str
    axis: str
    counts: tuple[tuple[int, int], ...]
    """(positions of the input, of the layer), for every length that was tried."""
    map: Map | None
    """What was measured; None where every position sees everything."""
    note: str = ""


def placed(
    survey: Survey, behind: Mapping[tuple[str, str], Map] | None = None
) -> dict[str, PositionsMap]:
    """By layer, in the order of execution, how its positions lie over the input.

    Where a position sees everything, or everything before it, its field has no middle to stand
    for. It then stands where the same position of the last layer does that has as many positions
    for inputs of every length: a recurrent or attention layer keeps the positions of the layer
    that it reads. Where there is none, the positions are spread evenly over the input.

    Args:
        survey: what was found.
        behind: by layer and the input's axis, maps that were found by other means.
    """
    lines = [
        _Line("input", axis, tuple((n, n) for n in sizes), Map(field=1))
        for axis in survey.inputs
        if (sizes := [length.sizes[axis] for length in survey.lengths])
    ]
    maps = {}
    for name in survey.rows:
        maps[name], mine = _layer(survey, name, lines, behind or {})
        lines += mine
    return maps


def _layer(
    survey: Survey, name: str, before: Sequence[_Line], behind: Mapping[tuple[str, str], Map]
) -> tuple[PositionsMap, list[_Line]]:
    """A layer's map, and its lines for others that have its positions."""
    row = survey.rows[name]
    ats = range(len(row.axes))
    every = {
        (at, axis): _measured(survey, name, at, axis, before)
        for at in ats
        for axis in survey.inputs
    }
    along = _paired(survey, name, every)
    mine = [every[at, axis] if (axis := along[at]) else None for at in ats]
    mine = [line and _found_behind(line, behind.get((name, line.axis))) for line in mine]
    notes = dict.fromkeys(line.note for line in mine if line and line.note)
    found = PositionsMap(
        name,
        row.axes,
        along,
        tuple(line.map or Map(None) if line else Map() for line in mine),
        tuple(line.counts if line else () for line in mine),
        row.shape if row.flat else (),
        ", ".join(notes),
    )
    return found, [line for line in mine if line]


def _measured(survey: Survey, name: str, at: int, axis: str, before: Sequence[_Line]) -> _Line:
    evidence = survey.evidence[name, at, axis]
    line = _Line(name, axis, survey.counts(name, at, axis), evidence.map())
    return _stood(line, before, "varies" if evidence.varies else BY_RATIO)


def _stood(line: _Line, before: Sequence[_Line], otherwise: str) -> _Line:
    """The line with a map, however much its positions see."""
    if line.map is not None and line.map.field is not None:
        return line
    for other in reversed(before):
        if _alike(line, other):
            note = other.note or f"as in {other.layer!r}"
            return replace(line, map=_moved(line.map, other.map), note=note)
    if line.map is not None:
        return line
    return replace(line, map=Map(None), note=otherwise)


def _found_behind(line: _Line, found: Map | None) -> _Line:
    return line if found is None or line.note != BY_RATIO else replace(line, map=found, note="")


def _alike(line: _Line, other: _Line) -> bool:
    """Whether positions of one layer may be those of the other: as many, at every length."""
    if other.map is None or other.map.stride is None:
        return False
    same = (line.axis, line.counts) == (other.axis, other.counts)
    return same and (line.map is None or line.map.stride == other.map.stride)


def _moved(ends: Map | None, place: Map | None) -> Map:
    """The positions of one map with the ends of another."""
    assert place is not None
    left = right = None
    if ends is not None and ends.left is not None:
        left = max(place.offset - ends.offset, Fraction(0))
    if ends is not None and ends.right is not None:
        right = max(ends.offset - place.offset, Fraction(0))
    return Map(place.stride, place.offset, left=left, right=right)


def _paired(
    survey: Survey, name: str, lines: dict[tuple[int, str], _Line]
) -> tuple[str | None, ...]:
    """For each axis of a layer the input's axis that it runs along, None where there is none.

    That is, in this order: the one axis along which its positions see different parts; that of the
    same name; one with as many positions as an earlier layer has along it; the only one left.
    """
    row = survey.rows[name]
    along: dict[int, str] = {}

    def pair(*, when: Iterable[tuple[int, str]]) -> None:
        for at, axis in when:
            if at not in along and axis not in along.values():
                along[at] = axis

    seen = [key for key in lines if survey.evidence[name, *key].map() is not None]
    pair(when=[key for key in seen if [at for at, _ in seen].count(key[0]) == 1])
    pair(when=[key for key in lines if _stands(lines[key]) and row.axes[key[0]] == key[1]])
    pair(when=[key for key in lines if lines[key].note.startswith("as in")])
    rest = [at for at in range(len(row.axes)) if at not in along and row.axes[at] not in _OTHERS]
    if len(rest) == len(survey.inputs) - len(along):
        pair(when=[key for key in lines if key[0] in rest and _stands(lines[key])])
    return tuple(along.get(at) for at in range(len(row.axes)))


def _stands(line: _Line) -> bool:
    """Whether there are positions at all: a single one that sees everything is the whole sample."""
    return line.map is not None and (line.map.stride is not None or max(line.counts)[1] > 1)
