"""Long recordings cut into the windows that a network sees when it labels one frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from torchprobe.errors import InsufficientDataError, LabelError, SettingError
from torchprobe.labels import Labels
from torchprobe.layer_table import layers
from torchprobe.loading import Batch, unpack
from torchprobe.naming import root_name
from torchprobe.positions import Map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

__all__ = ["Windows"]


@dataclass
class Windows:
    """A loader of windows, one for each labelled frame, from a loader of utterances.

    A window is what a network sees of the input for one of its output's positions (a frame), so
    that gradients of one prediction can be told apart from those of its neighbours, and profiles
    of one example from those of the next. Frames without a label (−1) are passed over. Windows
    that reach beyond the utterance or into its padding are left out and counted in ``left_out``,
    as is every frame of an utterance shorter than a window.

    Labels are one for each frame; or one for each position of the input, where these are not as
    many, and a frame has that at the middle of what it sees. Labels of the same frames under other
    names, and those of whole utterances, go with the windows.

    Args:
        loader: yields utterances [sample, ..., time] with labels [sample, frame], in any form that
            ``unpack`` understands. ``lengths`` count positions of the input.
        of: the network; what its output sees is measured on the first batch. Or what a frame sees,
            as ``torchprobe layers`` tells: ``tp.positions.Map(stride, offset, field)``.
        grouping: the labels that say where windows are.
        batch_size: windows in a batch.
        dim: the axis of time in the inputs.
        unpack: turns what the loader yields into a `torchprobe.Batch`.

    Raises:
        SettingError: the batch size is not positive, or what a frame sees has no end or no fixed
            stride.
        LabelError: labels are not [sample, frame], or have as many frames as the output cannot
            have.
        InsufficientDataError: at the end of a pass, if there was not a single window.

    Example:
        >>> utterances = torch.arange(12.0).view(2, 1, 6)
        >>> labels = torch.tensor([[7, 8, -1, 9, 7, 8], [-1, -1, 9, -1, -1, -1]])
        >>> windows = Windows([(utterances, labels)], Map(field=3))
        >>> [batch] = windows
        >>> batch.inputs[:, 0].tolist(), batch.labels["label"].tolist(), windows.left_out
        ([[0.0, 1.0, 2.0], [2.0, 3.0, 4.0], [3.0, 4.0, 5.0], [7.0, 8.0, 9.0]], [8, 9, 7, 9], 2)
    """

    loader: Iterable[Any]
    of: nn.Module | Map
    grouping: str = "label"
    batch_size: int = 256
    dim: int = -1
    unpack: Callable[[Any], Batch] = unpack
    left_out: int = field(default=0, init=False)
    _frames: _Frames | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise SettingError(f"batch_size={self.batch_size}; give a positive number")

    def __iter__(self) -> Iterator[Batch]:
        self.left_out = given = 0
        for raw in self.loader:
            for batch in self._cut(self.unpack(raw)):
                given += len(batch.inputs)
                yield batch
        if not given:
            raise InsufficientDataError(self._nothing())

    @property
    def width(self) -> int:
        """Positions of the input in a window."""
        return self._seen().width

    @property
    def position(self) -> int:
        """Which position of the network's output is the frame's own.

        A network without padding has one output a window, number 0. One that pads has more, of
        which the others see padding: ``Objective(dim=1, position=windows.position)`` differentiates
        the right one. Of a stated map it is 0.
        """
        return self._seen().position

    def _seen(self, batch: Batch | None = None) -> _Frames:
        """What frames see, measured on the first batch that there is."""
        if self._frames is None:
            of = self.of
            self._frames = (
                _Frames.stated(of)
                if isinstance(of, Map)
                else _Frames.measured(of, batch or self._first())
            )
        return self._frames

    def _first(self) -> Batch:
        if isinstance(self.loader, Iterator):
            raise SettingError(
                "the loader is an iterator, which can be read once; ask for width and position "
                "after the first batch, or give a list or DataLoader"
            )
        for raw in self.loader:
            return self.unpack(raw)
        raise InsufficientDataError("the loader yields nothing to measure the network on")

    def _cut(self, batch: Batch) -> Iterator[Batch]:
        inputs, said = self._checked(batch)
        frames = self._seen(batch)
        labels = self._at_frames(frames, said, inputs.shape[-1])
        labelled = labels[self.grouping] >= 0  # [sample, frame]
        first = frames.first(labelled.shape[1])
        fits = _fits(first, self.width, inputs.shape[-1], said.lengths, len(inputs))
        self.left_out += int((labelled & ~fits).sum())
        sample, frame = (labelled & fits).nonzero(as_tuple=True)
        for rows, at in zip(
            sample.split(self.batch_size), frame.split(self.batch_size), strict=True
        ):
            if len(rows):
                time = first[at][:, None] + torch.arange(self.width)  # [window, width]
                windows = inputs.movedim(-1, 1)[rows[:, None], time].movedim(1, self.dim)
                part = {
                    name: given[rows, at] if given.ndim > 1 else given[rows]
                    for name, given in labels.items()
                }
                yield Batch(windows, labels=part)

    def _checked(self, batch: Batch) -> tuple[Tensor, Labels]:
        """Inputs with time last, and what is said of them."""
        said = Labels(batch.labels, lengths=batch.lengths, mask=batch.mask)
        given = said.labels.get(self.grouping)
        if given is None or given.ndim != 2:  # noqa: PLR2004
            shape = "no such labels" if given is None else f"shape {tuple(given.shape)}"
            raise LabelError(
                f"labels {self.grouping!r}: {shape}; give one for each frame, [sample, frame]"
            )
        if not isinstance(batch.inputs, torch.Tensor) or len(batch.inputs) != len(given):
            raise LabelError(
                f"windows are cut from one tensor [sample, ..., time] with labels for each of its "
                f"samples; got {type(batch.inputs).__name__} and labels {tuple(given.shape)}"
            )
        return batch.inputs.movedim(self.dim, -1), said

    def _at_frames(self, frames: _Frames, said: Labels, n_input: int) -> dict[str, Tensor]:
        """Labels by grouping, [sample, frame] or [sample]; those that are masked are −1."""
        found = dict(said.labels)
        if said.mask is not None and said.mask.ndim > 1:
            found[""] = said.mask.long() - 1
        counts = {each.shape[1] for each in found.values() if each.ndim > 1}
        if not frames.as_many_as(n_input):
            counts.discard(n_input)
        if len(counts) > 1:
            raise LabelError(
                f"labels of one batch have {' and '.join(map(str, sorted(counts)))} frames; the "
                f"input has {n_input} positions"
            )
        n = frames.counted(n_input, counts.pop() if counts else None)
        at = {
            name: each if each.ndim == 1 or each.shape[1] == n else frames.of_input(each, n)
            for name, each in found.items()
        }
        hidden = at.pop("", None)
        if hidden is not None:
            at[self.grouping] = at[self.grouping].masked_fill(hidden < 0, -1)
        return at

    def _nothing(self) -> str:
        if not self.left_out:
            return f"no frame has a label {self.grouping!r}: there is no window to cut"
        return (
            f"windows are {self.width} positions wide and none of the {self.left_out:,} labelled "
            "frames has one inside its utterance; give longer utterances"
        )


class _Frames(NamedTuple):
    """Where the windows of frames lie."""

    map: Map
    slack: int
    """Positions before what a frame sees, for a network that pads: its outputs of a window stand
    where those of the utterance do."""
    sizes: tuple[tuple[int, int], ...] = ()
    """(positions of the input, frames) where that is known."""

    @classmethod
    def stated(cls, map_: Map) -> _Frames:
        return cls(_bounded(map_), 0)

    @classmethod
    def measured(cls, model: nn.Module, batch: Batch) -> _Frames:
        root = root_name(model)
        for row in layers(model, batch.inputs, root):
            if row.positions is not None and len(row.positions.maps) == 1:
                (found,), sizes = row.positions.maps, row.positions.sizes
                stride = _bounded(found, whole=True).stride or 1
                first, _ = found.spans(torch.zeros(1, dtype=torch.int64))
                return cls(found, int(first) % int(stride), sizes[0] if sizes else ())
        raise SettingError(
            f"the output of {type(model).__name__} has no single axis of positions whose windows "
            "could be measured; state what a frame sees: Windows(loader, tp.positions.Map(stride, "
            "offset, field))"
        )

    @property
    def width(self) -> int:
        first, last = self.map.spans(torch.zeros(1, dtype=torch.int64))
        return int(last - first) + 1 + self.slack

    @property
    def position(self) -> int:
        """Frames that the network computes before that of the window."""
        if not self.sizes:
            return 0
        first, _ = self.map.spans(torch.zeros(1, dtype=torch.int64))
        return (self.slack - int(first)) // int(self.map.stride or 1)

    def first(self, n: int) -> Tensor:
        """Where the windows of ``n`` frames begin: int64 [frame]."""
        return self.map.spans(torch.arange(n))[0] - self.slack

    def as_many_as(self, n_input: int) -> bool:
        """Whether there are as many frames as positions of the input."""
        if not self.sizes:
            return self.map.stride == 1
        return self.map.counts(n_input, self.sizes)[1] == n_input

    def counted(self, n_input: int, n: int | None) -> int:
        """How many frames there are: as many as labels were given for, or those of the input.

        Raises:
            LabelError: the output cannot have so many.
        """
        if n is None:
            middles = self.map.nearest(Map(field=1), int(n_input / (self.map.stride or 1)) + 2)
            return int((middles < n_input).sum())
        least, most = self.map.counts(n_input, self.sizes) if self.sizes else (n, n)
        if not least <= n <= most:
            raise LabelError(
                f"labels have {n} frames, but the input has {n_input} positions and the output "
                f"{least if least == most else f'{least} to {most}'}; give one label for each of "
                "either"
            )
        return n

    def of_input(self, values: Tensor, n: int) -> Tensor:
        """Values at the positions of the input as those of frames: [sample, frame]."""
        at = self.map.nearest(Map(field=1), n)
        inside = (at >= 0) & (at < values.shape[1])
        found = values[:, at.clamp(0, values.shape[1] - 1)]
        return found.masked_fill(~inside, -1)


def _bounded(map_: Map, *, whole: bool = False) -> Map:
    """The map, if windows can be cut by it; a network that runs on them needs whole strides."""
    broken = map_.stride is None or (whole and map_.stride.denominator > 1)
    if broken or map_.field is None or map_.phases:
        raise SettingError(
            f"{map_!r}: windows need a receptive field with an end and a fixed stride; state "
            "another, of what matters: Windows(loader, tp.positions.Map(stride, offset, field))"
        )
    return map_


def _fits(first: Tensor, width: int, size: int, lengths: Tensor | None, n: int) -> Tensor:
    """Which windows lie in their utterance: bool [sample, frame]."""
    ends = torch.full((n,), size) if lengths is None else lengths.clamp(max=size)
    return (first >= 0)[None] & (first + width <= ends[:, None])
