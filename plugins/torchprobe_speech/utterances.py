"""One recorded sentence: where its audio is, who said it, and its labelled segments."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from torchprobe.errors import LabelError, SettingError

from .audio import read_audio
from .phonemes import RELEASES, Inventory

__all__ = ["ID_BITS", "Segment", "Utterance", "fold_segments", "labels_at"]

ID_BITS = 43  # leaves 20 bits of a positive int64 for the frame within the utterance


class Segment(NamedTuple):
    """A labelled stretch of audio: samples from `start` up to, not including, `end`."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Utterance:
    """One sentence with its labels; the audio is given as a file or as samples.

    Attributes:
        name: Its path inside the corpus without suffix, such as "TRAIN/DR1/F001/SX12".
        speaker: Who says it.
        text: What is said.
        rate: Samples per second.
        phonemes: Segments in the order of time; empty where the corpus has none.
        words: Segments in the order of time; empty where the corpus has none.
        path: The audio file.
        samples: The audio itself, float32 in [-1, 1], shape [sample].

    Raises:
        SettingError: Neither or both of `path` and `samples` are given.

    >>> hello = Utterance("demo/hello", "me", "hello", 16_000, samples=np.zeros(8, np.float32))
    >>> hello.audio().shape, hello.id == Utterance("demo/hello", "", "", 8_000, path=Path()).id
    ((8,), True)
    """

    name: str
    speaker: str
    text: str
    rate: int
    phonemes: tuple[Segment, ...] = field(default=(), repr=False)
    words: tuple[Segment, ...] = field(default=(), repr=False)
    path: Path | None = None
    samples: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.path is None) == (self.samples is None):
            raise SettingError(f"utterance {self.name!r}: give either path= or samples=")

    @cached_property
    def id(self) -> int:
        """An integer below 2**43 that depends on nothing but the name."""
        digest = hashlib.sha1(self.name.encode(), usedforsecurity=False).digest()
        return int.from_bytes(digest[:8], "big") >> (64 - ID_BITS)

    def audio(self) -> NDArray[np.float32]:
        """Returns the samples, float32 in [-1, 1], shape [sample].

        Raises:
            FileFormatError: The file is damaged or of another rate than the utterance says.
        """
        if self.path is None:
            assert self.samples is not None
            return self.samples
        samples, rate = read_audio(self.path)
        if rate != self.rate:
            raise SettingError(f"{self.path} has {rate} Hz; the utterance says {self.rate} Hz")
        return samples


def fold_segments(segments: Sequence[Segment], inventory: Inventory) -> tuple[Segment, ...]:
    """Folds the labels of segments into an inventory's classes, in the order of time.

    Segments whose symbol the inventory leaves out are dropped. Where the inventory joins closures,
    the closure of a stop or affricate becomes part of the phoneme it releases into.

    Raises:
        LabelError: A symbol is not known to the inventory.

    >>> from torchprobe_speech.phonemes import CMU40
    >>> fold_segments([Segment(0, 5, "tcl"), Segment(5, 7, "ch"), Segment(7, 9, "ix")], CMU40)
    (Segment(start=0, end=7, label='ch'), Segment(start=7, end=9, label='ih'))
    """
    folded: list[Segment] = []
    closure: Segment | None = None
    for segment in segments:
        label = inventory.fold(segment.label)
        start = segment.start
        if closure is not None and segment.label in RELEASES[closure.label]:
            folded.pop()
            start = closure.start
        closure = segment if inventory.joins_closures and segment.label in RELEASES else None
        if label is not None:
            folded.append(Segment(start, segment.end, label))
    return tuple(folded)


def labels_at(
    segments: Sequence[Segment], positions: NDArray[np.int64], inventory: Inventory
) -> NDArray[np.int64]:
    """Returns the class of the segment around each position, -1 where there is none.

    Args:
        segments: Labelled segments in the order of time, without overlap.
        positions: Sample numbers, shape [frame].
        inventory: The classes.

    Raises:
        LabelError: Segments overlap, or a symbol is not known to the inventory.

    >>> from torchprobe_speech.phonemes import CMU40
    >>> labels_at([Segment(0, 5, "aa"), Segment(8, 9, "ae")], np.array([0, 4, 5, 8, 9]), CMU40)
    array([ 1,  1, -1,  2, -1])
    """
    if not segments:
        return np.full(positions.shape, -1, dtype=np.int64)
    starts = np.array([segment.start for segment in segments])
    ends = np.array([segment.end for segment in segments])
    if (starts[1:] < ends[:-1]).any() or (ends < starts).any():
        raise LabelError("segments overlap or run backwards; give them in the order of time")
    classes = np.array([inventory.index(segment.label) for segment in segments])
    nearest = np.searchsorted(starts, positions, side="right") - 1
    inside = (nearest >= 0) & (positions < ends[nearest])
    return np.where(inside, classes[nearest], -1)
