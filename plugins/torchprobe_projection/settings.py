"""The analyzer's settings, checked at the door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torchprobe.errors import MissingExtraError, SettingError
from torchprobe.wording import unknown
from torchprobe_projection.linear import Random
from torchprobe_projection.measures import MEASURES
from torchprobe_projection.projector import made
from torchprobe_projection.registry import projector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torchprobe_projection.projector import Projector

__all__ = [
    "AVAILABLE",
    "DEFAULT_MEASURES",
    "PAPER",
    "at_least",
    "measures",
    "methods",
    "options",
    "projectors",
]

AVAILABLE = "available"
"""As methods: those of `_USUAL` whose packages are installed and that can do with the rows."""
_USUAL = ("pca", "tsne", "umap", "autoencoder")

PAPER = ("tsne", "umap", "umap_train", "autoencoder")
"""The columns of Grósz & Kurimo 2020, Table 1."""
DEFAULT_MEASURES = ("pd", "mi", "dc", "trustworthiness", "continuity", "hit", "accuracy")
"""All that cost little beside the pictures; stability makes each of them anew."""


def methods(given: str | Iterable[str]) -> str | tuple[str, ...]:
    """Names of methods, each once, without the one that is always there; or `AVAILABLE`.

    Raises:
        SettingError: unknown, or none.
        MissingExtraError: a package is not installed.
    """
    if given == AVAILABLE:
        return AVAILABLE
    asked = (given,) if isinstance(given, str) else tuple(given)
    named = [name for each in asked for name in (PAPER if each == "paper" else (each,))]
    for name in named:
        projector(name).require_packages()
    chosen = tuple(name for name in dict.fromkeys(named) if name != Random.name)
    if not chosen:
        raise SettingError("methods is empty; name at least one, e.g. methods=('pca',)")
    return chosen


def measures(given: str | Iterable[str]) -> tuple[str, ...]:
    """Names of measures in the order of tables.

    Raises:
        SettingError: unknown.
    """
    asked = (given,) if isinstance(given, str) else tuple(given)
    for name in asked:
        if name not in MEASURES:
            raise SettingError(unknown("measure", name, MEASURES))
    return tuple(name for name in MEASURES if name in asked)


def projectors(
    methods: str | tuple[str, ...], options: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Projector], list[str]]:
    """The projectors to use by name, with their options; and why others are not."""
    made_by_name, absent = {}, []
    for name in _USUAL if methods == AVAILABLE else methods:
        try:
            made_by_name[name] = made(projector(name), options.get(name, {}))
        except MissingExtraError as error:
            if methods != AVAILABLE:
                raise
            absent.append(str(error))
    return made_by_name, absent


def options(
    given: Mapping[str, Mapping[str, Any]], methods: str | tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """Settings of methods and measures by name.

    Raises:
        SettingError: of something that is not used, or that has no such setting.
    """
    used = _USUAL if methods == AVAILABLE else methods
    for name, chosen in given.items():
        if name in MEASURES:
            _check_measure(name, chosen)
        elif name in used:
            made(projector(name), chosen)
        else:
            raise SettingError(unknown("method or measure", name, [*used, *MEASURES]))
    return {name: dict(chosen) for name, chosen in given.items()}


def at_least(name: str, number: int, least: int) -> int:
    """A whole number that is not too small."""
    if number != int(number) or number < least:
        raise SettingError(f"{name}={number!r}; give a whole number, at least {least}")
    return int(number)


def _check_measure(name: str, chosen: Mapping[str, Any]) -> None:
    known = MEASURES[name].options
    for option in chosen:
        if option not in known:
            raise SettingError(unknown(f"option of measure {name!r}", option, known))
