"""Two sparse products as loops over units, their neighbours and features, to be compiled."""

from __future__ import annotations

from typing import Any

__all__ = ["add_product", "products"]

_PART = 2048
"""Features: of two units they stay in the fastest cache while neighbours go by."""


def products(first: int, last: int, starts: Any, columns: Any, filters: Any, found: Any) -> None:
    """Products of some units with those in their columns.

    Args:
        first: unit.
        last: the unit after the last.
        starts: where each unit's columns begin: [unit + 1].
        columns: units: [entry].
        filters: [unit, feature].
        found: is overwritten: [entry].
    """
    for unit in range(first, last):
        found[starts[unit] : starts[unit + 1]] = 0
        for start in range(0, filters.shape[1], _PART):
            own = filters[unit, start : start + _PART]
            for entry in range(starts[unit], starts[unit + 1]):
                other, total = filters[columns[entry], start : start + _PART], found[entry]
                for feature in range(len(own)):
                    total += own[feature] * other[feature]
                found[entry] = total


def add_product(
    first: int, last: int, starts: Any, columns: Any, filters: Any, values: Any, into: Any
) -> None:
    """Add to some units the filters in their columns, times values [entry]: [unit, feature]."""
    for unit in range(first, last):
        for start in range(0, filters.shape[1], _PART):
            own = into[unit, start : start + _PART]
            for entry in range(starts[unit], starts[unit + 1]):
                other, value = filters[columns[entry], start : start + _PART], values[entry]
                for feature in range(len(own)):
                    own[feature] += value * other[feature]
