"""Receptive fields by exact arithmetic on stacks of known operations, position by position."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Window:
    """A convolution or pooling: output i sees inputs stride·i − padding + dilation·k, k < size."""

    size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    rate = property(lambda self: Fraction(self.stride))

    def seen(self, position):
        start = self.stride * position - self.padding
        return [start + self.dilation * k for k in range(self.size)]


@dataclass(frozen=True)
class Transposed:
    """A transposed convolution: input a reaches outputs stride·a − padding + dilation·k."""

    size: int
    stride: int
    padding: int = 0
    dilation: int = 1

    rate = property(lambda self: Fraction(1, self.stride))

    def seen(self, position):
        reached = [position + self.padding - self.dilation * k for k in range(self.size)]
        return [at // self.stride for at in reached if at % self.stride == 0]


@dataclass(frozen=True)
class Repeat:
    """Upsampling by repetition: output i is input ⌊i / factor⌋."""

    factor: int

    rate = property(lambda self: Fraction(1, self.factor))

    def seen(self, position):
        return [position // self.factor]


def stride(operations):
    """Input positions from one output position to the next."""
    return math.prod((operation.rate for operation in operations), start=Fraction(1))


def seen(operations, position):
    """All input positions that an output position sees, if the input had no ends."""
    positions = {position}
    for operation in reversed(operations):
        positions = {each for at in positions for each in operation.seen(at)}
    return positions


def period(operations):
    """A number of output positions after which what they see repeats, shifted."""
    return math.prod(operation.rate.denominator for operation in operations)


def span(operations, position):
    """The first and last input position seen."""
    positions = seen(operations, position)
    return min(positions), max(positions)


def field(operations):
    """The most input positions from the first to the last one that an output position sees."""
    ends = [span(operations, at) for at in range(period(operations))]
    return max(last - first + 1 for first, last in ends)


def offset(operations):
    """The input position that output position 0 stands for: the mean middle over a period."""
    middles = [
        Fraction(sum(span(operations, at)), 2) - stride(operations) * at
        for at in range(period(operations))
    ]
    return sum(middles) / len(middles)
