"""What a layer delivers in place of the model's input, for the layers that are hidden behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torchprobe.receptive_fields.changes import noise, replace_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor, nn

    from torchprobe.axes import Axes
    from torchprobe.receptive_fields.changes import Query
    from torchprobe.receptive_fields.source import Source

__all__ = ["Inside"]


@dataclass(frozen=True, eq=False)
class Inside:
    """One layer's output, of which parts are replaced on its way to the next.

    Behind a layer whose positions see everything (a normalisation over time) any change of the
    input changes all positions. What later layers see of this layer still tells their strides.
    """

    source: Source
    """The model's input, which stays as it is."""
    module: nn.Module
    """Returns one tensor, with these axes."""
    axes: Axes

    @property
    def positions(self) -> tuple[str, ...]:
        """The axes of positions."""
        return self.axes.positions

    def asked(
        self, queries: Sequence[Query | None], generator: torch.Generator, *, nan: bool
    ) -> _Asked:
        """A batch with one sample for each question; None is the sample as it is."""
        batch = self.source.asked([None] * len(queries), generator, nan=nan)
        return _Asked(self, batch, queries, generator, nan)


@dataclass(frozen=True, eq=False)
class _Asked:
    inside: Inside
    batch: Source
    queries: Sequence[Query | None]
    generator: torch.Generator
    nan: bool

    def call(self, model: nn.Module) -> None:
        """Run the model; what the layer returns is replaced on its way."""
        handle = self.inside.module.register_forward_hook(self._changed)
        try:
            self.batch.call(model)
        finally:
            handle.remove()

    def _changed(self, _module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        changed = output.clone()
        other = noise(output, self.generator, nan=self.nan)
        replace_parts(changed, self.inside.axes.names, self.queries, other)
        return changed
