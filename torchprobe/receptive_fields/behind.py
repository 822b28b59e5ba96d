"""Layers behind one whose positions see everything: found by changing what that one delivers."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from torchprobe.positions import Map
from torchprobe.receptive_fields.lengths import Length
from torchprobe.receptive_fields.placing import BY_RATIO, placed
from torchprobe.receptive_fields.survey import Survey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torchprobe.positions import PositionsMap
    from torchprobe.receptive_fields.study import Study

__all__ = ["all_placed"]

_ATTEMPTS = 8
"""Layers from which another beginning is made, at most."""


def all_placed(study: Study, survey: Survey) -> dict[str, PositionsMap]:
    """By layer, how its positions lie over the input, as far as that can be found out."""
    behind: dict[tuple[str, str], Map] = {}
    tried: set[str] = set()
    maps = placed(survey)
    while len(tried) < _ATTEMPTS and study.source.batched:
        root = next((name for name in _roots(study, maps) if name not in tried), None)
        if root is None:
            break
        tried.add(root)
        behind |= _seen_of(study, survey, maps, root)
        maps = placed(survey, behind)
    return maps


def _roots(study: Study, maps: dict[str, PositionsMap]) -> Iterator[str]:
    """Layers that stand in front of one that has no place, the nearest first."""
    names = list(maps)
    lost = next((name for name in names if BY_RATIO in maps[name].note), None)
    for name in reversed(names[: names.index(lost)] if lost else []):
        known = all(each.stride is not None for each in maps[name].maps)
        global_ = any(each.field is None for each in maps[name].maps)
        if name in study.tap.modules and known and global_ and not maps[name].grid:
            yield name


def _seen_of(
    study: Study, survey: Survey, maps: dict[str, PositionsMap], root: str
) -> dict[tuple[str, str], Map]:
    """Maps of later layers that have no place, by what they see of one that has."""
    place = maps[root]
    lengths = [
        Length(dict(zip(place.axes, length.shapes[root], strict=True)), length.shapes)
        for length in survey.lengths
        if root in length.shapes
    ]
    inner = Survey(study.inside(root), lengths)
    inner.ask()
    found = {}
    for (name, at, axis), evidence in inner.evidence.items():
        mine, through = evidence.map(), place.along[place.axes.index(axis)]
        lost = BY_RATIO in maps[name].note and maps[name].along[at] == through
        if mine is not None and through is not None and lost:
            found[name, through] = _through(mine, place[through])
    return found


def _through(mine: Map, place: Map) -> Map:
    """The map over the input of a layer that has one over another layer."""
    stride = place.stride or Fraction(1)
    return Map(
        stride * (mine.stride or 1),
        place.offset + stride * mine.offset,
        left=_added(place.left, stride, mine.left),
        right=_added(place.right, stride, mine.right),
    )


def _added(far: Fraction | None, stride: Fraction, near: Fraction | None) -> Fraction | None:
    return None if far is None or near is None else far + stride * near
