"""When a model in training is probed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeAlias

from torchprobe.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["Schedule", "ScheduleLike"]

ScheduleLike: TypeAlias = "int | str | Iterable[int] | Schedule"
"""A schedule in short: 100, "100 steps", "epoch", "5 epochs", "log", or the steps themselves."""

_FORM = re.compile(r"(?:(\d+) )?(step|epoch)s?")
_IN_SHORT = "give a number of steps, '100 steps', 'epoch', '5 epochs', 'log' or a list of steps"


@dataclass(frozen=True)
class Schedule:
    """The steps and epochs at which a model is probed.

    A step is one of the optimizer, counted from 1: with accumulated gradients several forward
    passes belong to one. Step 0 is the model before training.

    Args:
        steps: every so many steps; 0 for none.
        epochs: at the end of every so many epochs; 0 for none.
        at: at these steps.
        per_decade: at so many steps in every tenfold, evenly spread on a logarithmic scale, from
            step 1 on: early training changes a network most.
        start: also before the first step.
        end: also after the last step.

    Raises:
        SettingError: a number is negative, or the model would never be probed.

    Example:
        >>> [step for step in range(1, 1001) if Schedule(per_decade=3).at_step(step)]
        [1, 2, 5, 10, 22, 46, 100, 215, 464, 1000]
    """

    steps: int = 0
    epochs: int = 0
    at: Collection[int] = ()
    per_decade: int = 0
    start: bool = True
    end: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", frozenset(self.at))
        for name in ("steps", "epochs", "per_decade"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise SettingError(f"{name}={value!r}; give a whole number, 0 for none")
        odd = [step for step in self.at if not isinstance(step, int) or step < 1]
        if odd:
            raise SettingError(f"at={odd[0]!r}; steps are whole numbers counted from 1")
        if not (self.steps or self.epochs or self.at or self.per_decade or self.start or self.end):
            raise SettingError(f"the model would never be probed; {_IN_SHORT}")

    @classmethod
    def parse(cls, every: ScheduleLike) -> Self | Schedule:
        """A schedule of any accepted form.

        Raises:
            SettingError: it cannot be read; says what can.

        Example:
            >>> Schedule.parse("5 epochs").epochs, Schedule.parse([10, 20]).at_step(20)
            (5, True)
        """
        if isinstance(every, Schedule):
            return every
        if isinstance(every, int) and every > 0:
            return cls(steps=every)
        if isinstance(every, str):
            return cls._worded(every)
        if hasattr(every, "__iter__"):
            return cls(at=frozenset(every))
        raise SettingError(f"every={every!r}; {_IN_SHORT}")

    @classmethod
    def _worded(cls, every: str) -> Self:
        if every == "log":
            return cls(per_decade=4)
        form = _FORM.fullmatch(every)
        number = int(form[1] or 1) if form else 0
        if form is None or not number:
            raise SettingError(f"every={every!r}; {_IN_SHORT}")
        return cls(steps=number) if form[2] == "step" else cls(epochs=number)

    def at_step(self, step: int) -> bool:
        """Whether the model is probed after a step."""
        if step < 1:
            return False
        if self.steps and step % self.steps == 0:
            return True
        return step in self.at or self._on_logarithmic_scale(step)

    def at_epoch(self, epoch: int) -> bool:
        """Whether the model is probed at the end of an epoch, counted from 1."""
        return bool(self.epochs) and epoch % self.epochs == 0

    def _on_logarithmic_scale(self, step: int) -> bool:
        """Whether a step is 10^(k / per_decade), rounded, for some k."""
        if not self.per_decade:
            return False
        near = math.log10(step) * self.per_decade
        return any(round(10 ** (k / self.per_decade)) == step for k in (int(near), int(near) + 1))
