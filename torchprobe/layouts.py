"""Which axis is which: user > plugin > module type > data flow > error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from torchprobe.axes import Axes
from torchprobe.errors import LayoutError
from torchprobe.layout_rules import output_rule

if TYPE_CHECKING:
    from torch import Tensor, nn

    from torchprobe.outputs import Leaf

__all__ = ["Layouts"]

Plugin: TypeAlias = "Callable[[str, nn.Module, tuple[int, ...]], str | None]"


class Layouts:
    """The axes of every layer of one model."""

    def __init__(
        self,
        model: nn.Module,
        user: Mapping[str, str | Axes] | None = None,
        plugin: Plugin | None = None,
    ) -> None:
        self.model, self.user, self.plugin = model, dict(user or {}), plugin

    def enter(self, name: str, module: nn.Module, inputs: Sequence[Tensor | Leaf]) -> None:
        """A module is about to run on these tensors."""

    def leave(
        self,
        name: str,
        module: nn.Module,
        inputs: Sequence[Tensor | Leaf],
        leaves: Iterable[Leaf],
    ) -> None:
        """A module has returned these tensors."""

    def forget(self) -> None:
        """The forward pass is over, well or badly."""

    def check_used(self) -> None:
        """Raise unless every key the user gave has met a layer."""

    def axes(
        self,
        name: str,
        path: str,
        module: nn.Module | None,
        shape: tuple[int, ...],
        call: int | None = None,
    ) -> Axes:
        """The axes of one part of a layer's output; ``module`` is None for the model's input."""
        if name in self.user:
            return Axes.parse(self.user[name])
        rule = output_rule(module or self.model, path, len(shape))
        if any(each is None for each in rule.usual):
            raise LayoutError(f"axes of layer {name!r} {path} {shape} are unknown; pass axes=")
        return Axes.parse([each for each in rule.usual if each])
