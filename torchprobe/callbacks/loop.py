"""A probe in a training loop of one's own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from torchprobe.callbacks.recorder import Recorder
from torchprobe.errors import SettingError
from torchprobe.loading import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from torchprobe.history import History

__all__ = ["Loop"]


class Loop:
    """Probes a model in a training loop of one's own: three lines.

    ``with`` the loop around the training, `step` after each step of the optimizer, and, where
    epochs are counted, `epoch` after each of them. On the training itself (no loader) a further
    block, `batch`, holds the forward and backward passes that are to be listened to; nothing
    outside of it is, such as a validation in between.

    Args:
        probe: of the model, or a part of it.
        loader: what to probe on; None: on the training itself.
        step: how many steps were made before, where training goes on.
        epoch: how many epochs.
        options: those of `torchprobe.callbacks.Recorder`: ``every``, ``directory``, ``log``, ...

    Example:
        >>> import torch, torchprobe as tp
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
        >>> optimizer = torch.optim.SGD(model.parameters(), 0.1)
        >>> data = [(torch.ones(6, 4), torch.tensor([0, 1, 2, 0, 1, 2]))]
        >>> probe = tp.Probe(model, torch.nn.ReLU, ["class_selectivity"])
        >>> with tp.callbacks.Loop(probe, data, every=2) as loop:
        ...     for _ in range(4):
        ...         for x, y in data:
        ...             torch.nn.functional.cross_entropy(model(x), y).backward()
        ...             optimizer.step()
        ...             loop.step()
        >>> loop.history.steps
        (0, 2, 4)
    """

    def __init__(
        self, probe: Any, loader: Any = None, *, step: int = 0, epoch: int = 0, **options: Any
    ) -> None:
        self.recorder = Recorder(probe, loader, **options)
        self.recorder.step, self.recorder.epoch = step, epoch
        self._inside = False

    @property
    def history(self) -> History:
        """What was found so far."""
        return self.recorder.history

    def __enter__(self) -> Self:
        self.recorder.begin(self.recorder.step, self.recorder.epoch)
        self._inside = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._inside = False
        if error is None:
            self.recorder.end()
        else:
            self.recorder.fail(error)

    @contextmanager
    def batch(
        self,
        labels: Any = None,
        *,
        lengths: Any = None,
        mask: Any = None,
        ids: Any = None,
    ) -> Iterator[None]:
        """Listen to the forward and backward passes inside, if it is time; as `Probe.batch`.

        Raises:
            SettingError: outside of the loop's ``with`` block, or the loop probes on a loader.
        """
        self._check()
        if not self.recorder.on_training:
            raise SettingError(
                "this loop probes on its loader; leave batch() out, or the loader to probe on the "
                "training itself"
            )
        self.recorder.hear(Batch(None, labels, lengths, mask, ids))
        try:
            yield
        finally:
            self.recorder.unhear()

    def step(self, step: int | None = None) -> None:
        """The optimizer has made a step; its number where not one more than before."""
        self._check()
        self.recorder.stepped(step)

    def epoch(self, epoch: int | None = None) -> None:
        """An epoch is over; its number, from 1, where not one more than before."""
        self._check()
        self.recorder.epoch_ended(epoch)

    def _check(self) -> None:
        if not self._inside:
            raise SettingError("put `with loop:` around the training, so that it is cleaned up")

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, as tensors, text and numbers."""
        return self.recorder.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint; before ``with loop:``."""
        self.recorder.load_state_dict(state)
