"""Frames of many utterances as one data set, spliced with their neighbours when they are asked for.

Splicing 11 frames makes features 11 times as large. They are kept unspliced, each utterance padded
by repeating its first and last frame, one after another in one tensor: 11 frames in a row are then
one contiguous stretch of memory, and a strided view shows all of them without a copy.
"""

from collections.abc import Iterator, Sequence
from copy import copy
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.utils.data import Dataset

from torchprobe.errors import InsufficientDataError, SettingError, ShapeError

from .features import PHONEME_FEATURES, LogMel, labelled_features
from .phonemes import CMU40, Inventory
from .progress import tracked
from .utterances import ID_BITS, Utterance

__all__ = ["FrameBatches", "FrameDataset", "Frames"]

_FRAME_BITS = 63 - ID_BITS


class Frames(NamedTuple):
    """Some frames: spliced features [frame, feature], labels [frame], ids [frame]."""

    features: Tensor
    labels: Tensor
    ids: Tensor


class FrameDataset(Dataset[Frames]):
    """Spliced frames with phoneme labels, kept at the size of the unspliced features.

    Args:
        features: For each utterance its features, shape [frame, band].
        labels: For each utterance its labels, int64, shape [frame]; -1 is no label.
        utterance_ids: For each utterance an integer, from 0 to below 2**43.
        context: Neighbours on either side that are spliced to a frame, in the order of time;
            beyond its ends an utterance repeats its first and last frame.
        inventory: What the labels mean.

    Attributes:
        labels: int64, shape [frame].
        utterances: Number of each frame's utterance, in the order given, shape [frame].
        frames: Number of each frame within its utterance, shape [frame].
        ids: An integer that tells each frame from all others of the corpus, shape [frame].

    Raises:
        ShapeError: Features and labels do not fit each other.
        InsufficientDataError: There is no utterance.

    >>> data = FrameDataset([torch.arange(3.0)[:, None]], [torch.tensor([5, 6, 7])], [0], context=1)
    >>> data[0:2].features.tolist(), data[0:2].labels.tolist()
    ([[0.0, 0.0, 1.0], [0.0, 1.0, 2.0]], [5, 6])
    """

    def __init__(
        self,
        features: Sequence[Tensor],
        labels: Sequence[Tensor],
        utterance_ids: Sequence[int],
        *,
        context: int = 5,
        inventory: Inventory = CMU40,
    ) -> None:
        _check(features, labels, utterance_ids, context)
        lengths = torch.tensor([len(each) for each in features])  # [utterance]
        self.context = context
        self.inventory = inventory
        self.labels = torch.cat(list(labels))  # [frame]
        self.utterances = torch.arange(len(lengths)).repeat_interleave(lengths)  # [frame]
        first = (lengths.cumsum(0) - lengths)[self.utterances]  # [frame]
        self.frames = torch.arange(len(self.labels)) - first  # [frame]
        self.ids = (torch.tensor(utterance_ids)[self.utterances] << _FRAME_BITS) | self.frames
        self._padded = torch.cat([_pad(each, context) for each in features])  # [padded, band]
        self._starts = torch.arange(len(self.labels)) + 2 * context * self.utterances  # [frame]

    @classmethod
    def from_utterances(
        cls,
        utterances: Sequence[Utterance],
        *,
        features: LogMel = PHONEME_FEATURES,
        context: int = 5,
        inventory: Inventory = CMU40,
        progress: bool | None = None,
    ) -> Self:
        """Computes features and labels of utterances.

        Args:
            utterances: With audio and phoneme segments.
            features: How to compute features.
            context: Neighbours on either side to splice; 5 make 11 frames and 253 features.
            inventory: The classes to label with.
            progress: Whether to show a bar; None shows it in a terminal.

        Raises:
            InsufficientDataError: There is no utterance, or one is too short.
            LabelError: A phoneme is not known to the inventory.
            SettingError: An utterance has another rate than the features.
        """
        bar = tracked(utterances, len(utterances), "features", "utterance", show=progress)
        arrays, labels = labelled_features(bar, features, inventory)
        ids = [utterance.id for utterance in utterances]
        return cls(arrays, labels, ids, context=context, inventory=inventory)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Frames:
        rows = torch.as_tensor(index) if isinstance(index, Sequence) else index
        return Frames(self._windows[self._starts[rows]], self.labels[rows], self.ids[rows])

    @property
    def width(self) -> int:
        """How many features a spliced frame has."""
        return int(self._windows.shape[1])

    def select(self, rows: Tensor) -> Self:
        """Returns some of the frames; the features are shared, not copied.

        Args:
            rows: Numbers of frames, or a mask over all of them, shape [frame].
        """
        chosen = copy(self)
        for name in ("labels", "utterances", "frames", "ids", "_starts"):
            setattr(chosen, name, getattr(self, name)[rows])
        return chosen

    def batches(
        self,
        size: int = 256,
        *,
        shuffle: bool = False,
        seed: int = 0,
        ids: bool = False,
        whole: bool = False,
    ) -> "FrameBatches":
        """Returns an iterable of batches, made by index and so faster than a `DataLoader`.

        Args:
            size: Frames in a batch; the last one may be smaller.
            shuffle: Whether to draw a new order each time the batches are iterated over.
            seed: Draws the orders.
            ids: Whether a batch is (features, labels, ids) instead of (features, labels).
            whole: Whether to leave out a last batch that is smaller than the others.
        """
        return FrameBatches(self, size, shuffle=shuffle, seed=seed, ids=ids, whole=whole)

    @property
    def _windows(self) -> Tensor:
        """All windows of neighbouring frames as rows, overlapping in memory: [start, feature]."""
        padded, bands = self._padded.shape
        width = 2 * self.context + 1
        return self._padded.as_strided((padded - width + 1, width * bands), (bands, 1))


class FrameBatches:
    """Batches of frames as (features [frame, feature], labels [frame]), with ids if asked for.

    Raises:
        SettingError: The size is not positive.
    """

    def __init__(
        self, data: FrameDataset, size: int, *, shuffle: bool, seed: int, ids: bool, whole: bool
    ) -> None:
        if size <= 0:
            raise SettingError(f"a batch needs a positive size, not {size}")
        self.data = data
        self.size = size
        self.shuffle = shuffle
        self.with_ids = ids
        self.whole = whole and len(data) > size
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.data) // self.size if self.whole else -(-len(self.data) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for rows in torch.split(self._order(), self.size)[: len(self)]:
            frames = self.data[rows]
            yield tuple(frames) if self.with_ids else (frames.features, frames.labels)

    def _order(self) -> Tensor:
        if self.shuffle:
            return torch.randperm(len(self.data), generator=self._generator)
        return torch.arange(len(self.data))


def _pad(features: Tensor, context: int) -> Tensor:
    first = features[:1].expand(context, -1)
    last = features[-1:].expand(context, -1)
    return torch.cat([first, features, last])


def _check(
    features: Sequence[Tensor], labels: Sequence[Tensor], ids: Sequence[int], context: int
) -> None:
    if not features:
        raise InsufficientDataError("a frame data set needs at least one utterance; got none")
    if not len(features) == len(labels) == len(ids):
        raise ShapeError(
            f"got features of {len(features)} utterances, labels of {len(labels)}, {len(ids)} ids"
        )
    bands = features[0].shape[-1]
    for number, (array, classes) in enumerate(zip(features, labels, strict=True)):
        if array.ndim != 2 or array.shape[1] != bands or classes.shape != array.shape[:1]:  # noqa: PLR2004
            raise ShapeError(
                f"utterance {number}: features {tuple(array.shape)} and labels "
                f"{tuple(classes.shape)} are not [frame, {bands}] and [frame]"
            )
    if context < 0:
        raise SettingError(f"context must not be negative, not {context}")
    if min(ids) < 0 or max(ids) >> ID_BITS:
        raise SettingError(f"utterance ids must be from 0 to below 2**{ID_BITS}")
