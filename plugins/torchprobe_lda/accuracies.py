"""From counted predictions to accuracies, split by split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from torchprobe import Field
from torchprobe.errors import EmptyStateError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from torchprobe.accumulators import Confusion, Counts
    from torchprobe.errors import TorchprobeError

__all__ = ["Findings", "Scorer", "count_accuracy", "listed", "of_split", "refuse_early", "scored"]


@dataclass
class Findings:
    """What a result is made of."""

    coords: dict[str, tuple[str, ...]]
    fields: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Scorer(Protocol):
    """An analyzer that predicts classes."""

    control: str | None
    confusions: dict[str, Confusion]
    control_right: dict[str, Counts]
    """Whether the control is right; where there is one."""

    def class_names(self, groups: Tensor | Iterable[int]) -> tuple[str, ...]:
        """Names of labels."""


HELD_OUT = "score"
"""The split whose accuracy needs no further name."""


def of_split(quantity: str, split: str) -> str:
    """What a quantity of a split is called in results.

    Example:
        >>> of_split("accuracy", "score"), of_split("accuracy", "fit")
        ('accuracy', 'accuracy_fit')
    """
    return quantity if split == HELD_OUT else f"{quantity}_{split}"


@dataclass(frozen=True, eq=False)
class Scored:
    """How often each class of the fit was taken for each, in one split."""

    matrix: NDArray[np.int64]
    """[class, predicted class]"""
    rows: NDArray[np.int64]
    """Rows of each class, also those taken for something that is no class of the fit [class]."""
    strange: tuple[int, ...]
    """Labels in this split that the fit did not have; their rows are in no number."""
    n_strange: int
    """How many rows those are."""

    @property
    def accuracy(self) -> float:
        """Fraction of rows predicted right; NaN where there is no row of a known class."""
        total = self.rows.sum()
        return float(np.trace(self.matrix) / total) if total else float("nan")

    @property
    def class_accuracy(self) -> NDArray[np.float64]:
        """The same of each class: [class], NaN where a class has no row."""
        found = np.full(len(self.rows), np.nan)
        np.divide(np.diagonal(self.matrix), self.rows, out=found, where=self.rows > 0)
        return found

    def fields(self, split: str) -> dict[str, Field]:
        """As fields of a result."""
        fields = {
            "accuracy": Field("", self.accuracy, range=(0, 1)),
            "class_accuracy": Field("class", self.class_accuracy, range=(0, 1)),
            "confusion": Field("class predicted", self.matrix, unit="rows"),
        }
        return {of_split(name, split): field for name, field in fields.items()}

    def notes(self, split: str, names: Sequence[str], strange: Iterable[str]) -> list[str]:
        """What a reader must know: classes that only one of the two splits has."""
        notes = []
        if self.strange:
            notes.append(
                f"{self.n_strange:,} rows of {split!r} are in no accuracy: 'fit' has no row of "
                f"their classes {listed(strange)}"
            )
        absent = [name for name, rows in zip(names, self.rows, strict=True) if not rows]
        if absent:
            notes.append(f"{split!r} has no row of {listed(absent)}")
        return notes


def scored(confusion: Confusion, classes: NDArray[np.int64]) -> Scored | None:
    """The counts of one split for the classes of the fit; None where nothing was seen.

    Args:
        confusion: counted by label.
        classes: the labels of the fit, ascending [class].
    """
    if not confusion.state:
        return None
    labels, counts = (t.numpy(force=True) for t in (confusion.labels, confusion.matrix))
    known = np.isin(labels, classes)
    at = np.searchsorted(classes, labels[known])
    matrix = np.zeros((len(classes), len(classes)), dtype=np.int64)
    matrix[np.ix_(at, at)] = counts[np.ix_(known, known)]
    every = counts.sum(axis=1)
    rows = np.zeros(len(classes), dtype=np.int64)
    rows[at] = every[known]
    strange = ~known & (every > 0)
    return Scored(matrix, rows, tuple(labels[strange].tolist()), int(every[strange].sum()))


def count_accuracy(
    found: Findings,
    scorer: Scorer,
    labels: Tensor,
    split: str,
    no_control: str = "",
    also: str = "",
) -> None:
    """Add a split's accuracy and that of the control, or say why they are missing.

    Args:
        found: what to add to.
        scorer: the analyzer.
        labels: the classes of the fit, ascending [class].
        split: whose rows.
        no_control: why there is no control though it was asked for.
        also: what else is missing with the accuracy.
    """
    counted = scored(scorer.confusions[split], labels.numpy())
    if counted is None:
        found.notes.append(_missing(split, also))
        return
    found.fields |= counted.fields(split)
    strange = scorer.class_names(counted.strange)
    found.notes += counted.notes(split, found.coords["class"], strange)
    if scorer.control is None:
        return
    if not scorer.control_right[split].state:
        found.notes.append(f"{of_split('control_accuracy', split)!r} is missing: {no_control}")
        return
    control = float(scorer.control_right[split].fraction)
    found.fields |= {
        of_split("control_accuracy", split): Field("", control, range=(0, 1)),
        of_split("accuracy_above_control", split): counted.accuracy - control,
    }


def refuse_early(split: str, problem: TorchprobeError | None) -> None:
    """Raise where a split came before the fit; another problem is for `compute` to tell.

    Raises:
        EmptyStateError: no data of "fit" was seen.
    """
    if problem is None or isinstance(problem, EmptyStateError):
        raise EmptyStateError(
            f"split {split!r} came before the data of 'fit' that the classes are learned from; "
            "show 'fit' first"
        )


def _missing(split: str, also: str = "") -> str:
    name = of_split("accuracy", split)
    if split == "fit":
        return (
            f"{name!r}{also} is missing: it takes another look at the data of 'fit'; call "
            "probe.next_pass() and show it again, or leave 'fit' out of scored="
        )
    return (
        f"{name!r}{also} is missing: no data of split {split!r} was seen; "
        f"probe.run(fit=..., {split}=...) or probe.batch(split={split!r}) shows some"
    )


def listed(names: Iterable[Any], most: int = 8) -> str:
    """Some names, and how many more there are.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    every = [str(name) for name in names]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
