"""Whole utterances as padded batches of spectrograms with their texts and phonemes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from torchprobe.errors import InsufficientDataError, SettingError, ShapeError

from .features import SPECTROGRAM_FEATURES, LogMel, labelled_features
from .phonemes import CMU40, Inventory
from .progress import tracked
from .utterances import Utterance

__all__ = ["SpectrogramBatch", "SpectrogramBatches", "SpectrogramDataset"]

_POOL = 16  # batches whose utterances are sorted by length together


@dataclass(frozen=True)
class SpectrogramBatch:
    """Some utterances, padded to the longest.

    Attributes:
        spectrograms: Zero behind an utterance's end, shape [sample, band, time].
        lengths: Frames of each utterance, shape [sample].
        phonemes: Class of the phoneme at each frame, -1 for none, shape [sample, time].
        texts: What is said.
        ids: An integer for each utterance, shape [sample].
    """

    spectrograms: Tensor
    lengths: Tensor
    phonemes: Tensor
    texts: tuple[str, ...]
    ids: Tensor


class SpectrogramDataset:
    """Spectrograms of utterances with their texts and the phonemes of their frames.

    Args:
        spectrograms: One an utterance, shape [frame, band].
        texts: What is said.
        phonemes: For each utterance its phonemes, int64, shape [frame]; -1 for none.
        ids: For each utterance an integer.
        inventory: What the phonemes mean.

    Raises:
        ShapeError: The arguments do not fit each other.
        InsufficientDataError: There is no utterance.

    >>> data = SpectrogramDataset([torch.zeros(4, 2)], ["a"], [torch.zeros(4).long()], [7])
    >>> next(iter(data.batches(1))).spectrograms.shape
    torch.Size([1, 2, 4])
    """

    def __init__(
        self,
        spectrograms: Sequence[Tensor],
        texts: Sequence[str],
        phonemes: Sequence[Tensor],
        ids: Sequence[int],
        *,
        inventory: Inventory = CMU40,
    ) -> None:
        if not spectrograms:
            raise InsufficientDataError("a spectrogram data set needs at least one utterance")
        if not len(spectrograms) == len(texts) == len(phonemes) == len(ids):
            raise ShapeError(
                f"got {len(spectrograms)} spectrograms, {len(texts)} texts, {len(phonemes)} rows "
                f"of phonemes and {len(ids)} ids"
            )
        for number, (array, classes) in enumerate(zip(spectrograms, phonemes, strict=True)):
            if array.ndim != 2 or classes.shape != array.shape[:1]:  # noqa: PLR2004
                raise ShapeError(
                    f"utterance {number}: spectrogram {tuple(array.shape)} and phonemes "
                    f"{tuple(classes.shape)} are not [frame, band] and [frame]"
                )
        self.spectrograms = tuple(spectrograms)
        self.texts = tuple(texts)
        self.phonemes = tuple(phonemes)
        self.ids = torch.tensor(list(ids))  # [utterance]
        self.lengths = torch.tensor([len(each) for each in spectrograms])  # [utterance]
        self.inventory = inventory

    @classmethod
    def from_utterances(
        cls,
        utterances: Sequence[Utterance],
        *,
        features: LogMel = SPECTROGRAM_FEATURES,
        inventory: Inventory = CMU40,
        progress: bool | None = None,
    ) -> Self:
        """Computes the spectrograms of utterances.

        Args:
            utterances: With audio and texts; those without phonemes get -1 at all frames.
            features: How to compute spectrograms.
            inventory: The classes of phonemes.
            progress: Whether to show a bar; None shows it in a terminal.

        Raises:
            InsufficientDataError: There is no utterance, or one is too short.
            SettingError: An utterance has another rate than the features.
        """
        bar = tracked(utterances, len(utterances), "spectrograms", "utterance", show=progress)
        arrays, labels = labelled_features(bar, features, inventory)
        texts = [utterance.text for utterance in utterances]
        ids = [utterance.id for utterance in utterances]
        return cls(arrays, texts, labels, ids, inventory=inventory)

    def __len__(self) -> int:
        return len(self.spectrograms)

    def take(self, numbers: Tensor) -> SpectrogramBatch:
        """Returns some utterances by their numbers, shape [sample], as one batch."""
        chosen = numbers.tolist()
        spectrograms = pad_sequence([self.spectrograms[n] for n in chosen], batch_first=True)
        return SpectrogramBatch(
            spectrograms=spectrograms.transpose(1, 2).contiguous(),
            lengths=self.lengths[numbers],
            phonemes=pad_sequence(
                [self.phonemes[n] for n in chosen], batch_first=True, padding_value=-1
            ),
            texts=tuple(self.texts[n] for n in chosen),
            ids=self.ids[numbers],
        )

    def batches(
        self, size: int = 8, *, shuffle: bool = False, seed: int = 0
    ) -> "SpectrogramBatches":
        """Returns an iterable of batches.

        Args:
            size: Utterances in a batch; the last one may be smaller.
            shuffle: Whether to draw new batches each time, of utterances of similar length, which
                saves padding; else they come in the order given.
            seed: Draws the batches.
        """
        return SpectrogramBatches(self, size, shuffle=shuffle, seed=seed)


class SpectrogramBatches:
    """Batches of utterances.

    Raises:
        SettingError: The size is not positive.
    """

    def __init__(self, data: SpectrogramDataset, size: int, *, shuffle: bool, seed: int) -> None:
        if size <= 0:
            raise SettingError(f"a batch needs a positive size, not {size}")
        self.data = data
        self.size = size
        self.shuffle = shuffle
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return math.ceil(len(self.data) / self.size)

    def __iter__(self) -> Iterator[SpectrogramBatch]:
        for numbers in self._drawn() if self.shuffle else self._in_order():
            yield self.data.take(numbers)

    def _in_order(self) -> Sequence[Tensor]:
        return torch.split(torch.arange(len(self.data)), self.size)

    def _drawn(self) -> Iterator[Tensor]:
        order = torch.randperm(len(self.data), generator=self._generator)
        pools = torch.split(order, self.size * _POOL)
        sorted_pools = [pool[self.data.lengths[pool].argsort(stable=True)] for pool in pools]
        batches = torch.split(torch.cat(sorted_pools), self.size)
        for number in torch.randperm(len(batches), generator=self._generator).tolist():
            yield batches[number]
