"""Which sentences the synthetic corpus holds, who says them, and how they are recorded."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
from numpy.typing import NDArray

from torchprobe.errors import SettingError

from .audio import resample
from .espeak import Request, Speech, speak
from .espeak_phonemes import merge_silence, phoneme_segments, word_segments
from .phonemes import SILENCE
from .sentences import distinct_sentences
from .utterances import Segment, Utterance
from .voices import Voice, choose_voices

__all__ = ["RATE", "CorpusSettings", "PlannedSentence", "plan", "synthesise"]

RATE = 16_000  # samples per second, as in TIMIT
_INT16_SCALE = np.float32(32768)


@dataclass(frozen=True)
class CorpusSettings:
    """What the synthetic corpus consists of; the same settings give the same files.

    Attributes:
        train: Sentences to train with.
        validation: Sentences to choose settings with.
        test: Sentences to measure with; no sentence occurs twice in the corpus.
        voices: Voices of the training sentences.
        heldout_voices: Voices of the validation sentences and as many others of the test
            sentences, none heard in training; 0 gives all splits the training voices.
        silence: Shortest and longest silence before and after a sentence, in seconds; (0, 0) for
            none. espeak itself leaves almost none, and silence is a class of its own.
        noise_db: Level of white noise relative to full scale, which keeps silence from being
            digital zero; None for no noise.
        seed: Draws sentences, voices, silences and noise.

    Raises:
        SettingError: A number is out of range.

    >>> CorpusSettings(train=3000).test
    120
    """

    train: int = 600
    validation: int = 60
    test: int = 120
    voices: int = 40
    heldout_voices: int = 8
    silence: tuple[float, float] = (0.1, 0.3)
    noise_db: float | None = -60.0
    seed: int = 0

    def __post_init__(self) -> None:
        counts = (self.train, self.validation, self.test)
        if min(counts) < 0 or not sum(counts):
            raise SettingError(f"numbers of sentences must not be negative or all 0: {counts}")
        if not 0 <= self.silence[0] <= self.silence[1]:
            raise SettingError(f"silence is (shortest, longest) in seconds, not {self.silence}")
        choose_voices(self.voices, self.heldout_voices, self.seed)


@dataclass(frozen=True)
class PlannedSentence:
    """A sentence before it is spoken: its place in the corpus, its voice, its words."""

    name: str
    voice: Voice
    text: str


def plan(settings: CorpusSettings) -> list[PlannedSentence]:
    """Returns all sentences, test first: its files stay the same when the training set grows."""
    texts = distinct_sentences(settings.seed)
    train, validation, test = choose_voices(settings.voices, settings.heldout_voices, settings.seed)
    return [
        *_plan_split("TEST", settings.test, test, texts),
        *_plan_split("VALIDATION", settings.validation, validation, texts),
        *_plan_split("TRAIN", settings.train, train, texts),
    ]


def synthesise(
    sentences: Sequence[PlannedSentence], settings: CorpusSettings
) -> Generator[Utterance, None, None]:
    """Yields the sentences as utterances at 16 kHz.

    Raises:
        MissingExtraError: espeakng-loader is not installed.
        EspeakError: espeak-ng failed.
    """
    requests = [
        Request(each.text, each.voice.name, each.voice.pitch, each.voice.rate) for each in sentences
    ]
    with closing(speak(requests, settings.seed)) as speeches:
        for sentence, speech in zip(sentences, speeches, strict=True):
            yield _record(sentence, speech, settings)


def _plan_split(
    split: str, count: int, voices: Sequence[Voice], texts: Iterator[str]
) -> Iterator[PlannedSentence]:
    for number, (voice, text) in enumerate(islice(zip(cycle(voices), texts, strict=False), count)):
        yield PlannedSentence(f"{split}/DR1/{voice.speaker}/SX{number:05d}", voice, text)


def _record(sentence: PlannedSentence, speech: Speech, settings: CorpusSettings) -> Utterance:
    draw = np.random.default_rng([settings.seed, *sentence.name.encode()])
    before, after = (round(RATE * seconds) for seconds in draw.uniform(*settings.silence, size=2))
    spoken = resample(speech.samples.astype(np.float32) / _INT16_SCALE, speech.rate, RATE)
    samples = np.pad(spoken, (before, after))  # [sample]
    phonemes = _moved(phoneme_segments(speech), before, speech.rate)
    return Utterance(
        name=sentence.name,
        speaker=sentence.voice.speaker,
        text=sentence.text,
        rate=RATE,
        phonemes=_with_silence(phonemes, len(samples)),
        words=_moved(word_segments(speech, sentence.text), before, speech.rate),
        samples=_with_noise(samples, settings.noise_db, draw),
    )


def _moved(segments: Sequence[Segment], before: int, rate: int) -> tuple[Segment, ...]:
    """Converts times from espeak's rate and counts them from the beginning of the silence."""
    return tuple(
        Segment(before + round(start * RATE / rate), before + round(end * RATE / rate), label)
        for start, end, label in segments
    )


def _with_silence(phonemes: Sequence[Segment], total: int) -> tuple[Segment, ...]:
    """Labels everything before and after the speech as silence."""
    before = Segment(0, phonemes[0].start, SILENCE)
    after = Segment(phonemes[-1].end, total, SILENCE)
    return merge_silence([before, *phonemes, after])


def _with_noise(
    samples: NDArray[np.float32], level_db: float | None, draw: np.random.Generator
) -> NDArray[np.float32]:
    if level_db is None:
        return samples
    noise = draw.standard_normal(len(samples), dtype=np.float32)
    return samples + np.float32(10 ** (level_db / 20)) * noise
