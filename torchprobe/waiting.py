"""What one forward pass has delivered so far, until it is known that it succeeded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from torchprobe.accumulators import Transaction
from torchprobe.coverage import Seen
from torchprobe.sandbox import Sandbox
from torchprobe.sensitivity import everything_recorded, sensitivities

if TYPE_CHECKING:
    from torch import Tensor, nn

    from torchprobe.forks import Phase
    from torchprobe.labels import Labels
    from torchprobe.objective import Objective
    from torchprobe.outputs import Leaf
    from torchprobe.sensitivity import Origin

__all__ = ["CUT", "UNREACHED", "Pass", "Waiting", "differentiate"]

CUT = "no gradients: nothing that it was computed from requires them"
UNREACHED = "the objective does not depend on it: its gradients are 0"


@dataclass(slots=True)
class Waiting:
    """A value that is delivered when the outermost call has ended."""

    name: str
    path: str
    call: int
    module: nn.Module
    leaf: Leaf
    primary: bool
    origin: Origin | None = None
    """Where its gradients will be found, where they are wanted."""
    gradient: Tensor | None = None
    note: str = ""
    """What a reader must know of its gradients."""


@dataclass(slots=True)
class Pass:
    """What belongs to one outermost call."""

    labels: Labels
    phase: Phase
    waits: bool
    gradients: bool = False
    """Whether an analyzer wants gradients of what is delivered."""
    transaction: Transaction = field(default_factory=Transaction)
    waiting: list[Waiting] = field(default_factory=list)
    seen: dict[str, Seen] = field(default_factory=dict)
    whole: bool = False
    """Whether it was the model that was called, not one of its modules by itself."""
    called: tuple[nn.Module, Any] | None = None
    """The model and copies of its inputs, where an analyzer runs the model itself."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    factor: float | None = None
    """By what its gradients are multiplied, known when the first of them has come."""

    def seen_of(self, layer: str, module: str) -> Seen:
        """The account of one layer in this call."""
        seen = self.seen.get(layer)
        if seen is None:
            seen = self.seen[layer] = Seen(module)
        return seen


def differentiate(current: Pass, objective: Objective, output: Any) -> None:
    """Find the objective's gradients at everything that waits, in one backward pass.

    Where the model itself cuts a value off from the objective, its gradients are 0 and a note says
    so; where nothing upstream requires gradients, as in a loop of the user's own, there are none.

    Raises:
        SettingError: the objective has no gradients.
    """
    items = [item for item in current.waiting if item.origin is not None]
    if not current.whole:
        for item in items:
            item.note = "no gradients: called without the model around it"
        return
    if not items:
        return
    device = next(item.leaf.tensor.device for item in items if item.leaf.tensor is not None)
    with Sandbox(device), torch.enable_grad():
        origins = [item.origin for item in items if item.origin is not None]
        found = sensitivities(objective(output, current.labels), origins)
    for item, gradient in zip(items, found, strict=True):
        _receive(item, gradient)


def _receive(item: Waiting, gradient: Tensor | None) -> None:
    assert item.origin is not None
    assert item.leaf.tensor is not None
    if gradient is None and item.origin.edge is None and not everything_recorded():
        item.note = CUT
        return
    if gradient is None:
        item.note = UNREACHED
        gradient = torch.zeros_like(item.leaf.tensor)
    item.origin, item.gradient = None, gradient.detach()
