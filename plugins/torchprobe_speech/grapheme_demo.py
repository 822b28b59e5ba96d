"""The demo's second part: a grapheme recogniser and which groups look alike to its layers."""

from dataclasses import dataclass, replace

from torch import Tensor

import torchprobe as tp

from .corpus import espeak_corpus
from .gradnap_demo import GradNAPDemo, run_gradnap_demo
from .grapheme_net import GraphemeNet
from .grapheme_training import grapheme_error, train_graphemes
from .graphemes import Alphabet
from .phonemes import CMU40
from .progress import Told, untold
from .recipes import DEMO, DemoRecipe
from .spectrograms import SpectrogramBatch, SpectrogramDataset
from .training import one_thread

__all__ = ["GraphemeDemo", "probe_graphemes", "run_grapheme_demo"]

LAYERS = ["input", "layers.*.relu", "output"]
"""What is probed: the spectrogram, every hidden layer after its rectifier, the logits."""


@dataclass(frozen=True)
class GraphemeDemo:
    """What the second part of the demo left behind.

    Attributes:
        results: Neuron activation profiles of every layer, of graphemes and of phonemes, under
            the name "grapheme_nap".
        windows: Gradient-adjusted profiles of what the network sees when it writes a letter.
        model: The trained network.
        error: Its character error rate on test sentences.
        sentences: How many it was trained on.
        unheard: How many sentences the profiles are of.
    """

    results: tp.Results
    windows: GradNAPDemo
    model: GraphemeNet
    error: float
    sentences: int
    unheard: int

    @property
    def intro(self) -> str:
        """What a report says of the network."""
        return (
            f"The grapheme network, convolutions over time, was trained with CTC on "
            f"{self.sentences:,} sentences by two voices to write letters; it gets "
            f"{self.error:.1%} of the characters of other sentences wrong. Its activation profiles "
            f"(grapheme_nap) are of {self.unheard:,} unheard sentences, whose frames are grouped "
            "by the letter that the network writes there (its highest output, where that is no "
            "blank) and by the phoneme that was spoken. Its layers are called input, "
            "layers.0.relu to layers.5.relu, and output."
        )


def run_grapheme_demo(
    recipe: DemoRecipe = DEMO,
    *,
    seed: int = 0,
    progress: bool | None = None,
    told: Told = untold,
) -> GraphemeDemo:
    """Makes a corpus, trains the compact net with CTC and profiles all its layers.

    Args:
        recipe: Sentences, voices, and how to train.
        seed: Draws the sentences, the weights and the order of training.
        progress: Whether to show bars; None shows them in a terminal.
        told: Makes the context that each stage, named, runs in: to measure its time.

    Raises:
        MissingExtraError: The extra ``speech`` is not installed.
    """
    with told("graphemes: corpus"):
        spoken = espeak_corpus(replace(recipe.grapheme_corpus, seed=seed), progress=progress)
        train, validation, test = (
            SpectrogramDataset.from_utterances(part, progress=progress)
            for part in (spoken.train, spoken.validation, spoken.test)
        )
    with told("graphemes: training"), one_thread():
        channels, top = recipe.grapheme_channels
        model = GraphemeNet.compact(channels=channels, top=top, seed=seed)
        how = replace(recipe.grapheme_training, seed=seed)
        train_graphemes(model, train, how, progress=progress)
        error = grapheme_error(model, test)
    with told("graphemes: probing"):
        results = probe_graphemes(model, validation, test, progress=progress)
    with told("graphemes: windows"):
        windows = run_gradnap_demo(model, validation, utterances=recipe.cut, progress=progress)
    return GraphemeDemo(results, windows, model, error, len(train), len(validation) + len(test))


def probe_graphemes(
    model: GraphemeNet, *data: SpectrogramDataset, progress: bool | None = None
) -> tp.Results:
    """Neuron activation profiles of every layer, by predicted grapheme and by true phoneme.

    A phoneme is known for every frame of the input, a grapheme for every frame of the output; each
    stands for the window of a layer's map that the output frame saw. Frames whose highest output is
    the blank have no grapheme.

    Args:
        model: A trained recogniser.
        data: What to show it; phonemes are those of the corpus.
        progress: Whether to show a bar; None shows it in a terminal.
    """
    watching = tp.Probe(
        model,
        LAYERS,
        {"grapheme_nap": "nap"},
        groupings={"grapheme": _predicted},
        class_names={"grapheme": Alphabet().symbols, "phoneme": CMU40.symbols},
    )
    batches = [batch for each in data for batch in each.batches(16)]
    return watching.run(fit=batches, unpack=_unpacked, progress=progress)


def _unpacked(batch: SpectrogramBatch) -> tp.Batch:
    return tp.Batch(
        (batch.spectrograms, batch.lengths),
        labels={"phoneme": batch.phonemes},
        lengths=batch.lengths,
        ids=batch.ids,
    )


def _predicted(logits: Tensor, _: object) -> Tensor:
    """The grapheme at each output frame, -1 for the blank: int64 [sample, frame]."""
    best = logits.argmax(1)
    return best.masked_fill(best == 0, -1)
