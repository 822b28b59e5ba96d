"""What the points of a picture are called, and which of them are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from torchprobe.errors import InsufficientDataError, SettingError
from torchprobe.wording import unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from torchprobe import Result

__all__ = ["UNLABELLED", "Colouring"]

UNLABELLED = "no label"


@dataclass(frozen=True)
class Colouring:
    """A word for each point of a layer: its class or category; "" where nothing is told apart."""

    words: NDArray[np.object_]
    """[point]."""
    order: tuple[str, ...]
    """The words that occur, classes in the order of the result, categories as they come."""
    shown: NDArray[np.bool_]
    """Whether a point passes the filter: [point]."""

    @classmethod
    def of(
        cls,
        result: Result,
        grouping: str | None = None,
        categories: Mapping[str, str] | None = None,
        only: Iterable[str] | None = None,
    ) -> Colouring:
        """Words from a grouping's labels (the first by default), maybe through categories.

        Raises:
            SettingError: no such grouping, category or class; says which there are.
            InsufficientDataError: the filter leaves no point.
        """
        if "labels" not in result:
            _refuse_without_labels(grouping, only)
            n = int(result.n_points)
            return cls(np.full(n, "", object), ("",), np.ones(n, bool))
        classes, place = _classes(result, grouping)
        category = {name: (categories or {}).get(name, name) for name in classes}
        at = result.labels[place]  # [point], the place of each class along the axis "class"
        named = np.array([*result.coords["class"], UNLABELLED], object)[at]
        words = np.array([category.get(name, name) for name in named], object)
        shown = _passes(named, words, only, [*classes, *category.values()])
        order = tuple(word for word in dict.fromkeys(category.values()) if word in words[shown])
        last = (UNLABELLED,) if UNLABELLED in words[shown] else ()
        return cls(words, (*order, *last), shown)


def _classes(result: Result, grouping: str | None) -> tuple[Sequence[str], int]:
    """The class names of a grouping, and its place along the axis "grouping"."""
    groupings = result.coords["grouping"]
    name = groupings[0] if grouping is None else grouping
    if name not in groupings:
        raise SettingError(unknown("grouping", name, groupings))
    place = groupings.index(name)
    own = np.flatnonzero(result.class_grouping == place)
    return [result.coords["class"][each] for each in own], place


def _passes(
    classes: NDArray[np.object_],
    words: NDArray[np.object_],
    only: Iterable[str] | None,
    known: list[str],
) -> NDArray[np.bool_]:
    """Which points are of the classes or categories asked for: bool [point]."""
    if only is None:
        return np.ones(len(words), bool)
    asked = [only] if isinstance(only, str) else list(only)
    for word in asked:
        if word not in known:
            raise SettingError(unknown("class or category", word, dict.fromkeys(known)))
    passing = np.isin(classes, asked) | np.isin(words, asked)
    if not passing.any():
        raise InsufficientDataError(f"no point is of {', '.join(map(repr, asked))}")
    return np.asarray(passing)


def _refuse_without_labels(grouping: str | None, only: Iterable[str] | None) -> None:
    if grouping is not None or only is not None:
        raise SettingError(
            "these points have no labels to be told apart by; give labels with the data, or leave "
            "out grouping and only"
        )
