"""Settings checked once, where they are given."""

from __future__ import annotations

from typing import Any, TypeVar

from torchprobe.errors import SettingError
from torchprobe_slt.spots import WORDS, Place

__all__ = ["at_least", "one_of", "place_of"]

T = TypeVar("T")


def at_least(name: str, value: Any, least: int, *, none: str = "") -> Any:
    """A whole number that is not too small; None where that means something.

    >>> at_least("nodes", 16, 1), at_least("nodes", None, 1, none="all of them")
    (16, None)
    """
    if value is None and none:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        also = f", or None: {none}" if none else ""
        raise SettingError(f"{name}={value!r}; give a whole number, {least} or more{also}")
    return value


def one_of(name: str, value: T, allowed: tuple[T, ...]) -> T:
    """The value itself where it is allowed.

    >>> one_of("window", "field", ("field", "input"))
    'field'
    """
    if value not in allowed:
        raise SettingError(f"{name}={value!r}; choose one of {', '.join(map(repr, allowed))}")
    return value


def place_of(value: Any) -> Place:
    """A position: one of the words, or a whole number.

    >>> place_of("middle"), place_of(-1)
    ('middle', -1)
    """
    if value in WORDS or (isinstance(value, int) and not isinstance(value, bool)):
        return value  # type: ignore[no-any-return]
    raise SettingError(f"position={value!r}; choose {', '.join(map(repr, WORDS))} or a number")
