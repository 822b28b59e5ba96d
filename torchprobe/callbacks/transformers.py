"""A callback for Hugging Face's Trainer."""

from __future__ import annotations

import functools
import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchprobe.callbacks.running import Running, trainer_of_type
from torchprobe.callbacks.sinks import sinks
from torchprobe.callbacks.trainers import NamedCallback
from torchprobe.errors import MissingExtraError
from torchprobe.history import History
from torchprobe.hooks import InertInCopies
from torchprobe.loading import Batch
from torchprobe.storage import INDEX
from torchprobe.training_loss import TrainingLoss

if TYPE_CHECKING:
    from torch import nn

    from torchprobe.callbacks.recorder import Recorder

__all__ = ["ProbeCallback"]  # noqa: F822 - by __getattr__


_ROUNDING = 1e-6
"""Of epochs, which the trainer counts in fractions."""


class _ProbeCallback(NamedCallback):
    """Probes a model while Hugging Face's Trainer trains it.

    Steps are those of the optimizer (``state.global_step``). Without a loader, labels and the
    attention mask are read from what the model is called with, and nothing else is needed;
    evaluations are not listened to. Numbers go to the trainer's log, and with it to all of its
    loggers. The history is saved in every checkpoint, and a resumed training goes on with it.

    The trainer tells callbacks nothing of an error, nor of Ctrl-C. To keep what was seen until
    then, and to have hooks off at once, put ``with callback:`` around ``trainer.train()``.

    Args:
        probe: of the model that the trainer is given, or of one of its modules.
        loader: what to probe on; None: on the training itself.
        name: tells several of these callbacks apart in a checkpoint.
        log: loggers; True for the trainer's own.
        options: those of `torchprobe.callbacks.Recorder`: ``every``, ``directory``, ...

    Raises:
        SettingError: options that contradict each other.
        MissingExtraError: transformers is not installed.
    """

    # -- the beginning and the end

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: nn.Module, **_: Any
    ) -> None:
        """Check that it is this model, and probe it as it is."""
        self._forget_earlier()
        self._check_model(model)
        compiled = getattr(args, "torch_compile", False)
        self._check_compiled(compiled, "Train with torch_compile=False")
        trainer = _trainer()
        self.running = None if trainer is None else Running(trainer)
        if self._log is True:
            self.recorder.sinks = [] if trainer is None else sinks(_Log(trainer))
        self._tell_scale(args, trainer)
        saved = self._place(args, state.global_step)
        if (saved / INDEX).exists() and not self.history:
            self.recorder.history = History.load(saved).until(state.global_step)
        self.recorder.begin(state.global_step, int(state.epoch or 0))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Training has ended well."""
        if not args.load_best_model_at_end:  # these are the weights of the last step
            self.recorder.last_step()
        self.recorder.close()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Put the history into the checkpoint."""
        place = self._place(args, state.global_step)
        if state.is_world_process_zero and place.parent.is_dir():
            self.history.save(place)

    def _place(self, args: Any, step: int) -> Path:
        return Path(args.output_dir) / f"checkpoint-{step}" / f"torchprobe-{self._name}"

    # -- steps

    def on_step_begin(
        self, args: Any, state: Any, control: Any, model: nn.Module, **_: Any
    ) -> None:
        """A step comes next: listen to its forward passes, if it is time."""
        listening = self.recorder.hear(Batch(None), admits=self._admission())
        if listening is not None:
            hook = _ReadsLabels(self.recorder)
            listening.callback(
                model.register_forward_pre_hook(hook, with_kwargs=True, prepend=True).remove
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The optimizer has made a step."""
        self.recorder.stepped(state.global_step)
        if state.global_step >= state.max_steps:  # now: the best weights may be loaded after it
            self.recorder.epoch = int(state.epoch + _ROUNDING)
            self.recorder.last_step()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """An epoch is over."""
        self.recorder.epoch_ended(round(state.epoch))

    def _tell_scale(self, args: Any, trainer: Any) -> None:
        """Let gradients be freed of what the trainer multiplies the loss by, where that is known.

        A model that divides by the number of items in all accumulated batches, or in those of all
        processes, itself does so by a number that is not told.
        """
        loss = self.recorder.probe.objective
        if not isinstance(loss, TrainingLoss):
            return
        steps = args.gradient_accumulation_steps
        by_itself = (
            trainer is None or trainer.model_accepts_loss_kwargs or trainer.compute_loss_func
        )
        together = args.world_size > 1 and getattr(args, "average_tokens_across_devices", False)
        reduction = None if by_itself and (steps > 1 or together) else loss.reduction
        scaler = loss.scaler
        if args.fp16:
            accelerator = getattr(trainer, "accelerator", None)
            scaler = getattr(accelerator, "scaler", None) or scaler or "unknown"
        told = replace(loss, reduction=reduction, divided_by=float(steps), scaler=scaler)
        self.recorder.probe.objective = told


class _ReadsLabels(InertInCopies):
    """A forward pre-hook that tells the probe what the model is called with."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = weakref.ref(recorder)

    def __call__(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        recorder = self.recorder()
        if recorder is not None:
            recorder.say(recorder.unpack(kwargs))


class _Log:
    """The trainer's own log, as a function."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = weakref.ref(trainer)

    def __call__(self, numbers: dict[str, float], step: int) -> None:
        trainer = self.trainer()
        if trainer is not None:
            due = trainer.control.should_log
            trainer.log(dict(numbers))
            trainer.control.should_log = due  # logging ours must not stand in for the trainer's


def _trainer() -> Any:
    """The trainer that is calling this callback; it does not introduce itself."""
    import transformers

    return trainer_of_type(transformers.Trainer)


@functools.cache
def _made() -> type:
    """The callback as a subclass of what the trainer expects."""
    try:
        from transformers import TrainerCallback as Base
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "this callback needs transformers and accelerate: "
            "pip install 'torchprobe[transformers]'"
        ) from error
    attributes = {"__doc__": _ProbeCallback.__doc__, "__module__": __name__}
    return type("ProbeCallback", (_ProbeCallback, Base), attributes)


def __getattr__(name: str) -> Any:
    if name == "ProbeCallback":  # made when asked for: importing torchprobe must stay light
        return _made()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
