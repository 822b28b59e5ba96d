"""Corpora and training settings that go together, with what they cost and reach.

Times are CPU seconds on one core of a 2-core machine; figures that chose between settings are those
of the validation sentences, figures that are reached those of the test sentences.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .grapheme_training import CtcTraining
from .phoneme_training import FrameTraining
from .synthesis import CorpusSettings

__all__ = [
    "DEMO",
    "DEMO_GRAPHEME_CORPUS",
    "DEMO_GRAPHEME_TRAINING",
    "FULL_PHONEME_CORPUS",
    "FULL_PHONEME_TRAINING",
    "GRAPHEME_CORPUS",
    "GRAPHEME_TRAINING",
    "PHONEME_CORPUS",
    "PHONEME_TRAINING",
    "QUICK_DEMO",
    "QUICK_GRAPHEME_CORPUS",
    "QUICK_GRAPHEME_TRAINING",
    "QUICK_PHONEME_CORPUS",
    "QUICK_PHONEME_TRAINING",
    "DemoRecipe",
]

PHONEME_CORPUS = CorpusSettings(train=600, validation=60, test=120, voices=40, heldout_voices=8)
"""27 minutes of training speech by 40 voices; made in 4 s."""

PHONEME_TRAINING = FrameTraining(epochs=4, batch_size=512, peak_rate=4e-3)
"""The 5 x 256 net: 20 s, frame accuracy 0.880 on validation and 0.911 on test sentences (0.896
without silence), all by unheard voices."""

QUICK_PHONEME_CORPUS = CorpusSettings(
    train=300, validation=20, test=40, voices=40, heldout_voices=8
)
"""13 minutes of training speech; made in 3 s."""

QUICK_PHONEME_TRAINING = FrameTraining(epochs=2, batch_size=384, peak_rate=4e-3)
"""The 5 x 256 net: 5 s, frame accuracy 0.861 on test sentences."""

FULL_PHONEME_CORPUS = CorpusSettings(train=3000, validation=60, test=120, voices=40)
"""Five times as much by the same voices, with the same validation and test sentences."""

FULL_PHONEME_TRAINING = FrameTraining(epochs=5, batch_size=512, peak_rate=4e-3)
"""The 5 x 256 net: 2 minutes, frame accuracy 0.905 on validation, 0.928 on test sentences."""

GRAPHEME_CORPUS = CorpusSettings(
    train=1200, validation=60, test=100, voices=2, heldout_voices=0, silence=(0.1, 0.2)
)
"""53 minutes by two voices, the same in all splits: more sentences teach spelling faster than more
voices or epochs."""

GRAPHEME_TRAINING = CtcTraining(epochs=4, batch_size=8, peak_rate=3e-3)
"""The compact net: 40 s, character error 0.075 on validation, 0.073 on test sentences; 6 epochs
reach 0.043 and 0.038 in 60 s. Steps of 16 learn half as much in the same time (0.327 after 6)."""

DEMO_GRAPHEME_CORPUS = CorpusSettings(
    train=800, validation=60, test=100, voices=2, heldout_voices=0, silence=(0.1, 0.2)
)
"""35 minutes by two voices; made in 9 s."""

DEMO_GRAPHEME_TRAINING = CtcTraining(epochs=4, batch_size=4, peak_rate=4e-3)
"""The compact net: 30 s, character error 0.095 on validation and 0.097 on test sentences."""

QUICK_GRAPHEME_CORPUS = CorpusSettings(
    train=360, validation=40, test=60, voices=2, heldout_voices=0, silence=(0.1, 0.2)
)
"""16 minutes by the same voices."""

QUICK_GRAPHEME_TRAINING = CtcTraining(epochs=4, batch_size=2, peak_rate=3e-3)
"""The compact net with 64 channels and 128 on top: 12 s, character error 0.30 on validation
sentences."""


@dataclass(frozen=True)
class DemoRecipe:
    """What the two networks of the demo are trained with.

    Attributes:
        phoneme_corpus: Sentences and voices of the phoneme network.
        phoneme_training: How that is trained.
        grapheme_corpus: Sentences and voices of the grapheme network.
        grapheme_training: How that is trained.
        grapheme_channels: Its channels, and those of the two layers on top.
        cut: How many sentences are cut into windows for gradient-adjusted profiles.
        settings: Of analyzers, by name, where their defaults would take too long for a demo; of
            analyzers that are not installed they are not used.
    """

    phoneme_corpus: CorpusSettings
    phoneme_training: FrameTraining
    grapheme_corpus: CorpusSettings
    grapheme_training: CtcTraining
    grapheme_channels: tuple[int, int] = (96, 192)
    cut: int = 60
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


_IMAGES = {"slt_classes": {"image": (11, 23)}}
"""Eleven frames of 23 bands are what the phoneme network sees."""

DEMO = DemoRecipe(
    PHONEME_CORPUS,
    PHONEME_TRAINING,
    DEMO_GRAPHEME_CORPUS,
    DEMO_GRAPHEME_TRAINING,
    settings={
        **_IMAGES,
        "linear_probe": {"rows": 2000},
        "projection": {"points": 400, "training": 1000},
    },
)
"""The demo."""

_QUICK_VIEWS = ("pca", "autoencoder")
"""Projections of the quick demo: UMAP alone takes 8 s to be compiled."""

QUICK_DEMO = DemoRecipe(
    QUICK_PHONEME_CORPUS,
    QUICK_PHONEME_TRAINING,
    QUICK_GRAPHEME_CORPUS,
    QUICK_GRAPHEME_TRAINING,
    grapheme_channels=(64, 128),
    cut=20,
    settings={
        **_IMAGES,
        "linear_probe": {"rows": 1000, "max_steps": 100},
        "projection": {"methods": _QUICK_VIEWS, "points": 250, "training": 400},
    },
)
"""The demo with ``--quick``."""
