"""A callback for Lightning, under either of its names, ``lightning`` and ``pytorch_lightning``."""

from __future__ import annotations

import functools
import sys
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from torchprobe.callbacks.running import Running
from torchprobe.callbacks.sinks import sinks
from torchprobe.callbacks.trainers import NamedCallback
from torchprobe.errors import MissingExtraError
from torchprobe.training_loss import TrainingLoss

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ProbeCallback", "package"]  # noqa: F822 - by __getattr__

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")


class _ProbeCallback(NamedCallback):
    """Probes a model while Lightning trains it.

    Steps are those of the optimizer (``trainer.global_step``). Sanity checks, validation, tests
    and passes over example inputs are not listened to. Numbers go to the trainer's loggers. The
    history is part of the trainer's checkpoints, and a resumed training goes on with it.

    Args:
        probe: of the LightningModule, or of one of its modules.
        loader: what to probe on; None: on the training itself, batches being read by ``unpack``.
        name: tells several of these callbacks apart in a checkpoint.
        log: loggers; True for the trainer's own.
        options: those of `torchprobe.callbacks.Recorder`: ``every``, ``directory``, ...

    Raises:
        SettingError: options that contradict each other.
        MissingExtraError: Lightning is not installed.

    Example:
        >>> import torch, torchprobe as tp
        >>> from torchprobe.callbacks.lightning import ProbeCallback
        >>> probe = tp.Probe(torch.nn.ReLU(), analyzers=["class_selectivity"])
        >>> callback = ProbeCallback(probe, [(torch.eye(3), [0, 1, 0])], every="epoch")
        >>> callback.state_key
        'torchprobe:probe'
    """

    _compiled = False
    """Whether the LightningModule runs compiled."""

    @property
    def state_key(self) -> str:
        """Under which a checkpoint keeps the state."""
        return f"torchprobe:{self._name}"

    def state_dict(self) -> dict[str, Any]:
        """The history, as tensors, text and numbers."""
        return self.recorder.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on with the history of a checkpoint."""
        self.recorder.load_state_dict(state_dict)

    # -- the beginning and the ends

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Check that it is this model, and that it can be listened to."""
        self._forget_earlier()
        self._check_model(pl_module)
        self._compiled = getattr(pl_module, "_compiler_ctx", None) is not None
        if self.recorder.probe.compiles != "eager":
            self._check_compiled(self._compiled, "Make the probe with compile='eager'")

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """After the sanity check: probe the model as it is."""
        self.running = Running(trainer)
        if self._log is True:
            self.recorder.sinks = sinks(trainer.loggers)
        self.recorder.begin(trainer.global_step, trainer.current_epoch)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Training has ended well."""
        self.recorder.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Training has not."""
        self.recorder.fail(exception)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Whatever comes before or after: nothing stays on the model."""
        self.recorder.close()

    # -- batches

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """The training step comes next: listen to it, if it is time."""
        if not self.recorder.listens:
            return
        self._tell_scale(trainer)
        batch = self.recorder.unpack(batch)
        listening = self.recorder.hear(batch, admits=self._admission())
        if listening is not None and self._compiled:
            listening.enter_context(torch.compiler.set_stance("force_eager"))

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """A batch is done, and with it a step unless gradients accumulate further."""
        self.recorder.unhear()
        if trainer.global_step > self.recorder.step:
            self.recorder.stepped(trainer.global_step)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """An epoch is over."""
        self.recorder.epoch_ended(trainer.current_epoch + 1)

    def _tell_scale(self, trainer: Any) -> None:
        """Let gradients be freed of what the trainer multiplies the loss by."""
        loss = self.recorder.probe.objective
        if isinstance(loss, TrainingLoss):
            automatic = trainer.lightning_module.automatic_optimization
            divided_by = trainer.accumulate_grad_batches if automatic else loss.divided_by
            scaler = getattr(trainer.precision_plugin, "scaler", None)
            known = replace(loss, divided_by=float(divided_by), scaler=scaler or loss.scaler)
            self.recorder.probe.objective = known


@functools.cache
def _made(bases: tuple[type, ...]) -> type:
    """The callback as a subclass of what the trainer expects."""
    attributes = {"__doc__": _ProbeCallback.__doc__, "__module__": __name__}
    return type("ProbeCallback", (_ProbeCallback, *bases), attributes)


def package() -> Any:
    """The Lightning in use, as a module; if none is yet, one that is installed.

    Raises:
        MissingExtraError: none is.
    """
    return _packages()[0]


def _packages() -> list[Any]:
    loaded = [sys.modules[name] for name in _PACKAGES if sys.modules.get(name) is not None]
    return loaded or [_installed()]


def _installed() -> Any:
    for name in _PACKAGES:
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in (name, name.partition(".")[0]):
                raise  # it is there, but something that it needs is not
    raise MissingExtraError(
        "this callback needs Lightning: pip install 'torchprobe[lightning]', or "
        "pip install pytorch-lightning"
    )


def __getattr__(name: str) -> Any:
    if name == "ProbeCallback":  # made when asked for: importing torchprobe must stay light
        return _made(tuple(each.Callback for each in _packages()))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
