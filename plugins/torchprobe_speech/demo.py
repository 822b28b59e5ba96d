"""The main job from end to end: synthetic speech, a phoneme network, every analyzer, a report."""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

import torchprobe as tp

from .corpus import Corpus, espeak_corpus
from .frames import FrameDataset
from .phoneme_net import PhonemeNet
from .phoneme_training import frame_accuracy, train_phonemes
from .phonemes import CMU40
from .recipes import PHONEME_CORPUS, PHONEME_TRAINING

__all__ = ["Demo", "add_command", "run_demo"]

LAYERS = ["input", "hidden.*.relu", "output"]
"""What is probed: the features, every hidden layer after its rectifier, the logits."""

SYNTHETIC = (
    "The speech is SYNTHETIC: sentences of a small grammar, spoken by espeak-ng. What is seen here "
    "shows how the analyses work; it says little about natural speech."
)


@dataclass(frozen=True)
class Demo:
    """What the demo left behind.

    Attributes:
        results: Of every analyzer and layer.
        model: The trained network.
        accuracy: Share of test frames that it classifies correctly, 0..1.
        report: The HTML page.
    """

    results: tp.Results
    model: PhonemeNet
    accuracy: float
    report: Path


def run_demo(out: str | Path, *, seed: int = 0, progress: bool | None = None) -> Demo:
    """Makes a corpus, trains a 5×256 phoneme network, probes all its layers, writes a report.

    Analyzers see the validation sentences ("fit"), and those that score also the test sentences
    ("score"); neither was trained on, and no voice in them was heard in training.

    Args:
        out: Folder for the results, figures and report.html.
        seed: Draws the sentences, the weights and the order of training.
        progress: Whether to show bars; None shows them in a terminal.

    Raises:
        MissingExtraError: The extra ``speech`` is not installed.
    """
    folder = Path(out)
    with _told("corpus"):
        corpus = espeak_corpus(replace(PHONEME_CORPUS, seed=seed), progress=progress)
        train, fit, score = (
            FrameDataset.from_utterances(part, progress=progress)
            for part in (corpus.train, corpus.validation, corpus.test)
        )
    with _told("training"), _one_thread():
        model = PhonemeNet.nm17_small(seed=seed)
        train_phonemes(model, train, replace(PHONEME_TRAINING, seed=seed), progress=progress)
        accuracy = frame_accuracy(model, score)
    with _told("probing"):
        results = probe(model, fit, score, progress=progress)
        results.save(folder / "results")
    with _told("report"):
        page = _write_report(results, folder, _intro(corpus, len(train), accuracy))
    return Demo(results, model, accuracy, page)


def probe(
    model: PhonemeNet, fit: FrameDataset, score: FrameDataset, *, progress: bool | None = None
) -> tp.Results:
    """Every installed analyzer on every layer, with phonemes as classes."""
    watching = tp.Probe(
        model,
        LAYERS,
        list(tp.plugins().analyzers()),
        class_names={"phoneme": CMU40.symbols},
    )
    return watching.run(
        fit=fit.batches(1024, ids=True),
        score=score.batches(1024, ids=True),
        unpack=lambda batch: tp.Batch(batch[0], labels={"phoneme": batch[1]}, ids=batch[2]),
        progress=progress,
    )


def _intro(corpus: Corpus, frames: int, accuracy: float) -> str:
    return (
        f"A network of 5 × 256 rectified units was trained on {frames:,} frames of "
        f"{len(corpus.train)} sentences to tell {len(CMU40.symbols)} phonemes apart; it classifies "
        f"{accuracy:.1%} of the frames of {len(corpus.test)} other sentences by other voices "
        f"correctly. {SYNTHETIC}"
    )


def _write_report(results: tp.Results, folder: Path, intro: str) -> Path:
    from torchprobe import report

    results.gallery(folder / "figures")
    return report.write(
        results, folder / "report.html", title="torchprobe demo: a phoneme network", intro=intro
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Train with one thread.

    The nets are too small to gain from more, and where cores are shared, threads wait by spinning:
    two were seen to take ten times as long as one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _told(stage: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    print(f"{stage:<9}{time.monotonic() - start:6.1f} s", flush=True)  # noqa: T201 - a command's output


def add_command(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds ``torchprobe demo``."""
    parser = subparsers.add_parser(
        "demo",
        help="train a phoneme network on synthetic speech, probe it, write a report",
        description=run_demo.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="draws everything that is random")
    parser.set_defaults(run=_command)


def _command(options: argparse.Namespace) -> None:
    demo = run_demo(options.out, seed=options.seed)
    print(f"\nframe accuracy on unseen sentences and voices: {demo.accuracy:.3f}")  # noqa: T201
    for analyzer, layers in demo.results.items():
        print(f"\n{analyzer}\n{layers.to_frame().to_string(index=False)}")  # noqa: T201
    print(f"\n{SYNTHETIC}\nreport: {demo.report}")  # noqa: T201
