"""The demo's first part: a phoneme network and what every installed analyzer finds in it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torchprobe as tp

from .corpus import espeak_corpus
from .frames import FrameDataset
from .phoneme_net import PhonemeNet
from .phoneme_training import frame_accuracy, train_phonemes
from .phonemes import CMU40
from .progress import Told, untold
from .recipes import DEMO, DemoRecipe
from .training import one_thread

__all__ = ["PhonemeDemo", "probe_phonemes", "run_phoneme_demo"]

LAYERS = ["input", "hidden.*.relu", "output"]
"""What is probed: the features, every hidden layer after its rectifier, the logits."""

CLASSES = "phoneme"


@dataclass(frozen=True)
class PhonemeDemo:
    """What the first part of the demo left behind.

    Attributes:
        results: Of every analyzer and layer.
        model: The trained network.
        accuracy: Share of test frames that it classifies correctly, 0..1.
        frames: How many it was trained on.
        sentences: In how many sentences these were.
        unheard: How many sentences it was tested on.
    """

    results: tp.Results
    model: PhonemeNet
    accuracy: float
    frames: int
    sentences: int
    unheard: int

    @property
    def intro(self) -> str:
        """What a report says of the network."""
        return (
            f"The phoneme network, 5 × 256 rectified units, was trained on {self.frames:,} frames "
            f"of {self.sentences:,} sentences to tell {len(CMU40.symbols)} phonemes apart; it "
            f"classifies {self.accuracy:.1%} of the frames of {self.unheard:,} other sentences by "
            "other voices correctly. Its layers are called input, hidden.0.relu to hidden.4.relu, "
            "and output."
        )


def run_phoneme_demo(
    recipe: DemoRecipe = DEMO,
    analyzers: Iterable[str] | None = None,
    *,
    seed: int = 0,
    progress: bool | None = None,
    told: Told = untold,
) -> PhonemeDemo:
    """Makes a corpus, trains a 5×256 phoneme network and probes all its layers.

    Analyzers see the validation sentences ("fit"), and those that score also the test sentences
    ("score"); neither was trained on, and no voice in them was heard in training.

    Args:
        recipe: Sentences, voices, and how to train.
        analyzers: The names of those to probe with; by default every installed one.
        seed: Draws the sentences, the weights and the order of training.
        progress: Whether to show bars; None shows them in a terminal.
        told: Makes the context that each stage, named, runs in: to measure its time.

    Raises:
        MissingExtraError: The extra ``speech`` is not installed.
    """
    with told("phonemes: corpus"):
        corpus = espeak_corpus(replace(recipe.phoneme_corpus, seed=seed), progress=progress)
        train, fit, score = (
            FrameDataset.from_utterances(part, progress=progress)
            for part in (corpus.train, corpus.validation, corpus.test)
        )
    with told("phonemes: training"), one_thread():
        model = PhonemeNet.nm17_small(seed=seed)
        how = replace(recipe.phoneme_training, seed=seed)
        train_phonemes(model, train, how, progress=progress)
        accuracy = frame_accuracy(model, score)
    with told("phonemes: probing"):
        names = tp.plugins().analyzers() if analyzers is None else analyzers
        chosen = {
            name: tp.analyzer(name, groupings=CLASSES, **recipe.settings.get(name, {}))
            for name in names
        }
        results = probe_phonemes(model, fit, score, chosen, progress=progress)
    sizes = len(train), len(corpus.train), len(corpus.test)
    return PhonemeDemo(results, model, accuracy, *sizes)


def probe_phonemes(
    model: PhonemeNet,
    fit: FrameDataset,
    score: FrameDataset,
    analyzers: Mapping[str, tp.Analyzer],
    *,
    progress: bool | None = None,
) -> tp.Results:
    """Analyzers on every layer, with phonemes as classes, told which frames the network gets right.

    Args:
        model: A trained network of frames.
        fit: The frames that analyzers learn from.
        score: The frames that they are tested on.
        analyzers: By the name that their results go by.
        progress: Whether to show a bar; None shows it in a terminal.
    """
    watching = tp.Probe(
        model,
        LAYERS,
        analyzers,
        groupings={"correct": tp.correct(CLASSES)},
        class_names={CLASSES: CMU40.symbols},
    )
    return watching.run(
        fit=fit.batches(1024, ids=True),
        score=score.batches(1024, ids=True),
        unpack=lambda batch: tp.Batch(batch[0], labels={CLASSES: batch[1]}, ids=batch[2]),
        progress=progress,
    )
