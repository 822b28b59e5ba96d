"""A model's inputs as rows of numbers, so that some samples can be kept and run again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchprobe.errors import SettingError, ShapeError

if TYPE_CHECKING:
    from torchprobe_slt.arguments import Arguments

__all__ = ["Packing"]


@dataclass(frozen=True, eq=False)
class Packing:
    """How the tensors of a call are laid out in one row a sample.

    Rows are float64, which holds floats of every width and integers up to 2⁵³ exactly.

    Args:
        form: arguments of a call; only shapes and dtypes are read.

    Raises:
        SettingError: a tensor has no entry for each sample.
    """

    form: Arguments

    def __post_init__(self) -> None:
        for part in self._tensors(self.form):
            if self.form.axis_of(part) is None:
                raise SettingError(
                    f"an argument of shape {tuple(part.shape)} is not given for each of "
                    f"{self.form.n_samples} samples, so that some samples cannot be run again"
                )

    @property
    def width(self) -> int:
        """Entries of a row."""
        n = max(1, self.form.n_samples)
        return sum(tensor.numel() // n for tensor in self._tensors(self.form))

    def rows(self, arguments: Arguments) -> Tensor:
        """The samples of a call as rows: float64 [sample, entry].

        Raises:
            ShapeError: a sample is larger or smaller than it was.
        """
        flat = [
            tensor.movedim(arguments.axis_of(tensor) or 0, 0).flatten(1).double()
            for tensor in self._tensors(arguments)
        ]
        rows = torch.cat(flat, 1)
        if rows.shape[1] != self.width:
            raise ShapeError(
                f"a sample has {rows.shape[1]:,} entries now and had {self.width:,} at first; crop "
                "or pad samples to one size"
            )
        return rows

    def call(self, rows: Tensor, device: torch.device) -> Arguments:
        """The call whose samples these rows are."""
        parts, done = list(self.form.parts), 0
        for place, part in enumerate(parts):
            if not isinstance(part, Tensor):
                continue
            axis = self.form.axis_of(part) or 0
            shape = part.movedim(axis, 0).shape[1:]
            size = math.prod(shape)
            tensor = rows[:, done : done + size].reshape(len(rows), *shape).movedim(0, axis)
            parts[place] = tensor.to(device=device, dtype=part.dtype).contiguous()
            done += size
        return self.form.replaced(parts, len(rows))

    def _tensors(self, arguments: Arguments) -> list[Tensor]:
        return [part for part in arguments.parts if isinstance(part, Tensor)]
