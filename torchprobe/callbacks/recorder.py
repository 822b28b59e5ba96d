"""What the callbacks of all trainers have in common: when to probe, on what, what to keep."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from torch import Tensor

from torchprobe.callbacks.bystanders import untouched
from torchprobe.callbacks.schedule import Schedule, ScheduleLike
from torchprobe.callbacks.sinks import sinks
from torchprobe.distributed import place
from torchprobe.errors import EmptyStateError, IncompleteWarning, SettingError
from torchprobe.history import History
from torchprobe.loading import Batch, unpack
from torchprobe.storage import INDEX

if TYPE_CHECKING:
    import os

    from torchprobe.probe import Probe
    from torchprobe.results import Results

__all__ = ["Recorder"]

_probing = ContextVar("probing", default=False)
"""Whether a recorder runs the model over its loader: no pass of the training that others hear."""


class Recorder:
    """Probes a model in training and keeps a `History`; trainers' callbacks tell it what happens.

    Args:
        probe: of the model that is trained, or a part of it.
        loader: what the model is probed on, each time as by `Probe.run`: a loader, or several by
            split; in eval mode, leaving training as it was. None: on the training itself, its
            activations in train mode as they come and, for analyzers that read gradients, those of
            the training loss (``Probe(..., objective=tp.TrainingLoss("mean"))``).
        every: a `Schedule`, or one in short: 100 or "100 steps", "epoch", "5 epochs", "log", or a
            list of steps.
        window: without a loader, how many steps up to the one that is due are listened to; the due
            one by default, or the whole epoch where epochs are due.
        history: one to go on with; a new one by default.
        directory: where every result is saved at once; one in which an interrupted training has
            saved its results is gone on with, from the step at which that is resumed.
        log: loggers that get the single numbers, tagged ``analyzer/layer/name``; see `sinks`.
        prefix: of the tags.
        unpack: turns a batch of training or of the loader into a `torchprobe.Batch`.
        max_batches: of the loader, each time.
        shard: whether several processes share out the loader; False where each has a part already.
        progress: whether passes over the loader show a progress bar.

    Raises:
        SettingError: options that contradict each other.
    """

    def __init__(
        self,
        probe: Probe,
        loader: Iterable[Any] | Mapping[str, Iterable[Any]] | None = None,
        *,
        every: ScheduleLike = "epoch",
        window: int | None = None,
        history: History | None = None,
        directory: str | os.PathLike[str] | None = None,
        log: Any = None,
        prefix: str = "",
        unpack: Callable[[Any], Batch] = unpack,
        max_batches: int | None = None,
        shard: bool = True,
        progress: bool = False,
    ) -> None:
        self.probe = probe
        self.loaders = _by_split(loader)
        self.schedule = Schedule.parse(every)
        self.window = self._checked_window(window)
        if history is not None and directory is not None:
            raise SettingError("give history= or directory=, not both; a history has its own")
        self.history = _opened(directory) if history is None else history
        self.sinks, self.prefix = sinks(log), prefix
        self.unpack = unpack
        self._run: dict[str, Any] = {
            "max_batches": max_batches,
            "shard": shard,
            "progress": progress,
            "unpack": unpack,
        }
        self.step, self.epoch = 0, 0
        self._stride = 1
        """How many steps were last made at once, as trainers with several optimizers count."""
        self._listening: ExitStack | None = None
        self._said = ExitStack()
        self._underway = False
        """Whether something may have been seen that is in no result yet."""
        self._resumed = False
        """Whether a checkpoint has brought some of it."""

    def _checked_window(self, window: int | None) -> int | None:
        if window is None:
            return None
        if self.loaders or self.schedule.epochs or window < 1:
            raise SettingError(
                f"window={window!r} says how many training steps are listened to before each that "
                "is due; give a positive number, a schedule of steps, and no loader"
            )
        return window

    @property
    def on_training(self) -> bool:
        """Whether the training itself is probed, not a loader."""
        return not self.loaders

    @property
    def listens(self) -> bool:
        """Whether the step that is being made is to be listened to."""
        if not self.on_training:
            return False
        if self.schedule.at_epoch(self.epoch + 1):
            return True
        ahead = range(1, 1 + (self.window or 1) * self._stride)
        return any(self.schedule.at_step(self.step + k) for k in ahead)

    # -- what a trainer tells

    def begin(self, step: int = 0, epoch: int = 0) -> None:
        """Training begins, or goes on after a step; later results of an earlier try are forgotten.

        Raises:
            SettingError: it begins anew, but results of an earlier training are saved; or the
                loader cannot be used, as by `Probe.run`.
        """
        self.close()
        self._underway, self._resumed = self._resumed, False
        if not _first_process():
            self.history.directory = None  # the results are the same in all processes
        self.history = self._as_of(step)
        self.step, self.epoch, self._stride = step, epoch, 1
        if self.loaders and self.schedule.start and step == 0 and not self.history:
            self.record()

    def _as_of(self, step: int) -> History:
        """The history up to a step, from which training goes on."""
        history = self.history
        if not history or history.steps[-1] <= step:
            return history
        if history.directory is not None and step == 0:
            raise SettingError(
                f"{str(history.directory)!r} holds results up to step {history.steps[-1]} of a "
                "training, and this one begins at step 0; choose another directory, or resume "
                "that training from its checkpoint"
            )
        if history.directory is None:  # whoever holds the old one keeps it
            history = history.until(step)
        history.truncate(step)
        return history

    def hear(self, batch: Batch, *, admits: Callable[[], bool] = lambda: True) -> ExitStack | None:
        """Listen to the forward and backward passes that follow, if it is time; until `unhear`.

        Args:
            batch: what is known of them; `say` may know more later.
            admits: asked before each forward pass.

        Returns:
            What is closed with `unhear`; None where nothing is due.
        """
        self.unhear()
        if not self.listens:
            return None
        if not self._underway:
            self.probe.renew()
        with ExitStack() as stack:
            stack.callback(self.probe.detach)
            self.probe.attach(admits=lambda: not _probing.get() and admits())
            stack.callback(self._said.close)
            self.say(batch)
            self._listening = stack.pop_all()
        self._underway = True
        return self._listening

    def say(self, batch: Batch) -> None:
        """What is known of the forward passes that follow."""
        self._said.close()
        labels = batch.labels if self._reads(batch.labels) else None
        told = {"lengths": batch.lengths, "mask": batch.mask, "ids": batch.ids}
        self._said.enter_context(self.probe.batch(labels, **told))

    def _reads(self, labels: Any) -> bool:
        """Whether labels are of use; targets of a regression are not, unless someone asks."""
        needed = any(each.needs_labels for each in self.probe.analyzers.values())
        return needed or not (isinstance(labels, Tensor) and labels.is_floating_point())

    def unhear(self) -> None:
        """The passes are over: take the hooks off."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.close()

    def stepped(self, step: int | None = None) -> None:
        """The optimizer has made a step, the next one or the one of this number."""
        self.unhear()
        before, self.step = self.step, self.step + 1 if step is None else step
        self._stride = max(1, self.step - before)
        if any(map(self.schedule.at_step, range(before + 1, self.step + 1))):
            self.record()

    def epoch_ended(self, epoch: int | None = None) -> None:
        """An epoch is over, the next one or the one of this number, from 1."""
        self.unhear()
        self.epoch = self.epoch + 1 if epoch is None else epoch
        if self.schedule.at_epoch(self.epoch):
            self.record()

    def end(self) -> None:
        """Training has come to its end."""
        self.last_step()
        self.close()

    def last_step(self) -> None:
        """The step made last is the last of all."""
        self.unhear()
        if self.schedule.end and (self.loaders or self._underway):
            self.record()

    def fail(self, error: BaseException | None) -> None:
        """Training has ended otherwise: hooks come off, what was seen is kept and marked."""
        why = "without notice" if error is None else f"with {type(error).__name__}"
        try:
            self._detach()
            self._keep_rest(f"training ended {why} in step {self.step + 1}")
        except Exception as trouble:  # noqa: BLE001 - the user's own error matters more
            message = f"what was seen before training ended {why} is lost: {trouble!r:.300}"
            warnings.warn(message, IncompleteWarning, stacklevel=2)

    def _keep_rest(self, why: str) -> None:
        """What is in no result yet, if there is anything, and why it is not complete."""
        underway, self._underway = self._underway, False
        if not underway or not self.probe.coverage.forwards:
            return
        _refuse_to_wait_for_others()
        self.probe.coverage.notes.append(why)
        self._keep(self.step + 1, self.probe.results())

    def close(self) -> None:
        """Leave nothing on the model; harmless at any time."""
        self._detach()
        self._underway = False

    def _detach(self) -> None:
        try:
            self.unhear()
        finally:
            self.probe.detach()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, as tensors, text and numbers: also what is in no result yet."""
        underway = self._underway and self.on_training
        return {
            "step": self.step,
            "epoch": self.epoch,
            "history": self.history.state_dict(),
            "probe": self.probe.state_dict() if underway else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint, with the results that had been found by then.

        Raises:
            FileFormatError: it is not such a state.
        """
        self.close()
        self.history.load_state_dict(state["history"])
        self.step, self.epoch = state["step"], state["epoch"]
        if state["probe"] is not None:
            self.probe.load_state_dict(state["probe"])
        self._resumed = state["probe"] is not None

    # -- what it does

    def record(self) -> None:
        """Probe now, or take what was seen of training, unless that was done after this step."""
        if self.history and self.history.steps[-1] >= self.step:
            return
        results = self._probed() if self.loaders else self._heard()
        if results is not None:
            self._keep(self.step, results)

    def _probed(self) -> Results:
        self._underway = True
        token = _probing.set(True)
        try:
            with untouched(self.loaders.values()):
                results = self.probe.run(**self.loaders, **self._run)  # type: ignore[arg-type]
        finally:
            _probing.reset(token)
        self._underway = False
        return results

    def _heard(self) -> Results | None:
        """What was seen of training since the last results."""
        underway, self._underway = self._underway, False
        try:
            return self.probe.results() if underway else _untold()
        except EmptyStateError as error:
            message = f"training step {self.step} is in no result: {error}"
            if not self.history:  # a mistake in the set-up shows at the first
                raise EmptyStateError(message) from error
            warnings.warn(message, IncompleteWarning, stacklevel=2)
            return None

    def _keep(self, step: int, results: Results) -> None:
        self.history.append(step, results, self.epoch)
        if self.sinks and _first_process():
            numbers = {f"{self.prefix}{tag}": value for tag, value in results.scalars().items()}
            for log in self.sinks:
                log(numbers, step)


def _untold() -> NoReturn:
    raise EmptyStateError(
        "the probe was told of no forward pass; say which ones to listen to: "
        "`with loop.batch(labels=...)`"
    )


def _opened(directory: str | os.PathLike[str] | None) -> History:
    """A new history, or the one that an interrupted training has saved."""
    saved = directory is not None and (Path(directory) / INDEX).exists()
    return History.load(directory) if directory is not None and saved else History(directory)


def _by_split(loader: Any) -> dict[str, Iterable[Any]]:
    if loader is None:
        return {}
    return dict(loader) if isinstance(loader, Mapping) else {"fit": loader}


def _several_processes() -> bool:
    return place()[1] > 1


def _first_process() -> bool:
    return place()[0] == 0


def _refuse_to_wait_for_others() -> None:
    """Results are merged over processes, and this one fails alone."""
    if _several_processes():
        raise RuntimeError("it is spread over several processes, of which this one has failed")
