"""What other labels of a batch say of its rows: is the network right, is a row separable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from torchprobe.errors import LabelError
from torchprobe.labels import ClassNames

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from torchprobe import LayerBatch

__all__ = [
    "CORRECT",
    "ELSE",
    "PREDICTED",
    "SEPARABLE",
    "SUBSETS",
    "Marks",
    "about",
    "marks",
    "of_classes",
]

PREDICTED = "predicted"
"""The grouping that says what the network itself predicts: ``{"predicted": tp.predicted()}``."""
CORRECT = "correct"
"""The one that says only whether it is right: ``{"correct": tp.correct()}``."""
SEPARABLE = "separable"
"""The one that says whether another layer's LDA is right; see `torchprobe_lda.separable`."""
SUBSETS = ("separable", "inseparable")
"""Labels of that grouping: COR and INC in the paper."""
ELSE = 2**62
"""Stands for a prediction that is known to be wrong, and nothing else of it."""

_ABOUT = (PREDICTED, CORRECT, SEPARABLE)


@dataclass(frozen=True, eq=False)
class Marks:
    """What is known of the rows of a batch."""

    predicted: Tensor | None
    """What the network takes each row for: int64 [row], `ELSE` for some other class, -1 where
    unknown; None where nothing tells."""
    right: Tensor
    """Whether the network is right: 1, 0, or -1 where unknown, int64 [row]."""
    separable: Tensor
    """Whether the row is separable: likewise."""


def about(name: str, grouping: str) -> str:
    """What labels about one of several groupings are called.

    >>> about("predicted", "phoneme")
    'predicted_phoneme'
    """
    return f"{name}_{grouping}"


def of_classes(groupings: Iterable[str | None]) -> list[str | None]:
    """The groupings that are classes, and not about those of another.

    >>> of_classes(["phoneme", "correct", "separable_phoneme"])
    ['phoneme']
    """
    every = list(groupings)
    known = {*_ABOUT, *(about(name, each) for name in _ABOUT for each in every if each)}
    return [each for each in every if each not in known]


def marks(batch: LayerBatch, *, alone: bool) -> Marks:
    """What is known of the rows of a batch, seen as the grouping of the classes.

    Args:
        batch: with its labels.
        alone: whether these are the only classes in question; else labels that are not said to be
            about them, as in "predicted_phoneme", count only if no other classes were given.

    Raises:
        LabelError: predictions are numbers where classes have names, or the other way round.
    """
    classes = batch.labels
    alone = alone or of_classes(batch.given.labels) == [batch.grouping]
    predicted = _predicted(batch, classes, alone=alone)
    right = torch.full_like(classes, -1)
    if predicted is not None:
        right = (predicted == classes).long().masked_fill(predicted < 0, -1)
    return Marks(predicted, right, _answer(_given(batch, SEPARABLE, alone=alone), classes, SUBSETS))


def _predicted(batch: LayerBatch, classes: Tensor, *, alone: bool) -> Tensor | None:
    predicted = _given(batch, PREDICTED, alone=alone)
    if predicted is not None:
        _refuse_other_kind(batch)
        return predicted
    correct = _given(batch, CORRECT, alone=alone)
    if correct is None:
        return None
    right = _answer(correct, classes, ("correct", "wrong"))
    return classes.masked_fill(right == 0, ELSE).masked_fill(right < 0, -1)


def _given(batch: LayerBatch, name: str, *, alone: bool) -> Tensor | None:
    """Labels about the classes: int64 [row]; None where there are none that fit the rows."""
    known, own = batch.given.labels, about(name, batch.grouping or "")
    found = own if own in known else name if alone and name in known else None
    if found is None or found == batch.grouping:
        return None
    try:
        return batch.view(found, batch.layer.positions).labels
    except LabelError:  # labels of frames beside a pooled layer
        return None


def _answer(labels: Tensor | None, like: Tensor, answers: tuple[str, str]) -> Tensor:
    """1 and 0 for the first and the second answer, -1 for all else: int64 [row]."""
    found = torch.full_like(like, -1)
    if labels is None:
        return found
    yes, no = (ClassNames().number(answer) for answer in answers)
    return found.masked_fill(labels == yes, 1).masked_fill(labels == no, 0)


def _refuse_other_kind(batch: LayerBatch) -> None:
    """Raise where equal classes would never compare as equal."""
    grouping, names = batch.grouping or "", batch.given.names
    name = about(PREDICTED, grouping)
    told = names[name if name in batch.given.labels else PREDICTED]
    if bool(told.strings) != bool(names[grouping].strings):
        are, must = ("strings", "integers") if told.strings else ("integers", "strings")
        raise LabelError(
            f"grouping {PREDICTED!r} has {are} but the classes {grouping!r} are {must}; let it "
            "return what the classes are called, or give it another name"
        )
