"""A batch as examples: whole maps with one label each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from torchprobe.errors import LabelError

if TYPE_CHECKING:
    from torch import Tensor

    from torchprobe import LayerBatch

__all__ = ["Examples"]


@dataclass(frozen=True, eq=False)
class Examples:
    """Activations and gradients of examples."""

    values: Tensor
    """[sample, channel, *positions]."""
    gradients: Tensor
    """Likewise."""
    labels: Tensor
    """Int64 [sample], −1 for none."""
    valid: Tensor | None
    """Which positions are no padding, bool [sample, *positions]; None: all."""

    @classmethod
    def of(cls, batch: LayerBatch) -> Examples:
        """The examples of a batch.

        Raises:
            LabelError: labels are not one for each sample.
        """
        device = batch.values.device
        return cls(batch.values, batch.gradients, _labels(batch).to(device), batch.mask)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Positions along each axis."""
        return tuple(self.values.shape[2:])

    @property
    def finite(self) -> Tensor:
        """Which examples hold neither NaN nor infinity where they hold data: bool [sample]."""
        return self._finite(self.values) & self._finite(self.gradients)

    def _finite(self, maps: Tensor) -> Tensor:
        if self.valid is not None:
            maps = maps.masked_fill(~self.valid[:, None], 0)
        finite = torch.isfinite(maps.sum())  # a look at all of them at once is ten times as fast
        if bool(finite):
            return finite.expand(len(maps))
        return torch.isfinite(maps).flatten(1).all(1)

    def where(self, kept: Tensor) -> Examples:
        """Some of them only, bool [sample]."""
        if bool(kept.all()):
            return self
        valid = None if self.valid is None else self.valid[kept]
        return Examples(self.values[kept], self.gradients[kept], self.labels[kept], valid)


def _labels(batch: LayerBatch) -> Tensor:
    given = batch.given.labels.get(str(batch.grouping))
    if given is None or len(given) != len(batch.values):
        return batch.labels  # says what is wrong
    if given.ndim > 1:
        raise LabelError(
            f"labels {batch.grouping!r} have shape {tuple(given.shape)}; gradient-adjusted "
            "profiles need one for each sample, because gradients are of one prediction. Cut "
            "utterances into windows, one for each labelled frame: torchprobe.Windows"
        )
    return given
