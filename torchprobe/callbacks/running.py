"""Whether a training is still going on, where its trainer does not say so."""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["Running", "trainer_of_type"]


class Running:
    """Tells whether the call of a trainer, in which this was made, is still being executed.

    Trainers do not always tell callbacks of their end: Lightning stops telling when another
    callback raises, Hugging Face's says nothing of any error. Hooks that were left then must not
    record what the user does with the model next. Python's own stack knows.

    Args:
        trainer: whose method is being executed.

    Example:
        >>> class Trainer:
        ...     def fit(self):
        ...         running = Running(self)
        ...         return running, running()
        >>> trainer = Trainer()
        >>> running, before = trainer.fit()
        >>> before, running()
        (True, False)
    """

    def __init__(self, trainer: Any) -> None:
        outermost = [frame for frame in _stack() if frame.f_locals.get("self") is trainer]
        self._code = outermost[-1].f_code if outermost else None
        self._trainer = weakref.ref(trainer)

    def __call__(self) -> bool:
        """Whether that call is on the stack of this thread; true where it never was."""
        if self._code is None:
            return True
        same = (frame for frame in _stack() if frame.f_code is self._code)
        return any(frame.f_locals.get("self") is self._trainer() for frame in same)


def trainer_of_type(kind: type) -> Any:
    """The object of some type whose method is being executed, for callbacks that are not told."""
    found = (frame.f_locals.get("self") for frame in _stack())
    return next((each for each in found if isinstance(each, kind)), None)


def _stack() -> Iterator[FrameType]:
    """The frames of this thread, from the innermost."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        yield frame
        frame = frame.f_back
