"""Which layers were seen, how often, what was left out, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Coverage", "Seen"]


@dataclass(slots=True)
class Seen:
    """What one layer delivered."""

    module: str = ""
    calls: int = 0
    samples: int = 0
    rows: int = 0
    nonfinite: int = 0

    def add(self, other: Seen) -> None:
        """Count another's as well."""
        self.module = self.module or other.module
        self.calls += other.calls
        self.samples += other.samples
        self.rows += other.rows
        self.nonfinite += other.nonfinite


@dataclass
class Coverage:
    """The account of a probe: what was seen and what was not.

    Example:
        >>> coverage = Coverage(expected=("conv", "head"))
        >>> coverage.count("conv", Seen("conv", calls=2, samples=8, rows=80))
        >>> coverage.skip("conv", "torch.func transform")
        >>> print(coverage)
        conv  2 calls, 8 samples, 80 rows; skipped 1: torch.func transform
        head  never fired
    """

    expected: tuple[str, ...] = ()
    """Modules that were selected."""
    seen: dict[str, dict[str, Seen]] = field(default_factory=dict)
    """By layer and split; a second pass over a split is not counted again."""
    skipped: dict[str, Counter[str]] = field(default_factory=dict)
    """By layer: reason → how often."""
    disabled: dict[str, str] = field(default_factory=dict)
    """Analyzers that raised: "analyzer at layer" → error."""
    forwards: int = 0
    """Outermost calls that succeeded."""
    rolled_back: Counter[str] = field(default_factory=Counter)
    """Outermost calls that were forgotten, by reason."""
    notes: list[str] = field(default_factory=list)
    """What else a reader must know (an interrupted run, an early stop)."""

    def count(self, layer: str, seen: Seen, split: str = "fit", number: int = 0) -> None:
        """Add what a layer delivered in a pass over a split."""
        splits = self.seen.setdefault(layer, {})
        if number == 0:
            splits.setdefault(split, Seen()).add(seen)

    def total(self, layer: str, splits: Iterable[str] | None = None) -> Seen:
        """What a layer delivered in some splits, all by default."""
        total = Seen()
        for split, seen in self.seen.get(layer, {}).items():
            if splits is None or split in splits:
                total.add(seen)
        return total

    def skip(self, layer: str, reason: str) -> None:
        """Count something left out."""
        self.skipped.setdefault(layer, Counter())[reason] += 1

    @property
    def silent(self) -> tuple[str, ...]:
        """Selected modules of which nothing was recorded."""
        fired = {self.total(layer).module for layer in self.seen}
        return tuple(name for name in self.expected if name not in fired)

    @property
    def unequal(self) -> tuple[str, ...]:
        """Layers that fired in fewer forward passes than another did."""
        calls = {layer: self.total(layer).calls for layer in self.seen}
        most = max(calls.values(), default=0)
        return tuple(layer for layer, n in calls.items() if n < most)

    @property
    def complete(self) -> bool:
        """Whether nothing that was offered is missing."""
        return not (self.disabled or self.rolled_back or self.notes)

    def of(self, layer: str, splits: Iterable[str] | None = None) -> dict[str, Any]:
        """A layer's part of the account, for the provenance of results from some splits."""
        seen = self.total(layer, splits)
        return {
            "calls": seen.calls,
            "samples": seen.samples,
            "rows": seen.rows,
            "nonfinite_rows": seen.nonfinite,
            "skipped": dict(self.skipped.get(layer, {})),
            "forwards": self.forwards,
            "rolled_back": dict(self.rolled_back),
            "notes": list(self.notes),
        }

    def lines(self) -> Iterable[str]:
        """The report, a line per layer."""
        names = [*self.seen, *(n for n in (*self.silent, *self.skipped) if n not in self.seen)]
        names = list(dict.fromkeys(names))
        width = max(map(len, names), default=0)
        for name in names:
            yield f"{name:{width}}  {self._line(name)}"
        for what, error in self.disabled.items():
            yield f"disabled: {what}: {error}"
        for reason, n in self.rolled_back.items():
            yield f"{n} forward pass(es) forgotten: {reason}"
        yield from self.notes

    def _line(self, name: str) -> str:
        parts = []
        if name in self.seen:
            seen = self.total(name)
            parts.append(f"{seen.calls} calls, {seen.samples} samples, {seen.rows} rows")
            if seen.nonfinite:
                parts.append(f"{seen.nonfinite} rows with NaN or infinity left out")
            if name in self.unequal:
                parts.append("fired less often than others")
        elif name in self.silent and name not in self.skipped:
            parts.append("never fired")
        parts += [f"skipped {n}: {why}" for why, n in self.skipped.get(name, {}).items()]
        return "; ".join(parts)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def merge(self, other: Coverage) -> None:
        """Add the account of another process or run."""
        self.expected = tuple(dict.fromkeys((*self.expected, *other.expected)))
        for layer, splits in other.seen.items():
            for split, seen in splits.items():
                self.count(layer, seen, split)
        for layer, reasons in other.skipped.items():
            self.skipped.setdefault(layer, Counter()).update(reasons)
        self.disabled.update(other.disabled)
        self.forwards += other.forwards
        self.rolled_back.update(other.rolled_back)
        self.notes += [note for note in other.notes if note not in self.notes]

    def state(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return {
            "expected": list(self.expected),
            "seen": {
                layer: {split: asdict(seen) for split, seen in splits.items()}
                for layer, splits in self.seen.items()
            },
            "skipped": {name: dict(reasons) for name, reasons in self.skipped.items()},
            "disabled": dict(self.disabled),
            "forwards": self.forwards,
            "rolled_back": dict(self.rolled_back),
            "notes": list(self.notes),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Coverage:
        """The inverse of `state`."""
        return cls(
            expected=tuple(state["expected"]),
            seen={
                layer: {split: Seen(**seen) for split, seen in splits.items()}
                for layer, splits in state["seen"].items()
            },
            skipped={name: Counter(reasons) for name, reasons in state["skipped"].items()},
            disabled=dict(state["disabled"]),
            forwards=state["forwards"],
            rolled_back=Counter(state["rolled_back"]),
            notes=list(state["notes"]),
        )
