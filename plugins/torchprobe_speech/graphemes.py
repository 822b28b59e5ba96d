"""The letters that a recogniser writes, greedy decoding, and how wrong a text is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch
from torch import Tensor

from torchprobe.errors import InsufficientDataError, LabelError, ShapeError

__all__ = ["Alphabet", "character_error_rate", "edit_distance", "greedy_decode", "word_error_rate"]

_LETTERS = "abcdefghijklmnopqrstuvwxyz' "
_REPETITIONS = ("1", "2")


@dataclass(frozen=True)
class Alphabet:
    """The classes of a recogniser of graphemes: the CTC blank at index 0, then letters.

    Attributes:
        letters: What texts consist of, in the order of their indices, which begin at 1.
        repetitions: Whether "1" and "2" stand for one or two more of the letter before, as in
            Collobert et al. 2016 and Krug et al. 2018 ("hello" is written "hel1o").

    >>> alphabet = Alphabet()
    >>> len(alphabet), alphabet.decode(alphabet.encode("hello"))
    (29, 'hello')
    """

    letters: str = _LETTERS
    repetitions: bool = False

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """The name of each class; the blank is "_"."""
        return ("_", *self.letters, *(_REPETITIONS if self.repetitions else ()))

    def encode(self, text: str) -> Tensor:
        """Returns the class of each letter, int64, shape [grapheme].

        Raises:
            LabelError: The text holds a character that is no letter of this alphabet.
        """
        unknown = sorted(set(text) - set(self.letters))
        if unknown:
            raise LabelError(
                f"{text[:60]!r} holds {unknown}, which are not in {self.letters!r}; texts are "
                "lower case without punctuation"
            )
        written = _with_repetitions(text) if self.repetitions else text
        return torch.tensor([self.symbols.index(letter) for letter in written])

    def decode(self, classes: Iterable[int] | Tensor) -> str:
        """Returns the text of classes; blanks are left out, and no run is collapsed."""
        letters: list[str] = []
        for index in classes:
            symbol = self.symbols[int(index)]
            if symbol in _REPETITIONS:
                letters += letters[-1:] * int(symbol)
            elif index:
                letters.append(symbol)
        return "".join(letters)


def greedy_decode(
    logits: Tensor, alphabet: Alphabet, lengths: Tensor | Sequence[int] | None = None
) -> list[str]:
    """Returns the texts of the most likely class of each frame: runs collapsed, blanks dropped.

    Args:
        logits: Shape [sample, class, frame].
        alphabet: The classes.
        lengths: Frames of each sample; None takes all.

    Raises:
        ShapeError: The logits have other axes or classes.
    """
    if logits.ndim != 3 or logits.shape[1] != len(alphabet):  # noqa: PLR2004
        raise ShapeError(
            f"logits have shape {tuple(logits.shape)}; wanted [sample, {len(alphabet)}, frame]"
        )
    ends = [logits.shape[2]] * len(logits) if lengths is None else [int(n) for n in lengths]
    best = logits.argmax(dim=1)  # [sample, frame]
    return [
        alphabet.decode(row[:end].unique_consecutive().tolist())
        for row, end in zip(best, ends, strict=True)
    ]


def edit_distance(first: Sequence[object], second: Sequence[object]) -> int:
    """Returns the least number of insertions, deletions and substitutions between two sequences.

    >>> edit_distance("kitten", "sitting")
    3
    """
    row = list(range(len(second) + 1))
    for i, mine in enumerate(first, 1):
        diagonal, row[0] = row[0], i
        for j, yours in enumerate(second, 1):
            substituted = diagonal + (mine != yours)
            diagonal = row[j]
            row[j] = min(substituted, row[j] + 1, row[j - 1] + 1)
    return row[-1]


def character_error_rate(texts: Sequence[str], references: Sequence[str]) -> float:
    """Returns edits by character over all texts, divided by the characters of the references.

    Raises:
        InsufficientDataError: The references are empty.
        ShapeError: There are not as many texts as references.

    >>> character_error_rate(["helo", "you"], ["hello", "you"])
    0.125
    """
    return _error_rate(texts, references)


def word_error_rate(texts: Sequence[str], references: Sequence[str]) -> float:
    """Returns edits by word over all texts, divided by the words of the references.

    Raises:
        InsufficientDataError: The references are empty.
        ShapeError: There are not as many texts as references.

    >>> word_error_rate(["the cat", "sat"], ["the cap", "sat"])
    0.3333333333333333
    """
    return _error_rate([t.split() for t in texts], [r.split() for r in references])


def _error_rate(texts: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> float:
    if len(texts) != len(references):
        raise ShapeError(f"{len(texts)} texts do not pair with {len(references)} references")
    total = sum(len(reference) for reference in references)
    if not total:
        raise InsufficientDataError("an error rate needs references that are not empty")
    pairs = zip(texts, references, strict=True)
    return sum(edit_distance(text, reference) for text, reference in pairs) / total


def _with_repetitions(text: str) -> str:
    """Replaces the second of two equal letters by "1", the second and third of three by "2"."""
    runs = ((letter, len(list(run))) for letter, run in groupby(text))
    return "".join(
        letter + ("", "1", "2")[min(rest, 3) - 1]
        for letter, length in runs
        for rest in range(length, 0, -3)
    )
