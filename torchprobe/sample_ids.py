"""Numbers for samples that come without: their place in the split, the same in every pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["SampleIds"]

_SPLIT = 1 << 38
"""Samples of one split; those of two splits must not share their numbers."""


def _alone() -> tuple[int, int]:
    return 0, 1


class SampleIds:
    """Numbers samples in the order in which they are seen.

    Args:
        place: which of several processes this is, and of how many, whose numbers differ; asked each
            time, because trainers let processes join after a probe was made.

    Example:
        >>> ids = SampleIds()
        >>> list(ids.next("fit", 0, 3))
        [0, 1, 2]
        >>> ids.count("fit", 0, 3)
        >>> list(ids.next("fit", 0, 2)), list(ids.next("fit", 1, 2))
        ([3, 4], [0, 1])
    """

    def __init__(self, place: Callable[[], tuple[int, int]] = _alone) -> None:
        self.place = place
        self._splits: dict[str, int] = {}
        self._seen: dict[tuple[str, int], int] = {}

    def enter(self, split: str) -> int:
        """The first number of a split; splits have theirs in the order in which they come."""
        return self._splits.setdefault(split, len(self._splits) * _SPLIT)

    def next(self, split: str, number: int, samples: int) -> range:
        """Ids of the next samples in a pass over a split."""
        rank, size = self.place()
        first = self.enter(split) + self._seen.get((split, number), 0) * size + rank
        return range(first, first + samples * size, size)

    def seek(self, split: str, number: int, place: int) -> None:
        """The next sample is the one at this place of the split, whoever sees those before it."""
        self._seen[split, number] = place

    def count(self, split: str, number: int, samples: int) -> None:
        """Some samples were seen."""
        self._seen[split, number] = self._seen.get((split, number), 0) + samples

    def state(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        seen = [[split, number, n] for (split, number), n in self._seen.items()]
        return {"splits": dict(self._splits), "seen": seen}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`, in the same place."""
        self._splits = dict(state["splits"])
        self._seen = {(split, number): n for split, number, n in state["seen"]}
