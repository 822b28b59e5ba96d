"""Numbers for samples that come without: their place in the split, the same in every pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SampleIds"]

_SPLIT = 1 << 38
"""Samples of one split; those of two splits must not share their numbers."""


class SampleIds:
    """Numbers samples in the order in which they are seen.

    Args:
        rank: which of several processes this is.
        size: how many processes share the samples, one each in turn, so that numbers differ.

    Example:
        >>> ids = SampleIds()
        >>> list(ids.next("fit", 0, 3))
        [0, 1, 2]
        >>> ids.count("fit", 0, 3)
        >>> list(ids.next("fit", 0, 2)), list(ids.next("fit", 1, 2))
        ([3, 4], [0, 1])
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self._splits: dict[str, int] = {}
        self._seen: dict[tuple[str, int], int] = {}

    def enter(self, split: str) -> int:
        """The first number of a split; splits have theirs in the order in which they come."""
        return self._splits.setdefault(split, len(self._splits) * _SPLIT)

    def next(self, split: str, number: int, samples: int) -> range:
        """Ids of the next samples in a pass over a split."""
        first = self.enter(split) + self._seen.get((split, number), 0) * self.size + self.rank
        return range(first, first + samples * self.size, self.size)

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

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `state`."""
        ids = cls()
        ids._splits = dict(state["splits"])
        ids._seen = {(split, number): n for split, number, n in state["seen"]}
        return ids
