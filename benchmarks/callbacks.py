"""Probing while a model trains, beside the same training without."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import cycle

import torch
from torch import nn

import torchprobe as tp
from benchmarks.measure import Comparison, overhead
from torchprobe.accumulators import Moments

LAYERS, WIDTH, BATCH, STEPS = 12, 512, 128, 10
SETUP = f"{LAYERS} x {WIDTH} MLP, batch {BATCH}, Adam"


class Spread(tp.Analyzer):
    """Mean and variance of every channel: what is watched in training most often."""

    name = "spread"

    def start(self, layer: tp.Layer) -> None:
        self.moments = Moments(layer.channels)

    def update(self, batch: tp.LayerBatch) -> None:
        self.moments.update(batch.rows())

    def compute(self) -> tp.Result:
        mean, variance = self.moments.mean, self.moments.variance()
        return self.result(mean=("channel", mean), variance=("channel", variance))


class Gradients(Spread):
    """The same of gradients."""

    name = "gradients"
    signals = ("activations", "gradients")

    def update(self, batch: tp.LayerBatch) -> None:
        self.moments.update(batch.gradient_rows())


def net() -> nn.Sequential:
    torch.manual_seed(0)
    hidden = [m for _ in range(LAYERS) for m in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, 10))


def data() -> list[tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(1)
    return [(torch.randn(BATCH, WIDTH), torch.randint(0, 10, (BATCH,))) for _ in range(10)]


class Training:
    """Some steps of a training at a time, with or without the three lines."""

    def __init__(self, model: nn.Module, loop: tp.callbacks.Loop | None = None) -> None:
        self.model, self.loop = model, loop
        self.optimizer = torch.optim.Adam(model.parameters(), 1e-4)
        self.batches = cycle(data())

    def __call__(self) -> None:
        for _ in range(STEPS):
            x, y = next(self.batches)
            self.optimizer.zero_grad()
            if self.loop is None:
                nn.functional.cross_entropy(self.model(x), y).backward()
                self.optimizer.step()
                continue
            with self.loop.batch(labels=y):
                nn.functional.cross_entropy(self.model(x), y).backward()
            self.optimizer.step()
            self.loop.step()


def run() -> Iterator[Comparison]:
    yield every_ten_steps(Spread())
    yield every_ten_steps(Gradients())
    yield every_step(Spread())
    yield pass_over_a_loader()


def every_ten_steps(analyzer: tp.Analyzer, every: int = 10) -> Comparison:
    model = net()
    objective = tp.TrainingLoss("mean")
    probe = tp.Probe(model, tp.types(nn.ReLU), [analyzer], objective=objective)
    with tp.callbacks.Loop(probe, every=every) as loop:
        plain, ours = overhead(Training(copy.deepcopy(model)), Training(model, loop), repeats=7)
    what = "gradients" if "gradients" in analyzer.signals else "activations"
    when = f"every {every} steps" if every > 1 else "every step"
    name = f"{what} of the training itself, {when}"
    return Comparison(name, ours, plain, "training without", "s", f"{SETUP}, {STEPS} steps")


def every_step(analyzer: tp.Analyzer) -> Comparison:
    return every_ten_steps(analyzer, every=1)


def pass_over_a_loader() -> Comparison:
    """What a callback's pass costs beyond a run of the same probe over the same loader."""
    model, loader = net(), data()
    probe = tp.Probe(model, tp.types(nn.ReLU), [Spread()])
    recorder = tp.callbacks.Recorder(probe, loader, every=1)

    def ours() -> None:
        recorder.stepped()

    plain, taken = overhead(lambda: probe.run(loader, progress=False), ours, repeats=11)
    setup = f"{SETUP}, {len(loader)} batches"
    return Comparison("a pass over a loader", taken, plain, "probe.run", "s", setup)


if __name__ == "__main__":
    for comparison in run():
        print(comparison)
