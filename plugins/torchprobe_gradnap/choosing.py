"""Which layer, grouping and groups a picture shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchprobe.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torchprobe import Result
    from torchprobe.results import LayerResults

__all__ = ["chosen", "last_over_positions", "one", "over_time", "titled"]


def one(results: LayerResults, layer: str | None, grouping: str | None) -> Result:
    """The result of a layer, the last by default, in a grouping, the first by default."""
    mine = results.grouping(results.groupings[0] if grouping is None else grouping)
    return mine[mine.layers[-1] if layer is None else layer]


def last_over_positions(results: LayerResults) -> str:
    """The last layer with more than one position, else the last."""
    wide = [each.layer for each in results.values() if np.prod(each.gradnap.shape[2:]) > 1]
    return wide[-1] if wide else results.layers[-1]


def over_time(result: Result) -> bool:
    """Whether there is an axis of time, and more than one position on it."""
    return bool(result.gradnap.ndim == 3 and result.gradnap.shape[2] > 1)  # noqa: PLR2004


def chosen(result: Result, groups: Iterable[str] | None, n: int) -> list[int]:
    """The numbers of some groups, by default the n largest.

    Raises:
        SettingError: there is no such group.
    """
    names = list(result.coords["group"])
    if groups is None:
        return sorted(np.argsort(-result.counts, kind="stable")[:n].tolist())
    wanted = list(groups)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise SettingError(f"no group {missing[0]!r}; there are {', '.join(names)}")
    return [names.index(name) for name in wanted]


def titled(result: Result) -> str:
    """The layer and what its examples are grouped by."""
    default = result.grouping in (None, "label")
    return result.layer if default else f"{result.layer} by {result.grouping}"
