"""What does a recogniser of graphemes look for, and where? Gradient-adjusted activation profiles.

Trains a compact convolutional net with CTC on synthetic speech (about 40 s on one core), cuts what
it sees at every letter that it writes, and shows profiles by letter and by phoneme: images of the
input, action potentials beside optimal inputs, and which groups each layer keeps apart.

    python examples/gradnap_speech.py [folder]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torchprobe_speech import (
    Corpus,
    GraphemeNet,
    SpectrogramDataset,
    espeak_corpus,
    grapheme_error,
    recipes,
    train_graphemes,
)
from torchprobe_speech.gradnap_demo import GradNAPDemo, run_gradnap_demo

from torchprobe import plotting, report

INTRO = (
    "The speech is SYNTHETIC: sentences of a small grammar, spoken by espeak-ng. A convolutional "
    "network was trained with CTC on {train:,} sentences to write letters; it gets {error:.1%} of "
    "the characters of other sentences wrong."
)


def trained(corpus: Corpus) -> GraphemeNet:
    """The compact net, trained on the corpus."""
    model = GraphemeNet.compact(seed=0)
    data = SpectrogramDataset.from_utterances(corpus.train)
    train_graphemes(model, data, recipes.DEMO_GRAPHEME_TRAINING)
    return model


def written(demo: GradNAPDemo, folder: Path, intro: str) -> Path:
    """Every picture, and a report with the most telling of them."""
    for name, figure in demo.figures():
        plotting.save(figure, folder / "figures" / f"{name}.png")
    return report.write(
        demo.results, folder / "report.html", title="GradNAP of a grapheme recogniser",
        intro=intro, extra=[demo.section()],
    )  # fmt: skip


def main(folder: Path) -> GradNAPDemo:
    """Train, profile, report."""
    torch.set_num_threads(1)  # the net is too small to gain from more
    corpus = espeak_corpus(recipes.DEMO_GRAPHEME_CORPUS)
    model = trained(corpus)
    error = grapheme_error(model, SpectrogramDataset.from_utterances(corpus.test))
    demo = run_gradnap_demo(model, SpectrogramDataset.from_utterances(corpus.validation))
    page = written(demo, folder, INTRO.format(train=len(corpus.train), error=error))
    print(f"character error {error:.3f}; report: {page}")
    return demo


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "gradnap-out"))
