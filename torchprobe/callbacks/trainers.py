"""What callbacks of trainers share beyond `Recorder`: checks of the model, clean-up at any end."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Self

from torchprobe.callbacks.recorder import Recorder
from torchprobe.errors import AttachError, CompileError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from torch import nn

    from torchprobe.callbacks.running import Running
    from torchprobe.history import History

__all__ = ["NamedCallback", "TrainerCallback"]


class TrainerCallback:
    """The part of a trainer's callback that does not depend on the trainer.

    The callback is a context manager as well: ``with callback: trainer.fit(...)`` cleans up
    whatever happens. Without that, hooks that an error has left are taken off when the trainer says
    so, when the model is called next outside of the training, when the next training begins, or
    when the callback is forgotten.
    """

    recorder: Recorder
    running: Running | None
    """Whether the training of which the trainer told is still going on."""

    def _bind(self, recorder: Recorder) -> None:
        self.recorder, self.running = recorder, None
        self._finalizer = weakref.finalize(self, recorder.close)

    @property
    def history(self) -> History:
        """What was found so far."""
        self.still_training()
        return self.recorder.history

    def close(self) -> None:
        """Take everything off the model; harmless at any time."""
        self.recorder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.recorder.close()
        else:
            self.recorder.fail(error)

    def _admission(self) -> Callable[[], bool]:
        """What says before a forward pass whether it is one of the training; holds self weakly."""
        me = weakref.ref(self)

        def admits() -> bool:
            callback = me()
            return callback is not None and callback.still_training()

        return admits

    def still_training(self) -> bool:
        """Whether training goes on; if it has ended without a word, so does listening."""
        if self.running is None or self.running():
            return True
        self.running = None
        self.recorder.fail(None)
        return False

    def _forget_earlier(self) -> None:
        """An error may have ended the training before without a word."""
        self.still_training()
        self.running = None
        self.recorder.close()

    def _check_model(self, model: nn.Module) -> None:
        """Refuse a probe of another model than the one in training.

        Raises:
            AttachError: it is another model.
        """
        probed = self.recorder.probe.model
        probed = getattr(probed, "_orig_mod", probed)
        if not any(module is probed for module in model.modules()):
            raise AttachError(
                f"the probe is of a {type(probed).__name__} that is not part of the "
                f"{type(model).__name__} in training; make the probe of the model that is given "
                "to the trainer, or of one of its modules, not of a copy"
            )

    def _check_compiled(self, compiled: Any, remedy: str) -> None:
        """Refuse to listen to forward passes that run compiled, beside the module's back.

        Raises:
            CompileError: hooks would be ignored in silence.
        """
        if compiled and self.recorder.on_training:
            raise CompileError(
                "the trainer runs a compiled copy of the model, in which hooks attached now would "
                f"be ignored in silence. {remedy}, or probe on a loader, for which the model runs "
                "uncompiled: ProbeCallback(probe, loader)"
            )


class NamedCallback(TrainerCallback):
    """A callback of a trainer that has checkpoints and loggers of its own.

    Args:
        probe: of the model in training, or of one of its modules.
        loader: what to probe on; None: on the training itself.
        name: tells several callbacks apart in a checkpoint.
        log: loggers; True for the trainer's own, which it has once training begins.
        options: those of `torchprobe.callbacks.Recorder`.
    """

    def __init__(
        self,
        probe: Any,
        loader: Any = None,
        *,
        name: str = "probe",
        log: Any = True,
        **options: Any,
    ) -> None:
        super().__init__()
        self._bind(Recorder(probe, loader, log=None if log is True else log, **options))
        self._log, self._name = log, name
