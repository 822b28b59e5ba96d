"""Settings of profiles, checked when an analyzer is made."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from torchprobe.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["chosen", "count", "lengths", "percent", "percents", "window"]


def chosen(name: str, value: Any, allowed: Sequence[str]) -> Any:
    """A value that is one of those allowed."""
    if value not in allowed:
        raise SettingError(f"{name}={value!r}; choose one of {', '.join(map(repr, allowed))}")
    return value


def window(value: Any) -> Any:
    """The name of a way to find windows, or (positions to the left, positions to the right)."""
    if isinstance(value, str):
        return chosen("window", value, ("auto", "map", "field"))
    sides = tuple(value) if isinstance(value, (list, tuple)) else ()
    if len(sides) != 2 or not all(isinstance(side, Integral) for side in sides) or sum(sides) < 0:  # noqa: PLR2004
        raise SettingError(
            f"window={value!r}; give 'auto', 'map', 'field' or (left, right), the whole numbers of "
            "layer positions before and after the labelled one"
        )
    return tuple(int(side) for side in sides)


def percent(name: str, value: Any) -> float:
    """A percentage, 0..100."""
    if not isinstance(value, Real) or not 0 <= float(value) <= 100:  # noqa: PLR2004 - NaN fails too
        raise SettingError(f"{name}={value!r}; give a number from 0 to 100")
    return float(value)


def percents(name: str, values: Iterable[Any]) -> tuple[float, ...]:
    """Percentages."""
    return tuple(percent(name, value) for value in values)


def count(name: str, value: Any) -> int:
    """A number of things."""
    if not isinstance(value, Integral) or int(value) < 0:
        raise SettingError(f"{name}={value!r}; give a whole number of 0 or more")
    return int(value)


def lengths(value: Any) -> tuple[int, ...] | None:
    """Positions kept along each axis."""
    if value is None:
        return None
    sizes = (value,) if isinstance(value, Integral) else tuple(value)
    if not sizes or not all(isinstance(size, Integral) and int(size) > 0 for size in sizes):
        raise SettingError(f"length={value!r}; give how many positions to keep along each axis")
    return tuple(int(size) for size in sizes)
