"""Activations of a training model, kept with their graph until the loss has been computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import torch

from torchprobe.errors import EmptyStateError, LayoutError
from torchprobe.layouts.rules import output_rule
from torchprobe.outputs import leaves
from torchprobe.selection import select

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle

    from torchprobe.selection import Selector

__all__ = ["Watch"]


class Watch:
    """Keeps the chosen layers' outputs of the latest forward pass; hooks go when it is left."""

    def __init__(self, model: nn.Module, layers: Selector, channel_axis: int | None) -> None:
        self._model, self._layers, self._axis = model, layers, channel_axis
        self._handles: list[RemovableHandle] = []
        self._seen: dict[str, list[Tensor]] = {}

    def __enter__(self) -> Self:
        modules = select(self._model, self._layers).modules
        self._handles = [self._model.register_forward_pre_hook(self._begin)]
        for name, module in modules.items():
            self._handles.append(module.register_forward_hook(self._keeper(name)))
        return self

    def __exit__(self, *_: object) -> None:
        while self._handles:
            self._handles.pop().remove()
        self._seen.clear()

    def take(self) -> dict[str, Tensor]:
        """Each layer's centred activations [unit, row], with their graph; each can be had once.

        Raises:
            EmptyStateError: no forward pass in training mode since the last time.
        """
        if not self._seen:
            raise EmptyStateError(
                "no activations to take: run the model in training mode and with gradients, inside "
                "`with topographic.watch(model):`, before each call of the loss"
            )
        seen, self._seen = self._seen, {}
        found = {name: torch.cat(parts, 1) for name, parts in seen.items()}
        return {name: rows - rows.mean(1, keepdim=True) for name, rows in found.items()}

    def _begin(self, *_: object) -> None:
        self._seen.clear()

    def _keeper(self, name: str) -> Any:
        def keep(module: nn.Module, _: object, output: object) -> None:
            if not (module.training and torch.is_grad_enabled()):
                return
            tensor = next((each.tensor for each in leaves(output) if each.tensor is not None), None)
            if tensor is not None:
                self._seen.setdefault(name, []).append(self._units(name, module, tensor))

        return keep

    def _units(self, name: str, module: nn.Module, output: Tensor) -> Tensor:
        """An output as [unit, row]."""
        axis = self._axis
        if axis is None:
            names = output_rule(module, "", output.ndim).usual
            if "channel" not in names:
                raise LayoutError(
                    f"layer {name!r} ({type(module).__name__}) does not say which axis of "
                    f"{tuple(output.shape)} is that of its units; give channel_axis=1, or choose "
                    "the layer before it"
                )
            axis = names.index("channel")
        units = output.movedim(axis, 0).flatten(1)
        return units if units.dtype == torch.float64 else units.float()
