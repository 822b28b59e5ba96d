"""How strong the topographic loss is while training goes on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torchprobe.errors import SettingError

__all__ = ["Ramp", "Schedule"]

Schedule: TypeAlias = Callable[[int], float]
"""From optimiser steps done so far to the strength of the loss."""


@dataclass(frozen=True)
class Ramp:
    """From one strength to another, then constant.

    Args:
        end: strength after the ramp.
        steps: how many optimiser steps the ramp takes.
        start: strength before it; larger than ``end`` for one that fades.
        delay: steps before it begins.
        shape: "linear", or "cosine", which begins and ends gently.

    Raises:
        SettingError: a negative strength or delay, no step, or an unknown shape.

    Example:
        >>> ramp = Ramp(0.1, steps=100, delay=50)
        >>> [ramp(step) for step in (0, 50, 100, 150, 10_000)]
        [0.0, 0.0, 0.05, 0.1, 0.1]
    """

    end: float
    steps: int
    start: float = 0.0
    delay: int = 0
    shape: Literal["linear", "cosine"] = "linear"

    def __post_init__(self) -> None:
        if min(self.start, self.end, self.delay) < 0 or self.steps < 1:
            raise SettingError(f"{self}: strengths and delay must be 0 or more, steps 1 or more")
        if self.shape not in ("linear", "cosine"):
            raise SettingError(f"shape={self.shape!r}; choose 'linear' or 'cosine'")

    def __call__(self, step: int) -> float:
        """The strength after so many optimiser steps."""
        done = min(max(step - self.delay, 0) / self.steps, 1.0)
        if self.shape == "cosine":
            done = (1 - math.cos(math.pi * done)) / 2
        return self.start + (self.end - self.start) * done
