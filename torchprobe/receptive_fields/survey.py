"""Asks a model, in rounds, until it is known of every layer what its positions see."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from torchprobe.receptive_fields.evidence import Evidence, first_questions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from torchprobe.receptive_fields.changes import Query
    from torchprobe.receptive_fields.evidence import Wanted
    from torchprobe.receptive_fields.lengths import Length
    from torchprobe.receptive_fields.study import Study

__all__ = ["Row", "Survey"]

_FIRST = 13
"""Questions along each axis to begin with: with the unchanged ones a batch of 15 or 16."""

_ROUNDS = 24
"""Rounds of questions, after which what has no end yet counts as without."""

_AT_ONCE = 42
"""Questions in one round, unless there are more things to be known."""


class Row(NamedTuple):
    """The position axes of a layer; of another whose positions it has in a single row (tokens)."""

    axes: tuple[str, ...]
    shape: tuple[int, ...]
    of: str
    """The layer whose positions these are: itself, or the other."""
    flat: bool = False


class Survey:
    """What is known of each layer, along each of its axes and each of the input's.

    Args:
        study: the model.
        lengths: positions of input and layers; the first is the one that is asked about.
    """

    def __init__(self, study: Study, lengths: Sequence[Length]) -> None:
        self._study = study
        self.lengths = lengths
        self.inputs = study.positions
        """The input's axes."""
        self.rows: dict[str, Row] = {}
        """By layer, in the order of execution."""
        self.evidence: dict[tuple[str, int, str], Evidence] = {}
        """By layer, number of its axis, and the input's axis."""

    @property
    def given(self) -> Length:
        """The length of the input that the model was called with."""
        return self.lengths[1] if len(self.lengths) > 2 else self.lengths[0]  # noqa: PLR2004

    def counts(self, name: str, at: int, axis: str) -> tuple[tuple[int, int], ...]:
        """(positions of the input, of the layer) along an axis, for every length."""
        of = self.rows[name].of
        return tuple(
            (length.sizes[axis], length.shapes[of][at])
            for length in self.lengths
            if of in length.shapes
        )

    def ask(self) -> None:
        """Ask in rounds, each about all layers at once."""
        sizes = self.lengths[0].sizes
        self._begin([q for a in self.inputs for q in first_questions(a, sizes[a], _FIRST)])
        for _ in range(_ROUNDS):
            wanted = list(dict.fromkeys(self._wanted()))
            if not wanted:
                return
            for nan in (False, True):
                self._answer([want for want in wanted if want.nan == nan], nan=nan)
        for each in self.evidence.values():
            each.give_up()

    def _begin(self, queries: Sequence[Query]) -> None:
        answers = self._study.ask(queries, nan=False)
        for name, changed in answers.items():
            self.rows[name] = self._row(name, tuple(changed.shape[1:]))
            for at in range(len(self.rows[name].shape)):
                for axis in self.inputs:
                    (size, n), *others = self.counts(name, at, axis)
                    nan = self._study.takes_nan
                    self.evidence[name, at, axis] = Evidence(axis, n, size, others, nan=nan)
        self._learn(queries, answers, nan=False)

    def _row(self, name: str, shape: tuple[int, ...]) -> Row:
        if len(shape) == 1 < len(self.inputs):
            for row in reversed(self.rows.values()):
                if len(row.shape) == len(self.inputs) and math.prod(row.shape) == shape[0]:
                    return row._replace(flat=True)
        return Row(self._study.tap.axes[name], shape, name)

    def _wanted(self) -> Iterator[Wanted]:
        for each in self.evidence.values():
            yield from each.wanted()

    def _answer(self, wanted: Sequence[Wanted], *, nan: bool) -> None:
        each = max(1, _AT_ONCE // max(len(wanted), 1))
        queries = list(dict.fromkeys(query for want in wanted for query in want.queries(each)))
        if not queries:
            return
        try:
            answers = self._study.ask(queries, nan=nan)
        except Exception:
            if not nan:
                raise
            for evidence in self.evidence.values():  # a model that does not stand NaN
                evidence.give_up(nan=True)
            return
        self._learn(queries, answers, nan=nan)

    def _learn(self, queries: Sequence[Query], answers: Mapping[str, Tensor], *, nan: bool) -> None:
        for name, row in self.rows.items():
            if name not in answers or answers[name][0].numel() != math.prod(row.shape):
                continue
            changed = answers[name].view(len(queries), *row.shape)
            for at in range(len(row.shape)):
                others = [dim + 1 for dim in range(len(row.shape)) if dim != at]
                along = changed.any(others) if others else changed  # [query, position]
                for axis in self.inputs:
                    for query, each in zip(queries, along, strict=True):
                        self.evidence[name, at, axis].learn(query, each, nan=nan)
