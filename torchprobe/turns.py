"""Layers that take turns, each group with passes of its own, where memory is short for all."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from torchprobe.errors import TorchprobeWarning

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Turns"]


@dataclass
class Turns:
    """Which layers are listened to now, and which later.

    Example:
        >>> turns = Turns(allowed=True)
        >>> turns.plan({"a": 40, "b": 30, "c": 50}, budget=80)
        >>> [layer for layer in "abcd" if turns.has(layer)]  # d was not known when it was planned
        ['a', 'b', 'd']
        >>> [layer for layer in "abcd" if turns.next().has(layer)]
        ['c']
    """

    allowed: bool = False
    """Whether the data can be shown again."""
    now: frozenset[str] | None = None
    """The layers whose turn it is; None for all that need not wait."""
    later: tuple[frozenset[str], ...] = ()
    """The layers that wait, in groups."""
    number: int = 1
    """Which turn this is, from 1."""

    def has(self, layer: str) -> bool:
        """Whether a layer is listened to."""
        if self.now is not None:
            return layer in self.now
        return not any(layer in group for group in self.later)

    def plan(self, needs: Mapping[str, int], budget: int, *, told: bool = True) -> None:
        """Let layers wait whose state would not fit beside that of those before them.

        Args:
            needs: bytes of state by layer, in the order of execution.
            budget: bytes that may be used at once. A layer that needs more by itself is a turn of
                its own, to be refused by who makes its state.
            told: whether the user has said what the budget is, and needs no warning.
        """
        if not self.allowed or self.now is not None:
            return
        groups = _within(needs, budget)
        self.later = tuple(groups[1:])
        if self.later and not told:
            warnings.warn(
                f"the state of all layers needs {sum(needs.values()):,} bytes, the memory budget "
                f"is {budget:,}: layers take {len(groups)} turns, each with its own passes over "
                "the data. Probe fewer layers, or say Probe(memory_budget=...)",
                TorchprobeWarning,
                stacklevel=2,
            )

    def next(self) -> Self | None:
        """The next turn; None after the last."""
        if not self.later:
            return None
        first, *rest = self.later
        return type(self)(self.allowed, first, tuple(rest), self.number + 1)

    @property
    def waiting(self) -> list[str]:
        """The layers whose turn has not come."""
        return sorted(layer for group in self.later for layer in group)

    def state(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return {
            "allowed": self.allowed,
            "now": None if self.now is None else sorted(self.now),
            "later": [sorted(group) for group in self.later],
            "number": self.number,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `state`."""
        now = None if state["now"] is None else frozenset(state["now"])
        later = tuple(frozenset(group) for group in state["later"])
        return cls(state["allowed"], now, later, state["number"])

    def __str__(self) -> str:
        """Which turn of how many, where there are several."""
        last = self.number + len(self.later)
        return f", turn {self.number} of {last}" if last > 1 else ""


def _within(needs: Mapping[str, int], budget: int) -> list[frozenset[str]]:
    """Layers in groups of neighbours that fit the budget together."""
    groups: list[list[str]] = [[]]
    used = 0
    for layer, need in needs.items():
        if groups[-1] and used + need > budget:
            groups.append([])
            used = 0
        groups[-1].append(layer)
        used += need
    return [frozenset(group) for group in groups]
