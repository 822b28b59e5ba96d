"""Long utterances cut into the windows that a network sees when it labels one frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import torch

import torchprobe as tp
from torchprobe.errors import LabelError, SettingError
from torchprobe.labels import Labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor

__all__ = ["Windows"]


@dataclass
class Windows:
    """A loader of windows, one for each labelled frame, from a loader of utterances.

    Label ``i`` of an utterance belongs to the window of ``width`` input positions around position
    ``offset + stride · i``, which stands at ``width // 2`` in it. With the stride, offset and
    receptive field of a network's output (``torchprobe layers`` lists them) a window is what the
    network sees for one output frame, so that it returns one output for each. Frames without a
    label (−1) are passed over. Windows that reach beyond the utterance or into its padding are left
    out and counted in ``left_out``, as are utterances shorter than a window.

    Args:
        loader: yields utterances [sample, ..., time] with labels [sample, frame], in any form that
            ``unpack`` understands.
        width: input positions of a window: the receptive field.
        stride: input positions from one label to the next.
        offset: the input position that the first label stands for.
        batch_size: windows in a batch.
        grouping: the labels that say where windows are; others of the same shape go with them.
        unpack: turns what the loader yields into a `torchprobe.Batch`; ``lengths`` of a batch
            count input positions.

    Raises:
        SettingError: a width, stride or batch size that is not positive.

    Example:
        >>> utterances = torch.arange(12.0).view(2, 1, 6)
        >>> labels = torch.tensor([[7, 8, -1, 9, 7, 8], [-1, -1, 9, -1, -1, -1]])
        >>> windows = Windows([(utterances, labels)], width=3)
        >>> [batch] = windows
        >>> batch.inputs[:, 0].tolist(), batch.labels["label"].tolist(), windows.left_out
        ([[0.0, 1.0, 2.0], [2.0, 3.0, 4.0], [3.0, 4.0, 5.0], [7.0, 8.0, 9.0]], [8, 9, 7, 9], 2)
    """

    loader: Iterable[Any]
    width: int
    stride: int | float | Fraction = 1
    offset: int | float | Fraction = 0
    batch_size: int = 256
    grouping: str = "label"
    unpack: Callable[[Any], tp.Batch] = tp.unpack
    left_out: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        for name in ("width", "stride", "batch_size"):
            if not getattr(self, name) > 0:
                raise SettingError(f"{name}={getattr(self, name)}; give a positive number")

    def __iter__(self) -> Iterator[tp.Batch]:
        self.left_out = 0
        for raw in self.loader:
            yield from self._cut(self.unpack(raw))

    def _cut(self, batch: tp.Batch) -> Iterator[tp.Batch]:
        inputs, said = self._checked(batch)
        labelled = said.labels[self.grouping] >= 0  # [sample, frame]
        first = self._first(labelled.shape[1])
        fits = _fits(first, self.width, inputs.shape[-1], said.lengths, len(inputs))
        self.left_out += int((labelled & ~fits).sum())
        sample, frame = (labelled & fits).nonzero(as_tuple=True)
        for start in range(0, len(sample), self.batch_size):
            part = slice(start, start + self.batch_size)
            rows, at = sample[part], frame[part]
            time = first[at][:, None] + torch.arange(self.width)  # [window, width]
            windows = inputs.movedim(-1, 1)[rows[:, None], time].movedim(1, -1)
            labels = {
                name: given[rows, at] if given.shape == labelled.shape else given[rows]
                for name, given in said.labels.items()
            }
            yield tp.Batch(windows, labels=labels)

    def _checked(self, batch: tp.Batch) -> tuple[Tensor, Labels]:
        said = Labels(batch.labels, lengths=batch.lengths)
        given = said.labels.get(self.grouping)
        if given is None or given.ndim != 2:  # noqa: PLR2004
            shape = "no" if given is None else f"shape {tuple(given.shape)}"
            raise LabelError(
                f"labels {self.grouping!r}: {shape}; give one for each frame, [sample, frame]"
            )
        if not isinstance(batch.inputs, torch.Tensor) or len(batch.inputs) != len(given):
            raise LabelError(
                f"windows are cut from one tensor [sample, ..., time] with labels for each of its "
                f"samples; got {type(batch.inputs).__name__} and labels {tuple(given.shape)}"
            )
        return batch.inputs, said

    def _first(self, frames: int) -> Tensor:
        """Where the window of each frame begins: int64 [frame]."""
        stride, offset = Fraction(self.stride), Fraction(self.offset)
        centres = [math.floor(offset + stride * i) for i in range(frames)]
        return torch.tensor(centres, dtype=torch.int64) - self.width // 2


def _fits(first: Tensor, width: int, size: int, lengths: Tensor | None, n: int) -> Tensor:
    """Which windows lie in their utterance: bool [sample, frame]."""
    ends = torch.full((n,), size) if lengths is None else lengths.clamp(max=size)
    return (first >= 0)[None] & (first + width <= ends[:, None])
