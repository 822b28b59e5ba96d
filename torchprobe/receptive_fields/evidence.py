"""What is known of a layer along one axis of the input, what to ask next, and the map it makes."""

from __future__ import annotations

import math
from fractions import Fraction
from operator import methodcaller
from typing import TYPE_CHECKING, NamedTuple

import torch

from torchprobe.positions import BEYOND, Map
from torchprobe.receptive_fields.changes import Query
from torchprobe.receptive_fields.ends import Ends, Period

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

__all__ = ["Evidence", "Wanted", "first_questions"]

_REPEATS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64)
"""By how much the period may be longer than the stride alone says: a U-Net that halves four times
and doubles again has stride 1, but repeats only every 16 positions."""

_STRIDES = 6
"""So many strides are tried, the simplest first, where several are possible."""

_FINEST = 64
"""The largest denominator of a stride."""

_DETOURS = (4, 16, 64)
"""How far the ends of such a network may stray from a straight line; tried in turn."""


class Wanted(NamedTuple):
    """A question that has an answer wherever it is asked within a range; several narrow it down."""

    axis: str
    ahead: bool
    places: range
    """Counted from the far end where not ``ahead``."""
    size: int
    nan: bool

    def queries(self, n: int) -> list[Query]:
        """At most ``n`` of them, evenly spread."""
        n = min(n, len(self.places))
        places = [self.places[len(self.places) * (2 * at + 1) // (2 * n)] for at in range(n)]
        return [
            Query(self.axis, self.ahead, at if self.ahead else self.size - 1 - at) for at in places
        ]


def first_questions(axis: str, size: int, n: int) -> list[Query]:
    """About ``n`` questions to begin with: all of the input, its ends, and places in between."""
    each = max(n - 3, 4) // 2
    places = (int(0.7 * size * (at + 0.5) / each) // 4 * 4 + at % 4 for at in range(each))
    distances = sorted({place for place in places if 0 < place < size - 1})
    ahead = [0, *(size - 1 - place for place in reversed(distances)), size - 1]
    return [Query(axis, True, at) for at in ahead] + [
        Query(axis, False, at) for at in (0, *distances)
    ]


class Evidence:
    """Both ends of what the positions of a layer see along one axis of the input.

    Noise shows what is seen at least, NaN what can be seen at most. Noise is asked first; where
    what it shows does not repeat, because an effect is lost in rounding or in dead units, or fades
    with time as in a recurrent network, NaN decides.

    Args:
        axis: the input's.
        n: positions of the layer.
        size: positions of the input.
        known: (positions of the input, of the layer) for other lengths.
        nan: whether the input can be replaced by NaN.
    """

    def __init__(
        self, axis: str, n: int, size: int, known: Sequence[tuple[int, int]], *, nan: bool
    ) -> None:
        self.axis, self.n, self.size, self.known = axis, n, size, known
        self.ends = {True: Ends(n, size), False: Ends(n, size)}
        self._by_nan = {True: not nan, False: not nan}  # where there is no NaN, noise decides
        self._nan = nan
        self._period: Period | None = None
        self.varies = False
        """Whether ends were found, but differ from position to position without a rule."""

    def learn(self, query: Query, changed: Tensor, *, nan: bool) -> None:
        """Take in which positions changed: bool [position]."""
        if query.axis != self.axis:
            return
        whole = query.ahead and query.at == 0
        for ahead, ends in self.ends.items():
            if self._uses_nan(ahead) == nan and (whole or query.ahead == ahead):
                at = query.at if ahead or whole else self.size - 1 - query.at
                ends.learn(at, changed if ahead else changed.flip(0))

    def wanted(self) -> list[Wanted]:
        """What to ask next; nothing where all is known."""
        while self._closed():
            unmet = self._asked(lambda ends: ends.furthest() if ends.endless else ())
            if unmet:
                return unmet
            strides = self._strides(self._closed())
            if self._ambiguous(strides):
                unclear = self._asked(Ends.far_apart)
                if unclear:
                    return unclear
            self._period = self._found_period(strides or [])
            if self._period is not None:
                return self._asked(methodcaller("open_questions", self._period))
            doubted = self._doubt()
            if doubted:
                return doubted
        self._period = None
        return []

    def _ambiguous(self, strides: list[Fraction] | None) -> bool:
        """Whether several strides are possible, none of them simpler than the others."""
        if strides is None:
            return True
        possible = [stride for stride in strides if not self._contradicted(_period(stride))]
        return len({stride.denominator for stride in possible[:2]}) < len(possible[:2])

    def give_up(self, *, nan: bool = False) -> None:
        """Ask no more: ends not known yet count as without; all, or those that NaN should tell."""
        for ahead, ends in self.ends.items():
            if not ends.open and (self._uses_nan(ahead) or not nan):
                ends.given_up = self.varies = True

    # -- the map

    def map(self) -> Map | None:
        """What is known; None where positions see all of the input.

        With an end on one side only, positions stand for the last, or first, that they see.
        """
        last, first = self._edge(ahead=True), self._edge(ahead=False)
        if self._period is None or last is first is None:
            return None
        if last is not None and first is not None:
            return Map.of_spans(list(zip(first, last, strict=True)), self._period.input)
        stride = self._period.stride
        line = [at - stride * place for place, at in enumerate(last or first or ())]
        if last is not None:
            return Map(stride, max(line), right=0)
        return Map(stride, min(line), left=0)

    def _edge(self, *, ahead: bool) -> list[int] | None:
        """The last (not ``ahead``: the first) position seen by each of the first positions."""
        ends, period = self.ends[ahead], self._period
        if ends.open or period is None:
            return None
        least = ends.by_phase(period)[0].tolist()
        edge = []
        for place in range(period.layer):
            counted = place if ahead else self.n - 1 - place
            at = least[counted % period.layer] + counted // period.layer * period.input
            edge.append(at if ahead else self.size - 1 - at)
        return edge

    # -- the period

    def _closed(self) -> list[Ends]:
        return [ends for ends in self.ends.values() if not ends.open]

    def _found_period(self, strides: list[Fraction]) -> Period | None:
        """The shortest period that nothing contradicts, None where there is none.

        Longer periods fit anything in the end: they are for answers that miss nothing.
        """
        periods = {_period(stride) for stride in strides if 1 in stride.as_integer_ratio()}
        if all(self._by_nan[ahead] or ends.open for ahead, ends in self.ends.items()):
            bent = [s for slack in _DETOURS for s in self._strides(self._closed(), slack) or []]
            periods |= {_period(s, factor) for s in (*strides, *bent) for factor in _REPEATS}
        fitting = (period for period in sorted(periods) if 2 * period.layer < self.n)
        return next((period for period in fitting if self._possible(period)), None)

    def _contradicted(self, period: Period) -> bool:
        return any(ends.contradicts(period) for ends in self._closed())

    def _possible(self, period: Period) -> bool:
        """Whether this may be the period, if need be of positions away from the borders only."""
        if not self._contradicted(period):
            return True
        border = _widened(self.ends[True].touching | self.ends[False].touching.flip(0))
        if self.n - int(border.sum()) <= max(2 * period.layer, self.n // 2):
            return False
        before = {ahead: ends.inner for ahead, ends in self.ends.items()}
        for ahead, ends in self.ends.items():
            ends.inner = ~border if ahead else ~border.flip(0)
        if not self._contradicted(period):
            return True
        for ahead, ends in self.ends.items():
            ends.inner = before[ahead]
        return False

    def _strides(self, ends: Iterable[Ends], slack: int = 1) -> list[Fraction] | None:
        """Strides that are possible, the simplest first; None where there are too many."""
        low, high = self._grown(max(slack // 2, 1))
        for each in ends:
            least, most = each.slopes(slack)
            low, high = max(low, least), min(high, most)
        return _simplest(low, high)

    def _grown(self, leap: int) -> tuple[Fraction, Fraction]:
        """The strides that the sizes for other lengths leave possible.

        Args:
            leap: by how many positions at once a layer may grow.
        """
        low, high = Fraction(0), Fraction(BEYOND)
        for size, n in self.known:
            longer, more = self.size - size, self.n - n
            loose = max(leap, math.ceil(more / longer))
            low = max(low, Fraction(longer, max(more, 0) + loose))
            high = min(high, Fraction(longer, more - loose)) if more > loose else high
        return low, high

    # -- questions

    def _uses_nan(self, ahead: bool) -> bool:
        return self._nan and self._by_nan[ahead]

    def _asked(self, places: Callable[[Ends], Iterable[range]]) -> list[Wanted]:
        return [
            Wanted(self.axis, ahead, each, self.size, self._uses_nan(ahead))
            for ahead, ends in self.ends.items()
            if not ends.open
            for each in places(ends)
        ]

    def _doubt(self) -> list[Wanted]:
        """Begin again with NaN where noise shows no rule; without a rule there, there is no end."""
        closed = [ahead for ahead, ends in self.ends.items() if not ends.open]
        by_noise = [ahead for ahead in closed if not self._by_nan[ahead]]
        suspects = by_noise or closed
        irregular = [ahead for ahead in suspects if not self._regular(self.ends[ahead])]
        for ahead in irregular or suspects:
            if self._by_nan[ahead]:
                self.ends[ahead].given_up = self.varies = True
        again = [ahead for ahead in irregular or suspects if ahead in by_noise]
        return [want for ahead in again for want in self._again(ahead)]

    def _again(self, ahead: bool) -> list[Wanted]:
        """Forget one end, and ask everything again with NaN."""
        asked = self.ends[ahead].asked | {0}
        self._by_nan[ahead] = True
        self.ends[ahead] = Ends(self.n, self.size)
        for ends in self.ends.values():
            ends.inner = None
        return [Wanted(self.axis, ahead, range(a, a + 1), self.size, True) for a in sorted(asked)]

    def _regular(self, ends: Ends) -> bool:
        """Whether an end has a period by itself."""
        periods = (_period(stride) for stride in self._strides([ends]) or [])
        return any(2 * each.layer < self.n and not ends.contradicts(each) for each in periods)


def _widened(border: Tensor) -> Tensor:
    """Positions at the border and next to it, where a dilated field may reach over it."""
    each = len(border) // 8 + 1
    return torch.nn.functional.max_pool1d(border[None].float(), 2 * each + 1, 1, each)[0] > 0


def _period(stride: Fraction, factor: int = 1) -> Period:
    return Period(stride.denominator * factor, stride.numerator * factor)


def _simplest(low: Fraction, high: Fraction) -> list[Fraction] | None:
    """The fractions between two that have the smallest denominators; None where there are many."""
    if high - low > _STRIDES or low <= 0 < high:
        return None
    found: dict[Fraction, None] = {}
    for below in range(1, _FINEST + 1):
        for above in range(math.ceil(low * below), math.floor(high * below) + 1):
            if math.gcd(above, below) == 1:
                found[Fraction(above, below)] = None
        if len(found) >= _STRIDES:
            break
    return list(found)[:_STRIDES]
