"""Analyzers as users ask for them, by name, class or instance, made ready to be forked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from torchprobe.analyzer import Analyzer
from torchprobe.errors import SettingError
from torchprobe.plugins import plugins

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AnalyzerLike", "analyzer", "configured"]

AnalyzerLike: TypeAlias = str | type[Analyzer] | Analyzer
"""An analyzer by its name, its class, or as a configured instance."""


def analyzer(
    name: str,
    *,
    positions: str | None = None,
    groupings: Iterable[str] | None = None,
    **settings: Any,
) -> Analyzer:
    """A configured analyzer by its name.

    Args:
        name: as listed by ``torchprobe plugins``.
        positions: what a row is: "each" position, or the sample by its "mean", "max", "center"
            or "flatten" of positions.
        groupings: only these of the groupings.
        settings: the analyzer's own.

    Raises:
        LayerNotFoundError: no analyzer of that name; says what is installed.
        SettingError: it has no such setting.

    Example:
        >>> analyzer("class_selectivity", positions="mean").positions
        'mean'
    """
    cls = plugins().analyzer(name)
    try:
        made = cls(**settings)
    except TypeError as error:
        raise SettingError(f"analyzer {name!r}: {error}") from error
    if positions is not None:
        made.positions = positions
    if groupings is not None:
        made.groupings = (groupings,) if isinstance(groupings, str) else tuple(groupings)
    return made


def configured(analyzers: Any) -> dict[str, Analyzer]:
    """Analyzers of any accepted form as instances by name."""
    if isinstance(analyzers, (str, type, Analyzer)):
        analyzers = [analyzers]
    if hasattr(analyzers, "items"):
        return {name: _made(item, name) for name, item in analyzers.items()}
    made = [_made(item) for item in analyzers]
    twice = {each.name for each in made if [other.name for other in made].count(each.name) > 1}
    if twice:
        raise SettingError(
            f"analyzer {min(twice)!r} is given twice; name them: "
            f"analyzers={{'{min(twice)}_a': ..., '{min(twice)}_b': ...}}"
        )
    return {each.name: each for each in made}


def _made(item: Any, name: str = "") -> Analyzer:
    if isinstance(item, str):
        item = analyzer(item)
    elif isinstance(item, type) and issubclass(item, Analyzer):
        item = item()
    if not isinstance(item, Analyzer):
        raise SettingError(
            f"{item!r} is no analyzer; give a name ('class_selectivity'), an Analyzer subclass, or "
            "an instance of one"
        )
    return item.named(name) if name else item
