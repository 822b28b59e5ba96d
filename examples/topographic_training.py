"""Does a topographic loss order the filters of a phoneme network, and what does that cost?

`python examples/topographic_training.py [OUT]`: three networks with the loss beside three without,
each pair from the same weights and in the same order of batches; some four minutes on one core. The
speech is SYNTHETIC (espeak-ng; needs `pip install -e ".[speech]"`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torchprobe_speech import (
    CMU40,
    CorpusSettings,
    FrameDataset,
    FrameTraining,
    PhonemeNet,
    espeak_corpus,
    frame_accuracy,
    recipes,
    train_phonemes,
)
from torchprobe_topography import TopographicLoss, alikeness, animate, find_filters

import torchprobe as tp

if TYPE_CHECKING:
    from collections.abc import Iterator

LAYERS = "hidden.*.linear"


@dataclass(frozen=True)
class Trained:
    """One network, and what became of it."""

    seed: int
    strength: float
    model: PhonemeNet
    accuracy: float
    """Share of test frames classified correctly."""
    neighbours: np.ndarray
    """Mean cosine of neighbouring filters, by layer."""
    random: np.ndarray
    """The same of any two filters."""

    def __str__(self) -> str:
        pairs = zip(self.neighbours, self.random, strict=True)
        cosines = "  ".join(f"{near:5.2f} /{far:5.2f}" for near, far in pairs)
        return f"seed {self.seed}  λ {self.strength:<6g} accuracy {self.accuracy:.4f}  {cosines}"


def trained(
    seed: int, strength: float, train: FrameDataset, test: FrameDataset, how: FrameTraining
) -> Trained:
    model = PhonemeNet.nm17_small(seed=seed)
    loss = TopographicLoss(LAYERS, strength)
    regulariser = loss if strength else None
    train_phonemes(model, train, replace(how, seed=seed), regulariser=regulariser)
    grids = loss.grids_of(model)
    found = [
        alikeness(each.of(each.weight).detach().numpy(), grids[each.name])
        for each in find_filters(model, LAYERS)
    ]
    near, far = (np.array([getattr(f, name) for f in found]) for name in ("neighbours", "random"))
    return Trained(seed, strength, model, frame_accuracy(model, test), near, far)


def maps(model: PhonemeNet, frames: FrameDataset) -> tp.Results:
    """Maps of all phonemes on every hidden layer."""
    probe = tp.Probe(model, "hidden.*.relu", ["topography"], class_names={"phoneme": CMU40.symbols})
    return probe.run(
        fit=frames.batches(1024),
        unpack=lambda batch: tp.Batch(batch[0], labels={"phoneme": batch[1]}),
    )


def compared(nets: list[Trained]) -> Iterator[str]:
    """What the seeds say together."""
    groups = {s: [net for net in nets if net.strength == s] for s in (0.0, nets[-1].strength)}
    for strength, some in groups.items():
        accuracies = np.array([net.accuracy for net in some])
        spread = f" ± {accuracies.std(ddof=1):.4f}" if len(some) > 1 else ""
        near, far = (np.mean([getattr(n, what) for n in some]) for what in ("neighbours", "random"))
        yield (
            f"λ {strength:<6g} accuracy {accuracies.mean():.4f}{spread} over {len(some)} seeds; "
            f"cosine of neighbours {near:.2f}, of any two filters {far:.2f}"
        )


def main(
    out: Path,
    seeds: int = 3,
    strength: float = 0.001,
    corpus: CorpusSettings = recipes.PHONEME_CORPUS,
    how: FrameTraining = recipes.PHONEME_TRAINING,
) -> list[Trained]:
    torch.set_num_threads(1)  # nets this small gain nothing from more
    speech = espeak_corpus(corpus)
    train, validation, test = (
        FrameDataset.from_utterances(part)
        for part in (speech.train, speech.validation, speech.test)
    )
    nets = []
    for seed in range(seeds):
        for each in (0.0, strength):
            nets.append(trained(seed, each, train, test, how))
            print(nets[-1], flush=True)
    print(*compared(nets), sep="\n")

    plain, topographic = (maps(net.model, validation) for net in nets[-2:])
    topographic.report(out / "report.html", title="A phoneme network with a topographic loss")
    frames = {"without": plain["topography"], f"λ = {strength:g}": topographic["topography"]}
    print(animate(frames, out / "maps.gif", groups=("aa", "iy", "s", "t"), seconds=1.5))
    return nets


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "topography-out"))
