"""From espeak-ng's events to labelled segments in the 39 phonemes of the CMU dictionary."""

from collections.abc import Sequence
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from torchprobe.errors import LabelError

from .espeak import Speech
from .phonemes import SILENCE, manner
from .utterances import Segment

__all__ = ["merge_silence", "phoneme_segments", "word_segments"]

_MNEMONICS = """
_ sil|_: sil|a ae|aa ae|A: aa|0 aa|A@ aa r|O: ao|O2 ao|O@ ao r|o@ ao r|V ah|@ ah|@2 ah|@- ah|a# ah|
@L ah l|3 er|3: er|E eh|e@ eh r|I ih|I# ih|I2 ih|i@3 ih r|i iy|i: iy|i@ iy ah|u: uw|U uh|U@ uh r|
oU ow|eI ey|aI ay|aI@ ay ah|aI3 ay er|aU aw|OI oy|p p|b b|t t|t# t|t2 t|? t|d d|k k|g g|tS ch|
dZ jh|f f|v v|T th|D dh|s s|z z|S sh|Z zh|h hh|m m|n n|n- n|N ng|l l|r r|r- r|w w|j y|; -
"""
_PHONEMES_OF = {
    key: tuple(symbols) for key, *symbols in (e.split() for e in _MNEMONICS.strip().split("|"))
}
_MARKER = ("-",)  # an event without a sound: its time belongs to the phoneme before it
_FIRST_SHARE = 0.6  # of two phonemes in one event; espeak does not say where they meet
_QUIET = 30  # of 32768; espeak's closures are digital silence
_LONGEST_CLOSURE = 0.06  # seconds; espeak's are 20 to 50 ms


def phoneme_segments(speech: Speech) -> tuple[Segment, ...]:
    """Returns the phonemes of what espeak-ng said, at its own rate, without gaps.

    espeak credits the closure of a stop or affricate to the phoneme before; it is moved to the
    stop. Events of two phonemes, such as a vowel with r, are split 60 to 40, which is approximate.

    Raises:
        LabelError: espeak-ng used a mnemonic that is not known here.
    """
    events = [(start, _phonemes(mnemonic)) for start, mnemonic in speech.phonemes]
    sounds = [(0, (SILENCE,)), *(event for event in events if event[1] != _MARKER)]
    starts = _with_closures([start for start, _ in sounds], [s[0] for _, s in sounds], speech)
    ends = [*starts[1:], len(speech.samples)]
    segments = [
        segment
        for (_, symbols), start, end in zip(sounds, starts, ends, strict=True)
        for segment in _split(symbols, start, end)
    ]
    return merge_silence(segments)


def word_segments(speech: Speech, text: str) -> tuple[Segment, ...]:
    """Returns the words of what espeak-ng said, at its own rate."""
    pauses = takewhile(lambda event: _phonemes(event[1]) == (SILENCE,), reversed(speech.phonemes))
    end_of_speech = min((start for start, _ in pauses), default=len(speech.samples))
    starts = [start for start, _ in speech.words]
    return tuple(
        Segment(start, end, text[slice(*characters)])
        for (start, characters), end in zip(speech.words, [*starts[1:], end_of_speech], strict=True)
    )


def merge_silence(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Joins neighbouring silences and drops segments without samples.

    >>> merge_silence([Segment(0, 2, "sil"), Segment(2, 2, "t"), Segment(2, 5, "sil")])
    (Segment(start=0, end=5, label='sil'),)
    """
    merged: list[Segment] = []
    for segment in segments:
        if segment.start == segment.end:
            continue
        if merged and merged[-1].label == segment.label == SILENCE:
            merged[-1] = merged[-1]._replace(end=segment.end)
        else:
            merged.append(segment)
    return tuple(merged)


def _phonemes(mnemonic: str) -> tuple[str, ...]:
    bare = mnemonic.lstrip("',")  # stress marks
    if bare not in _PHONEMES_OF:
        raise LabelError(
            f"espeak-ng's phoneme {mnemonic!r} has no counterpart among the 39 of the CMU "
            "dictionary; this version of espeakng-loader is newer than 0.2.4 knows"
        )
    return _PHONEMES_OF[bare]


def _with_closures(starts: list[int], symbols: Sequence[str], speech: Speech) -> list[int]:
    """Returns the starts with those of stops and affricates moved to where the sound stops."""
    moved = list(starts)
    for index in range(2, len(starts)):  # a first phoneme follows the opening silence
        if manner(symbols[index]) in ("stop", "affricate") and symbols[index - 1] != SILENCE:
            half = (moved[index - 1] + starts[index]) // 2
            earliest = max(half, starts[index] - round(_LONGEST_CLOSURE * speech.rate))
            moved[index] = _quiet_from(speech.samples, earliest, starts[index])
    return moved


def _quiet_from(samples: NDArray[np.int16], earliest: int, end: int) -> int:
    """Returns the first position from which all samples up to `end` are quiet."""
    loud = np.flatnonzero(np.abs(samples[earliest:end].astype(np.int32)) >= _QUIET)
    return earliest + int(loud[-1]) + 1 if len(loud) else earliest


def _split(symbols: Sequence[str], start: int, end: int) -> list[Segment]:
    if len(symbols) == 1:
        return [Segment(start, end, symbols[0])]
    middle = start + round(_FIRST_SHARE * (end - start))
    return [Segment(start, middle, symbols[0]), Segment(middle, end, symbols[1])]
