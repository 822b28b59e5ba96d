"""Handlers for Ignite's engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torchprobe.callbacks.recorder import Recorder
from torchprobe.callbacks.running import Running
from torchprobe.callbacks.trainers import TrainerCallback
from torchprobe.errors import MissingExtraError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["ProbeCallback"]


class ProbeCallback(TrainerCallback):
    """Probes a model while an Ignite engine trains it.

    Steps are iterations of the engine. Without a loader, the engine's batches are read by
    ``unpack``, and what the model does between iterations is not listened to. An engine that fails
    tells nobody, unless someone listens to ``Events.EXCEPTION_RAISED`` and so keeps the error to
    himself: put ``with callback:`` around ``engine.run()``, to keep what was seen until then and to
    have hooks off at once.

    Args:
        probe: of the model.
        loader: what to probe on; None: on the training itself.
        options: those of `torchprobe.callbacks.Recorder`: ``every``, ``directory``, ``log``, ...

    Example:
        >>> import torch, torchprobe as tp
        >>> from ignite.engine import Engine
        >>> from torchprobe.callbacks.ignite import ProbeCallback
        >>> model = torch.nn.Linear(3, 2)
        >>> engine = Engine(lambda engine, batch: model(batch).sum().item())
        >>> probe = tp.Probe(model, analyzers=["activation_sample"])
        >>> callback = ProbeCallback(probe, every=2).attach(engine)
        >>> with callback:
        ...     _ = engine.run([torch.eye(3), torch.ones(4, 3)], max_epochs=2)
        >>> callback.history.steps
        (2, 4)
    """

    def __init__(self, probe: Any, loader: Any = None, **options: Any) -> None:
        self._bind(Recorder(probe, loader, **options))

    def attach(self, engine: Any) -> Self:
        """Listen to an engine's events.

        Raises:
            MissingExtraError: Ignite is not installed.
        """
        try:
            from ignite.engine import Events
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "this callback needs Ignite: pip install 'torchprobe[ignite]'"
            ) from error
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.ITERATION_STARTED, self._before_step)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._after_step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._after_epoch)
        engine.add_event_handler(Events.COMPLETED, self._ended)
        engine.add_event_handler(Events.TERMINATE, self._ended)
        return self

    def _started(self, engine: Any) -> None:
        self._forget_earlier()
        self.running = Running(engine)
        self.recorder.begin(engine.state.iteration, engine.state.epoch)

    def _before_step(self, engine: Any) -> None:
        if self.recorder.listens:
            batch = self.recorder.unpack(engine.state.batch)
            self.recorder.hear(batch, admits=self._admission())

    def _after_step(self, engine: Any) -> None:
        self.recorder.stepped(engine.state.iteration)

    def _after_epoch(self, engine: Any) -> None:
        self.recorder.epoch_ended(engine.state.epoch)

    def _ended(self, engine: Any) -> None:
        self.recorder.end()
