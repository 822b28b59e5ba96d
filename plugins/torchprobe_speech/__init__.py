"""Spoken phonemes: a synthetic corpus, readers of real ones, features, networks, training, a demo.

The corpus that this plugin makes is SYNTHETIC speech, spoken by espeak-ng; corpora in the layouts
of TIMIT and LibriSpeech are read by the same classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe import hookimpl
from torchprobe_speech import recipes
from torchprobe_speech.audio import read_audio, resample, write_wav
from torchprobe_speech.corpus import Corpus, espeak_corpus
from torchprobe_speech.features import PHONEME_FEATURES, SPECTROGRAM_FEATURES, LogMel
from torchprobe_speech.frames import FrameBatches, FrameDataset, Frames
from torchprobe_speech.g2p import (
    G2pTraining,
    GraphemeToPhoneme,
    Pronunciation,
    PronunciationError,
    pronunciation_error,
    train_g2p,
)
from torchprobe_speech.grapheme_net import GraphemeNet, LayerShape
from torchprobe_speech.grapheme_training import (
    CtcTraining,
    grapheme_error,
    train_graphemes,
    transcribe,
)
from torchprobe_speech.graphemes import (
    Alphabet,
    character_error_rate,
    edit_distance,
    greedy_decode,
    word_error_rate,
)
from torchprobe_speech.label_cascade import (
    Alignment,
    Runs,
    align,
    carry_to_frames,
    collapse,
    phoneme_of_grapheme,
)
from torchprobe_speech.layouts import layout
from torchprobe_speech.librispeech import read_librispeech
from torchprobe_speech.phoneme_net import PhonemeNet
from torchprobe_speech.phoneme_training import FrameTraining, frame_accuracy, train_phonemes
from torchprobe_speech.phonemes import (
    CATEGORIES,
    CMU40,
    MANNERS,
    TIMIT39,
    TIMIT61,
    Inventory,
    category,
    manner,
)
from torchprobe_speech.pronunciation import PronunciationDataset, read_cmudict
from torchprobe_speech.spectrograms import (
    SpectrogramBatch,
    SpectrogramBatches,
    SpectrogramDataset,
)
from torchprobe_speech.synthesis import CorpusSettings
from torchprobe_speech.timit import read_timit, write_timit
from torchprobe_speech.torchaudio_import import import_torchaudio
from torchprobe_speech.utterances import Segment, Utterance

if TYPE_CHECKING:
    from torch import nn

    from torchprobe.hookspecs import Subparsers

__all__ = [
    "CATEGORIES",
    "CMU40",
    "MANNERS",
    "PHONEME_FEATURES",
    "SPECTROGRAM_FEATURES",
    "TIMIT39",
    "TIMIT61",
    "Alignment",
    "Alphabet",
    "Corpus",
    "CorpusSettings",
    "CtcTraining",
    "FrameBatches",
    "FrameDataset",
    "FrameTraining",
    "Frames",
    "G2pTraining",
    "GraphemeNet",
    "GraphemeToPhoneme",
    "Inventory",
    "LayerShape",
    "LogMel",
    "PhonemeNet",
    "Pronunciation",
    "PronunciationDataset",
    "PronunciationError",
    "Runs",
    "Segment",
    "SpectrogramBatch",
    "SpectrogramBatches",
    "SpectrogramDataset",
    "Utterance",
    "align",
    "carry_to_frames",
    "category",
    "character_error_rate",
    "collapse",
    "edit_distance",
    "espeak_corpus",
    "frame_accuracy",
    "grapheme_error",
    "greedy_decode",
    "import_torchaudio",
    "manner",
    "phoneme_of_grapheme",
    "pronunciation_error",
    "read_audio",
    "read_cmudict",
    "read_librispeech",
    "read_timit",
    "recipes",
    "resample",
    "train_g2p",
    "train_graphemes",
    "train_phonemes",
    "transcribe",
    "word_error_rate",
    "write_timit",
    "write_wav",
]


@hookimpl
def torchprobe_layout(module: nn.Module, shape: tuple[int, ...]) -> str | None:
    """Know the axes of torchaudio's spectrograms."""
    return layout(module, shape)


@hookimpl
def torchprobe_commands(subparsers: Subparsers) -> None:
    """Offer ``torchprobe demo``."""
    from torchprobe_speech.demo import add_command

    add_command(subparsers)
