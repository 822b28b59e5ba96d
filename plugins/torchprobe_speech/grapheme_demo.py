"""The demo's second part: a grapheme recogniser and which groups look alike to its layers."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

import torchprobe as tp

from .corpus import espeak_corpus
from .grapheme_net import GraphemeNet
from .grapheme_training import CtcTraining, grapheme_error, train_graphemes
from .graphemes import Alphabet
from .phonemes import CMU40
from .recipes import QUICK_GRAPHEME_CORPUS, QUICK_GRAPHEME_TRAINING
from .spectrograms import SpectrogramBatch, SpectrogramDataset
from .synthesis import CorpusSettings

__all__ = ["GraphemeDemo", "grapheme_profiles", "run_grapheme_demo"]

LAYERS = ["layers.*.relu", "output"]
"""What is probed: every hidden layer after its rectifier, the logits."""


@dataclass(frozen=True)
class GraphemeDemo:
    """What the second part of the demo left behind.

    Attributes:
        results: Neuron activation profiles of every layer, of graphemes and of phonemes.
        model: The trained network.
        error: Its character error rate on test sentences.
        sentences: How many it was trained on.
    """

    results: tp.Results
    model: GraphemeNet
    error: float
    sentences: int

    @property
    def intro(self) -> str:
        """What a report says of the network."""
        return (
            f"A convolutional network was trained with CTC on {self.sentences:,} sentences of "
            f"synthetic speech by two voices to write letters; it gets {self.error:.1%} of the "
            "characters of other sentences wrong. Frames are grouped by the letter that the "
            "network writes there (its highest output, where that is no blank) and by the phoneme "
            "that was spoken."
        )


def run_grapheme_demo(
    corpus: CorpusSettings = QUICK_GRAPHEME_CORPUS,
    training: CtcTraining = QUICK_GRAPHEME_TRAINING,
    *,
    seed: int = 0,
    progress: bool | None = None,
) -> GraphemeDemo:
    """Makes a corpus, trains the compact net with CTC and profiles all its layers.

    Args:
        corpus: The sentences and voices.
        training: How to train.
        seed: Draws the sentences, the weights and the order of training.
        progress: Whether to show bars; None shows them in a terminal.

    Raises:
        MissingExtraError: The extra ``speech`` is not installed.
    """
    spoken = espeak_corpus(replace(corpus, seed=seed), progress=progress)
    train, test, unseen = (
        SpectrogramDataset.from_utterances(part, progress=progress)
        for part in (spoken.train, spoken.test, [*spoken.validation, *spoken.test])
    )
    model = GraphemeNet.compact(seed=seed)
    train_graphemes(model, train, replace(training, seed=seed), progress=progress)
    error = grapheme_error(model, test)
    return GraphemeDemo(
        grapheme_profiles(model, unseen, progress=progress), model, error, len(train)
    )


def grapheme_profiles(
    model: GraphemeNet, data: SpectrogramDataset, *, progress: bool | None = None
) -> tp.Results:
    """Neuron activation profiles of every layer, by predicted grapheme and by true phoneme.

    Each output frame stands for the window of a layer's map that it saw. Frames whose highest
    output is the blank have no grapheme.

    Args:
        model: A trained recogniser.
        data: What to show it; phonemes are those of the corpus.
        progress: Whether to show a bar; None shows it in a terminal.
    """
    watching = tp.Probe(
        model,
        LAYERS,
        {"grapheme_nap": tp.analyzer("nap", window="field")},
        groupings={"grapheme": _predicted},
        class_names={"grapheme": Alphabet().symbols, "phoneme": CMU40.symbols},
    )
    return watching.run(
        fit=data.batches(16), unpack=lambda batch: _said(model, batch), progress=progress
    )


def _said(model: GraphemeNet, batch: SpectrogramBatch) -> tp.Batch:
    """A batch with the phoneme at the middle of what each output frame sees."""
    lengths = model.output_lengths(batch.lengths)
    phonemes = batch.phonemes[:, :: model.stride]  # [sample, output frame]; padding is symmetric
    spoken = torch.arange(phonemes.shape[1]) < lengths[:, None]
    return tp.Batch(
        (batch.spectrograms, batch.lengths),
        labels={"phoneme": phonemes.masked_fill(~spoken, -1)},
        mask=spoken,
        ids=batch.ids,
    )


def _predicted(logits: Tensor, _: object) -> Tensor:
    """The grapheme at each output frame, -1 for the blank: int64 [sample, frame]."""
    best = logits.argmax(1)
    return best.masked_fill(best == 0, -1)
