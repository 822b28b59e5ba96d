"""The classes of the points shown, in all groupings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe import Field
from torchprobe.labels import ClassNames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torchprobe_projection.clouds import Labels

__all__ = ["Classes"]


@dataclass(frozen=True)
class Classes:
    """Names of classes and groupings, and the class of each point in each grouping."""

    coords: Mapping[str, tuple[str, ...]]
    fields: Mapping[str, Field]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, labels: Mapping[str, Labels], names: Mapping[str, ClassNames]) -> Classes:
        """From integer labels [point] by grouping and what they are called; maybe there are none.

        String labels are put in alphabetical order, integers in ascending order.
        """
        if not labels:
            return cls({}, {})
        listed = {
            grouping: _ordered(given, names.get(grouping) or ClassNames())
            for grouping, given in labels.items()
        }
        starts = np.cumsum([0, *map(len, listed.values())])
        places = [
            _places(labels[grouping], list(classes), start)
            for (grouping, classes), start in zip(listed.items(), starts, strict=False)
        ]
        sizes = [len(classes) for classes in listed.values()]
        coords = {
            "grouping": tuple(listed),
            "class": tuple(name for classes in listed.values() for name in classes.values()),
        }
        fields: dict[str, Any] = {
            "labels": Field("grouping point", np.stack(places)),
            "class_grouping": Field("class", np.repeat(np.arange(len(sizes)), sizes)),
        }
        return cls(coords, fields, tuple(map(_unlabelled, (g for g, n in listed.items() if not n))))


def _ordered(labels: Labels, names: ClassNames) -> dict[int, str]:
    """The classes that occur, label → name."""
    ranks = names.ranks()
    present = sorted({int(label) for label in labels if label >= 0}, key=lambda n: ranks.get(n, n))
    return {label: names.name(label) for label in present}


def _places(labels: Labels, classes: list[int], start: int) -> Labels:
    """The place of each point's class among all classes, -1 where it has none."""
    if not classes:
        return np.full_like(labels, -1)
    order = np.argsort(classes)
    at = order[np.searchsorted(np.array(classes)[order], labels).clip(max=len(classes) - 1)]
    return np.where(labels >= 0, at + start, -1)


def _unlabelled(grouping: str) -> str:
    return (
        f"no point has a label in grouping {grouping!r}: labels must be one for each sample or one "
        "for each position of this layer"
    )
