"""Lengths of the input on which a model is measured, and how its layers grow with them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torchprobe.receptive_fields.study import Study

__all__ = ["Length", "cut_to_measure", "tried"]

_LONGEST = 1024
"""Positions of the input that are measured on at least: longer inputs are cut to so many, or to as
many as leave every layer `_FEWEST`. A receptive field beyond that counts as without end."""

_FEWEST = 48


class Length(NamedTuple):
    """How many positions the input and the layers have for one length of the input."""

    sizes: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]


def cut_to_measure(study: Study) -> list[Length]:
    """Cut the study's input to a length that is cheap; what layers have for that and others.

    The first is the one that is measured on. It is the only one where the model runs on inputs of
    one length only.
    """
    given = tried(study, study.source.sizes)
    assert given is not None
    shorter = _shorter(study, given)
    if shorter is None:
        return [given]
    cut = {axis: _enough(axis, given, shorter) for axis in given.sizes}
    if cut == given.sizes:
        return [given, shorter]
    middle = tried(study, cut)
    if middle is None:
        return [given, shorter]
    study.source = study.source.cropped(cut)
    return [middle, given, shorter]


def tried(study: Study, sizes: Mapping[str, int]) -> Length | None:
    """What layers have for an input of these sizes, None where the model refuses it."""
    try:
        return Length(dict(sizes), study.shapes(sizes))
    except Exception:  # noqa: BLE001 - a model may refuse a length in any way it likes
        return None


def _shorter(study: Study, given: Length) -> Length | None:
    """About half the length, else three quarters.

    What is cut off is a multiple of a power of two, so that layers of a U-Net shrink evenly.
    """
    for parts in (2, 4):
        sizes = {}
        for axis, size in given.sizes.items():
            unit = 2 ** max(int(math.log2(max(size / 8, 1))), 0)
            sizes[axis] = size - unit * math.ceil(size / parts / unit)
        found = tried(study, sizes) if min(sizes.values()) > 0 else None
        if found is not None:
            return found
    return None


def _enough(axis: str, given: Length, shorter: Length) -> int:
    """How much of an axis to measure on."""
    size, cut = given.sizes[axis], given.sizes[axis] - shorter.sizes[axis]
    strides = [
        cut / (n - fewer)
        for name, shape in given.shapes.items()
        for n, fewer in zip(shape, shorter.shapes.get(name, shape), strict=False)
        if n - fewer > 1
    ]
    need = max(_LONGEST, math.ceil(_FEWEST * max(strides, default=1)))
    return min(size, size - (size - need) // 64 * 64)
