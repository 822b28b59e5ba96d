"""The main job from end to end: synthetic speech, two networks, every analyzer, a report."""

import argparse
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torchprobe as tp

from .grapheme_demo import GraphemeDemo, run_grapheme_demo
from .phoneme_demo import PhonemeDemo, run_phoneme_demo
from .phonetic_groups import phonetic_section
from .progress import Told, untold
from .recipes import DEMO, QUICK_DEMO, DemoRecipe
from .training import one_thread_of_blas

__all__ = ["Demo", "add_command", "run_demo"]

SYNTHETIC = (
    "The speech is SYNTHETIC: sentences of a small grammar, spoken by espeak-ng. What is seen here "
    "shows how the analyses work; it says little about natural speech."
)


@dataclass(frozen=True)
class Demo:
    """What the demo left behind.

    Attributes:
        results: Of every analyzer and layer of both networks; "grapheme_nap" and
            "grapheme_gradnap" are of the second.
        phonemes: The network that tells phonemes apart.
        graphemes: The network that writes letters.
        report: The HTML page.
    """

    results: tp.Results
    phonemes: PhonemeDemo
    graphemes: GraphemeDemo
    report: Path


def run_demo(
    out: str | Path,
    recipe: DemoRecipe = DEMO,
    analyzers: Iterable[str] | None = None,
    *,
    seed: int = 0,
    progress: bool | None = None,
    told: Told = untold,
) -> Demo:
    """Trains a phoneme and a grapheme network on synthetic speech, probes both, writes a report.

    The phoneme network (5×256 units, a label for each frame) meets every installed analyzer; the
    grapheme network (convolutions, CTC) is asked which letters and which phonemes look alike to
    its layers, and what it looks for when it writes a letter.

    Args:
        out: Folder for the results, figures and report.html.
        recipe: Sentences, voices, and how to train.
        analyzers: The names of those that the phoneme network meets; by default every installed
            one.
        seed: Draws the sentences, the weights and the order of training.
        progress: Whether to show bars; None shows them in a terminal.
        told: Makes the context that each stage, named, runs in: to measure its time.

    Raises:
        MissingExtraError: The extra ``speech`` is not installed.
    """
    folder = Path(out)
    phonemes = run_phoneme_demo(recipe, analyzers, seed=seed, progress=progress, told=told)
    graphemes = run_grapheme_demo(recipe, seed=seed, progress=progress, told=told)
    results = _together(
        {
            "phoneme network": phonemes.results,
            "grapheme network": graphemes.results,
            "grapheme network, windows": graphemes.windows.results,
        }
    )
    with told("saving"):
        results.save(folder / "results")
    with told("report"):
        page = _write_report(results, folder / "report.html", phonemes, graphemes)
    return Demo(results, phonemes, graphemes, page)


def _together(runs: Mapping[str, tp.Results]) -> tp.Results:
    """The results of several networks as one; each network's run keeps its account."""
    accounts = {name: each.provenance for name, each in runs.items()}
    notes = [f"{name}: {note}" for name, seen in accounts.items() for note in seen["notes"]]
    whole = {"complete": all(each.complete for each in runs.values()), "notes": notes}
    found = {analyzer: layers for each in runs.values() for analyzer, layers in each.items()}
    return tp.Results(found, {**accounts, **whole})


def _write_report(
    results: tp.Results, page: Path, phonemes: PhonemeDemo, graphemes: GraphemeDemo
) -> Path:
    from torchprobe import report

    return report.write(
        results,
        page,
        title="torchprobe demo: two networks on synthetic speech",
        intro=f"{phonemes.intro}\n\n{graphemes.intro}\n\n{SYNTHETIC}",
        extra=[phonetic_section(results["grapheme_nap"]), graphemes.windows.section()],
        figures=page.parent / "figures",
    )


# -- the command


def add_command(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds ``torchprobe demo``."""
    parser = subparsers.add_parser(
        "demo",
        help="train two networks on synthetic speech, probe them, write a report",
        description=(
            "Train a phoneme and a grapheme network on synthetic speech, probe both, and write "
            "figures, results and report.html: two minutes on two cores."
        ),
    )
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="draws everything that is random")
    parser.add_argument(
        "--quick", action="store_true", help="fewer sentences and epochs: within a minute"
    )
    parser.set_defaults(run=_command)


def _command(options: argparse.Namespace) -> None:
    with _timed("in all"), one_thread_of_blas():
        recipe = QUICK_DEMO if options.quick else DEMO
        demo = run_demo(options.out, recipe, seed=options.seed, told=_timed)
    for analyzer, layers in demo.results.items():
        _say(f"\n{analyzer}\n{layers.to_frame().to_string(index=False)}")
    _say(
        f"\nphonemes: frame accuracy on unseen sentences and voices {demo.phonemes.accuracy:.3f}"
        f"\ngraphemes: character error rate on unseen sentences {demo.graphemes.error:.3f}"
        f"\n\n{SYNTHETIC}\n\nresults: {options.out / 'results'}\nreport: {demo.report}"
    )


@contextmanager
def _timed(stage: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    _say(f"{stage:<20}{time.monotonic() - start:7.1f} s")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command's output
