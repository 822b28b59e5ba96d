"""Forward passes that wait for the gradients of the training loop's own backward pass."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import torch

from torchprobe import compat
from torchprobe.gradients import GradientWatch
from torchprobe.outputs import leaves
from torchprobe.sensitivity import Origin
from torchprobe.waiting import CUT, UNREACHED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from torchprobe.training_loss import TrainingLoss
    from torchprobe.waiting import Pass, Waiting

__all__ = ["NEVER", "Backward", "never_came"]

_AMBIGUOUS = (
    "no gradients: recomputed by reentrant checkpointing more than once, so that calls cannot be "
    "told apart; use checkpoint(..., use_reentrant=False)"
)
_OVERFLOWN = "gradients with NaN or infinity left out"
_MOST_WAITING = 64
"""Forward passes kept for a backward pass to come; a loop that makes none must not fill memory."""
_FURTHER = "gradients of a further backward pass over the same forward pass left out"
NEVER = "no backward pass came after it, or of a loss that depends on none of the layers"


class Backward:
    """Brings forward passes and the gradients that autograd computes later together.

    Inside the user's backward pass nothing is done but to copy gradients; analyzers run when
    `complete` or `remaining` hands out what is ready, so that one that raises cannot leave
    parameters with half of their gradients. What waits is the values and gradients of the chosen
    layers in the forward passes of one step.

    Args:
        loss: what is differentiated.
    """

    def __init__(self, loss: TrainingLoss) -> None:
        self.loss = loss
        self.watch = GradientWatch(self._received)
        self._passes: list[Pass] = []
        self._numbers = count()
        self._items: dict[int, tuple[Pass, Waiting]] = {}  # hooks hold numbers: no reference cycle

    def expect(self, current: Pass, item: Waiting, produced: Any) -> None:
        """Await the gradient of a value, given as what the model itself goes on with."""
        value: Tensor = produced.data if hasattr(produced, "batch_sizes") else produced
        if not value.requires_grad:  # frozen, or to be recomputed by reentrant checkpointing
            return
        item.origin = Origin(produced)
        number = next(self._numbers)
        self._items[number] = current, item
        self.watch.watch(value, (number, False))
        base = compat.base_of(value)
        if base is not None and not base.is_leaf:  # where a view's gradient goes if overwritten
            self.watch.watch(base, (number, True))

    def recomputed(self, name: str, output: Any) -> None:
        """A module has run again during backward: these are the tensors that get gradients."""
        for leaf in leaves(output):
            same = [
                (current, item)
                for current in self._passes
                for item in current.waiting
                if (item.name, item.path, item.origin) == (name, leaf.path, None)
            ]
            for current, item in same:
                if len(same) > 1:
                    item.note = _AMBIGUOUS
                else:
                    self.expect(current, item, leaf.produced)

    def _received(self, key: tuple[int, bool], gradient: Tensor, ordinal: int) -> None:
        number, of_base = key
        if number not in self._items:
            return
        current, item = self._items[number]
        assert item.origin is not None
        view = item.origin.view
        if of_base != (view is not None and view.overwritten):
            return
        if ordinal:
            current.skipped.append((item.name + item.path, _FURTHER))
            return
        if current.factor is None:  # now: a GradScaler's scale changes with the optimizer's step
            n_samples = current.labels.n_ids or 0
            current.factor = self.loss.factor(n_samples, current.labels)
        item.gradient = item.origin.gradient(gradient).clone()

    def drop(self, current: Pass) -> None:
        """A forward pass has failed: await nothing of it."""
        self._items = {n: item for n, item in self._items.items() if item[0] is not current}

    # -- handing out

    def wait(self, current: Pass) -> None:
        """A forward pass is over; its gradients come later."""
        self._passes.append(current)

    def complete(self) -> Iterator[Pass]:
        """Forward passes that a backward pass has reached, and the oldest if too many wait."""
        ready = [each for each in self._passes if each.factor is not None]
        waiting = len(self._passes) - len(ready)
        if waiting > _MOST_WAITING:
            ready += [each for each in self._passes if each.factor is None][:-_MOST_WAITING]
        yield from self._hand_out(ready)

    def remaining(self) -> Iterator[Pass]:
        """All forward passes that wait: no backward pass will come any more."""
        yield from self._hand_out(list(self._passes))

    def _hand_out(self, ready: list[Pass]) -> Iterator[Pass]:
        self._passes = [each for each in self._passes if not any(each is one for one in ready)]
        for current in ready:
            self.drop(current)
            reached = current.factor is not None
            for item in current.waiting:
                _settle(item, current.factor, reached=reached)
            yield current


def never_came(current: Pass) -> bool:
    """Whether gradients were awaited and no backward pass computed any."""
    return current.factor is None and any(item.origin is not None for item in current.waiting)


def _settle(item: Waiting, factor: float | None, *, reached: bool) -> None:
    """Scale the gradient that came; say why where none did."""
    assert item.leaf.tensor is not None
    if item.gradient is not None:
        item.gradient = _scaled(item.gradient, 1.0 if factor is None else factor)
        if not bool(torch.isfinite(item.gradient.sum())):
            item.gradient, item.note = None, _OVERFLOWN
    elif item.origin is None:
        item.note = item.note or CUT
    elif reached:
        item.gradient, item.note = torch.zeros_like(item.leaf.tensor), UNREACHED


def _scaled(gradient: Tensor, factor: float) -> Tensor:
    """Half precision is widened first: what a GradScaler protects would underflow."""
    if factor == 1.0:
        return gradient
    wide = gradient.float() if gradient.dtype.itemsize < 4 else gradient  # noqa: PLR2004 - bytes
    return wide * factor
