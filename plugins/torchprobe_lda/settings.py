"""Settings checked once, where they are given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from torchprobe.errors import SettingError

__all__ = ["checked_priors", "count", "one_of", "share", "split_name", "split_names"]

T = TypeVar("T")

_ROUNDING = 1e-9


def share(value: Any, name: str, *words: str) -> Any:
    """A number from 0 to 1, one of some words, or None.

    >>> share(0.5, "shrinkage"), share(None, "shrinkage"), share("auto", "shrinkage", "auto")
    (0.5, None, 'auto')
    """
    if value is None or (isinstance(value, str) and value in words):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 <= number <= 1:
        allowed = "".join(f", {word!r}" for word in words)
        raise SettingError(f"{name}={value!r}; give a number from 0 to 1{allowed} or None")
    return number


def one_of(name: str, value: T, allowed: tuple[T, ...]) -> T:
    """The value itself where it is allowed.

    >>> one_of("dof", "n", ("n-k", "n"))
    'n'
    """
    if value not in allowed:
        raise SettingError(f"{name}={value!r}; choose one of {', '.join(map(repr, allowed))}")
    return value


def count(name: str, value: int, least: int = 0) -> int:
    """A whole number that is not too small.

    >>> count("sample", 10)
    10
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SettingError(f"{name}={value!r}; give a whole number, {least} or more")
    return value


def split_names(splits: str | Iterable[str]) -> tuple[str, ...]:
    """Names of splits, each once.

    >>> split_names("fit"), split_names(["fit", "noisy", "fit"])
    (('fit',), ('fit', 'noisy'))
    """
    names = (splits,) if isinstance(splits, str) else tuple(splits)
    return tuple(dict.fromkeys(split_name("scored", name) for name in names))


def split_name(setting: str, name: str) -> str:
    """The name of a split, which becomes part of names of fields.

    >>> split_name("described", "noisy")
    'noisy'
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise SettingError(f"{setting}: {name!r} is no name of a split; use letters")
    return name


def checked_priors(priors: Any) -> Any:
    """Priors as a word, or a positive number for each class, by name.

    >>> checked_priors({"sil": 0.75, "aa": 0.25})
    {'sil': 0.75, 'aa': 0.25}
    """
    if not isinstance(priors, Mapping):
        return one_of("priors", priors, ("data", "uniform"))
    for name, value in priors.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
            raise SettingError(f"priors: that of {name!r} is {value!r}; give a number in 0..1")
    if abs(sum(priors.values()) - 1) > _ROUNDING:
        raise SettingError(f"priors sum to {sum(priors.values()):.12g}; they must sum to 1")
    return {str(name): float(value) for name, value in priors.items()}
