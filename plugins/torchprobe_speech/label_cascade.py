"""From the graphemes that frames are recognised as to the phonemes that frames belong to.

The cascade of Krug, Knaebel & Stober 2018, section 3.2: the most likely grapheme of each frame,
runs collapsed, aligned globally with the decoded text, whose graphemes have a phoneme each, carried
back to the frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchprobe.errors import ShapeError

__all__ = ["Alignment", "Runs", "align", "carry_to_frames", "collapse", "phoneme_of_grapheme"]

_MATCH, _MISMATCH, _GAP = 1, -1, -1


@dataclass(frozen=True)
class Runs:
    """Runs of equal labels without blanks.

    Attributes:
        labels: The label of each run.
        run_of_frame: The number of each frame's run, -1 at blanks; int64, shape [frame].
    """

    labels: tuple[str, ...]
    run_of_frame: NDArray[np.int64]


@dataclass(frozen=True)
class Alignment:
    """A best global alignment of two sequences.

    Attributes:
        score: Matches minus mismatches and gaps.
        pairs: Positions in the first and in the second sequence; None is a gap.
    """

    score: int
    pairs: tuple[tuple[int | None, int | None], ...]


def collapse(frames: Sequence[str], blank: str = "_") -> Runs:
    """Collapses runs of equal labels and drops blanks, which separate equal labels.

    >>> runs = collapse("HH_EEL_LO")
    >>> "".join(runs.labels), runs.run_of_frame.tolist()
    ('HELLO', [0, 0, -1, 1, 1, 2, -1, 3, 4])
    """
    labels: list[str] = []
    numbers = []
    before = blank
    for label in frames:
        if label not in (blank, before):
            labels.append(label)
        numbers.append(-1 if label == blank else len(labels) - 1)
        before = label
    return Runs(tuple(labels), np.array(numbers, dtype=np.int64))


def align(first: Sequence[str], second: Sequence[str]) -> Alignment:
    """Aligns two sequences globally (Needleman & Wunsch 1970; match 1, mismatch -1, gap -1).

    Of several best alignments the one is taken that, read from the end, pairs two elements where
    it can, else leaves a gap in the second sequence, else in the first.

    >>> alignment = align("HELO", "HELLO")
    >>> alignment.score, alignment.pairs
    (3, ((0, 0), (1, 1), (None, 2), (2, 3), (3, 4)))
    """
    scores = _scores(first, second)
    pairs: list[tuple[int | None, int | None]] = []
    i, j = len(first), len(second)
    while i or j:
        if i and j and scores[i, j] == scores[i - 1, j - 1] + _reward(first[i - 1], second[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif i and scores[i, j] == scores[i - 1, j] + _GAP:
            i -= 1
            pairs.append((i, None))
        else:
            j -= 1
            pairs.append((None, j))
    return Alignment(int(scores[-1, -1]), tuple(reversed(pairs)))


def phoneme_of_grapheme(
    attention: NDArray[np.floating], phonemes: Sequence[str]
) -> tuple[str, ...]:
    """Returns for each grapheme of a word the phoneme that attends to it most; ties take the first.

    Args:
        attention: Of a grapheme-to-phoneme model, shape [phoneme, grapheme].
        phonemes: What the model wrote, one a row.

    Raises:
        ShapeError: There are not as many rows as phonemes.

    >>> phoneme_of_grapheme(np.array([[0.9, 0.6, 0.1], [0.1, 0.4, 0.9]]), ["dh", "iy"])
    ('dh', 'dh', 'iy')
    """
    attention = np.asarray(attention)
    if attention.ndim != 2 or len(attention) != len(phonemes) or not len(phonemes):  # noqa: PLR2004
        raise ShapeError(
            f"attention has shape {attention.shape}; wanted [phoneme, grapheme] for "
            f"{len(phonemes)} phonemes"
        )
    return tuple(phonemes[row] for row in attention.argmax(axis=0))


def carry_to_frames(
    frames: Sequence[str], text: Sequence[str], labels: Sequence[str | None], blank: str = "_"
) -> list[str | None]:
    """Carries the labels of a text's graphemes to the frames that were recognised as them.

    Args:
        frames: The most likely grapheme of each frame.
        text: The decoded text, one grapheme an element.
        labels: The label of each grapheme of the text; None is no label (as for a space).
        blank: What frames without a grapheme hold.

    Returns:
        The label of each frame; None at blanks and where the text has nothing in the place of a
        frame's grapheme.

    Raises:
        ShapeError: There are not as many labels as graphemes.

    >>> carry_to_frames("TT_HE", "THE", ["dh", "dh", "iy"])
    ['dh', 'dh', None, 'dh', 'iy']
    """
    if len(text) != len(labels):
        raise ShapeError(f"{len(labels)} labels do not fit a text of {len(text)} graphemes")
    runs = collapse(frames, blank)
    label_of_run = {
        run: labels[position]
        for run, position in align(runs.labels, text).pairs
        if run is not None and position is not None
    }
    return [label_of_run.get(int(run)) for run in runs.run_of_frame]


def _reward(mine: str, yours: str) -> int:
    return _MATCH if mine == yours else _MISMATCH


def _scores(first: Sequence[str], second: Sequence[str]) -> NDArray[np.int64]:
    """Returns the best score of each pair of beginnings, shape [first + 1, second + 1]."""
    scores = np.empty((len(first) + 1, len(second) + 1), dtype=np.int64)
    scores[0] = _GAP * np.arange(len(second) + 1)
    scores[:, 0] = _GAP * np.arange(len(first) + 1)
    for i, mine in enumerate(first, 1):
        for j, yours in enumerate(second, 1):
            scores[i, j] = max(
                scores[i - 1, j - 1] + _reward(mine, yours),
                scores[i - 1, j] + _GAP,
                scores[i, j - 1] + _GAP,
            )
    return scores
