"""Some of many layers, where all would be too much for a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["spread"]

T = TypeVar("T")


def spread(items: Iterable[T], most: int) -> list[T]:
    """All of some items, or so many of them from the first to the last in even steps.

    Example:
        >>> spread("abcde", most=3), spread("abc", most=8)
        (['a', 'c', 'e'], ['a', 'b', 'c'])
    """
    import numpy as np

    every = list(items)
    if len(every) <= most:
        return every
    places = np.unique(np.linspace(0, len(every) - 1, most).round().astype(int))
    return [every[place] for place in places]
