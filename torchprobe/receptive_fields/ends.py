"""Where what each position of a layer sees ends, from which positions change with the input.

Replacing the input from position p on changes a layer's position i if and only if the last input
position that i sees is p or later. So each question bounds the last position seen, of every i at
once. What layers see repeats along the input: after u positions of the layer, d positions of the
input further on (u = 1 but for upsampling). So one question speaks of all periods, and a few pin
the end down.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import torch

from torchprobe.positions import BEYOND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

__all__ = ["Ends", "Period"]

_CONFIRMATIONS = 3
"""In how many places what lies beyond the end must be found unseen, each time with other noise: one
path through rectifiers may be dead, those of several places hardly are."""


class Period(NamedTuple):
    """Positions of the layer, and of the input, after which what is seen repeats."""

    layer: int
    input: int

    @property
    def stride(self) -> Fraction:
        """Positions of the input from one of the layer to the next."""
        return Fraction(self.input, self.layer)


class Ends:
    """What is known of the last input position that each position of a layer sees.

    The first position seen is the last one where both are counted from the far end.

    Args:
        n: positions of the layer.
        size: positions of the input.
    """

    def __init__(self, n: int, size: int) -> None:
        self.n, self.size = n, size
        self.least = torch.full((n,), -BEYOND)
        """A position that is seen, or comes before one that is."""
        self.most = torch.full((n,), BEYOND)
        """A position after which nothing was found to be seen."""
        self.asked: set[int] = set()
        self.blind = torch.zeros(n, dtype=torch.bool)
        """Positions that see nothing of the input."""
        self.inner: Tensor | None = None
        """The positions away from the borders, where the others must not be trusted: padding may
        show them the input again, mirrored or from its other end."""
        self.given_up = False
        """Whether it counts as open whatever is found."""
        self.far = size
        """The input from here on is seen by no position."""
        self._unseen: list[tuple[int, Tensor]] = []

    def learn(self, at: int, changed: Tensor) -> None:
        """Positions that did, or did not, change when the input from ``at`` on was replaced.

        What did not change although something further on is seen was missed. Where nothing
        changed, a strided layer has left over the end of the input, and no position tells anything.
        """
        self.asked.add(at)
        if not bool(changed.any()):
            self.far = min(self.far, at)
            return
        self._unseen.append((at, ~changed))
        self.least = torch.where(changed, self.least.clamp(min=at), self.least)
        self.most = torch.full((self.n,), BEYOND)
        for place, unseen in self._unseen:
            believed = unseen & (self.least < place)
            self.most = torch.where(believed, self.most.clamp(max=place - 1), self.most)
        if at == 0:
            self.blind = ~changed

    @property
    def touching(self) -> Tensor:
        """Which positions see the last of what any position is known to see: bool [position]."""
        return self.least >= self.least.max()

    @property
    def open(self) -> bool:
        """Whether there is no end: all positions see the end of the input."""
        if self.given_up or self.far == 0:
            return True
        at_the_end = int(self.least.max()) == self.far - 1
        return at_the_end and bool((self.touching | self.blind).all())

    @property
    def free(self) -> Tensor:
        """Positions whose field ends within the input: bool [position].

        From the first that touches the end on, the last that is seen may be anywhere: beyond the
        end, where a dilated convolution may see padding only.
        """
        if self.inner is not None:
            return self.inner & ~self.blind
        touched = self.touching.cumsum(0) > 0
        return ~touched & ~self.blind

    def by_phase(self, period: Period) -> tuple[Tensor, Tensor]:
        """Least and most of the first position of each phase: both int64 [phase].

        Where the least is above the most, what is seen does not repeat with this period, or a
        dependence was missed.
        """
        at = torch.arange(self.n) // period.layer * period.input
        seen = ~self.blind if self.inner is None else self.free
        least = (self.least - at).masked_fill(~seen, -BEYOND)
        most = (self.most - at).masked_fill(~self.free, BEYOND)
        fill = -self.n % period.layer
        return (
            torch.cat([least, least.new_full((fill,), -BEYOND)]).view(-1, period.layer).amax(0),
            torch.cat([most, most.new_full((fill,), BEYOND)]).view(-1, period.layer).amin(0),
        )

    def contradicts(self, period: Period) -> bool:
        """Whether what was found cannot repeat with this period, or ends nowhere that it could."""
        least, most = self.by_phase(period)
        return not bool(self.free.any()) or bool((least > most).any())

    def open_questions(self, period: Period) -> Iterator[range]:
        """Where to ask next: anywhere in each range; nothing where all is known and confirmed."""
        least, most = self.by_phase(period)
        for phase, (low, high) in enumerate(zip(least.tolist(), most.tolist(), strict=True)):
            if high == BEYOND > -low:
                yield from self.furthest()
            elif low < high < BEYOND and low > -BEYOND:
                yield from self._shifted(period, phase, low + 1, high)
            elif low == high and self._confirmations(period, phase, low + 1) < _CONFIRMATIONS:
                yield from self._shifted(period, phase, low + 1, low + 1)

    def furthest(self) -> Iterator[range]:
        """Questions that tell how far positions see at all, where that is not known."""
        seen = int(self.least.max()) + 1
        if seen < self.far:
            yield range(seen, self.far)

    @property
    def endless(self) -> bool:
        """Whether no end was met yet."""
        return not bool(((self.most < BEYOND) & self.free).any())

    def _shifted(self, period: Period, phase: int, low: int, high: int) -> Iterator[range]:
        """The range moved by whole periods to where it was not asked yet, near the middle."""
        places = [
            (abs(2 * start - self.size), start)
            for start in self._starts(period, phase, low)
            if start not in self.asked and start + high - low < self.size
        ]
        if places:
            start = min(places)[1]
            yield range(start, start + high - low + 1)

    def _starts(self, period: Period, phase: int, at: int) -> range:
        """Where ``at`` of the first position of a phase comes to lie for all its positions."""
        last = (self.n - 1 - phase) // period.layer
        skipped = max(0, -(at // period.input))
        return range(
            at + skipped * period.input,
            min(at + last * period.input + 1, self.size),
            period.input,
        )

    def _confirmations(self, period: Period, phase: int, at: int) -> int:
        return len(self.asked.intersection(self._starts(period, phase, at)))

    def slopes(self, slack: int = 1) -> tuple[Fraction, Fraction]:
        """The smallest and largest stride that what was found leaves possible.

        Args:
            slack: by how much ends may stray from a straight line, as after an upsampling.
        """
        steps = self._steps()
        pairs = [(one, two) for one in steps for two in steps if one[0] < two[0]]
        up = [
            Fraction(high - low + slack, right - left)
            for (left, low, _), (right, _, high) in pairs
            if high < BEYOND
        ]
        down = [
            Fraction(low - high - slack, right - left)
            for (left, _, high), (right, low, _) in pairs
            if high < BEYOND
        ]
        return max(down, default=Fraction(0)), min(up, default=Fraction(BEYOND))

    def _steps(self) -> list[tuple[int, int, int]]:
        """(position, least, most) where either changes from one position to the next."""
        seen = (~self.blind if self.inner is None else self.free).nonzero().flatten()
        least, most = self.least[seen], self.most.masked_fill(~self.free, BEYOND)[seen]
        moved = (least.diff() != 0) | (most.diff() != 0)
        end = moved.new_ones(1)
        kept = torch.cat([end, moved]) | torch.cat([moved, end])
        return list(
            zip(seen[kept].tolist(), least[kept].tolist(), most[kept].tolist(), strict=True)
        )

    def far_apart(self) -> Iterator[range]:
        """Questions that tell the stride: about the positions furthest apart that have an end."""
        known = ((self.most < BEYOND) & self.free).nonzero().flatten().tolist()
        for at in {known[0], known[-1]} if known else ():
            low, high = int(self.least[at]) + 1, int(self.most[at])
            if low <= high:
                yield range(low, high + 1)
