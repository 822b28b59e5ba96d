"""LDA from the stream beside scikit-learn's on stored activations."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import nn
from torchprobe_lda import LDA

import torchprobe as tp
from benchmarks.measure import Comparison, peak_bytes, seconds

CLASSES, WIDTH = 40, 256
FIT, TEST = 60_000, 20_000
SETUP = f"{FIT:,} rows to fit and score, {TEST:,} to score, {WIDTH} units, {CLASSES} classes"
SKLEARN = "scikit-learn svd on stored rows"


class Rows:
    """Rows of classes made batch by batch, the same each time; nothing is stored."""

    def __init__(self, n: int, width: int = WIDTH, seed: int = 0, size: int = 4096) -> None:
        self.n, self.width, self.seed, self.size = n, width, seed, size
        generator = torch.Generator().manual_seed(1)
        self.centres = torch.randn(CLASSES, width, generator=generator)
        self.mixing = torch.randn(width, 32, generator=generator)

    def __len__(self) -> int:
        return (self.n + self.size - 1) // self.size

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for start in range(0, self.n, self.size):
            n = min(self.size, self.n - start)
            generator = torch.Generator().manual_seed(1000 * self.seed + start)
            y = torch.randint(0, CLASSES, (n,), generator=generator)
            shared = torch.randn(n, 32, generator=generator) @ self.mixing.T
            own = torch.randn(n, self.width, generator=generator)
            yield self.centres[y] + shared + 4 * own, y


def run() -> Iterator[Comparison]:
    yield from against_sklearn()
    yield from same_numbers()
    yield linear_in_rows()
    yield from wide()


def against_sklearn() -> Iterator[Comparison]:
    fit, test = list(Rows(FIT)), list(Rows(TEST, seed=1))
    x, y = (np.concatenate([part[i].numpy() for part in fit]) for i in (0, 1))
    u, v = (np.concatenate([part[i].numpy() for part in test]) for i in (0, 1))
    x64, u64 = x.astype(np.float64), u.astype(np.float64)

    def rival(a: np.ndarray, b: np.ndarray) -> None:
        model = LinearDiscriminantAnalysis(solver="svd").fit(a, y)
        model.score(a, y)
        model.score(b, v)

    plain, full, single, double = seconds(
        lambda: streamed(fit, test, LDA(control=None, described=None)),
        lambda: streamed(fit, test, LDA()),
        lambda: rival(x, u),
        lambda: rival(x64, u64),
        repeats=5,
        warm=1,
    )
    yield Comparison("LDA", plain, double, f"{SKLEARN}, float64", "s", SETUP)
    yield Comparison("LDA", plain, single, f"{SKLEARN}, float32", "s", SETUP)
    with_all = f"{SETUP}; ours with control, spectra and sample"
    yield Comparison("LDA, all defaults", full, double, f"{SKLEARN}, float64", "s", with_all)


def streamed(fit: object, test: object, analyzer: LDA) -> tp.Result:
    probe = tp.Probe(nn.Identity(), "input", [analyzer], on_error="raise")
    return probe.run(fit=fit, score=test, progress=False)["lda"]["input"]


def same_numbers() -> Iterator[Comparison]:
    """How many rows are taken for the same class, and how far the ratios lie apart."""
    x, y = (torch.cat(parts).numpy() for parts in zip(*Rows(FIT), strict=True))
    model = LinearDiscriminantAnalysis(solver="svd").fit(x.astype(np.float64), y)
    result = streamed(Rows(FIT), Rows(TEST, seed=1), LDA(dof="n", described=None, control=None))
    points = (x - result.grand_mean) @ result.scalings
    scores = points @ result.centroids.T - (result.centroids**2).sum(1) / 2 + np.log(result.priors)
    agree = float(np.mean(scores.argmax(1) == model.predict(x.astype(np.float64))))
    theirs = model.explained_variance_ratio_
    apart = float(np.abs(result.evr / theirs - 1).max())
    yield Comparison("rows predicted alike", agree, 1.0, "all", "share", SETUP)
    yield Comparison(
        "explained variance ratios", max(apart, 1e-18), 1e-9, "allowed", "relative error", SETUP
    )


def linear_in_rows() -> Comparison:
    """What twice the rows cost; the solve, which does not grow, is in both."""
    once, twice = seconds(
        lambda: streamed(Rows(60_000), Rows(4096, seed=1), LDA()),
        lambda: streamed(Rows(120_000), Rows(4096, seed=1), LDA()),
        repeats=5,
        warm=1,
    )
    setup = f"60,000 and 120,000 rows of {WIDTH} units, made on the fly"
    return Comparison("time of twice the rows", twice / once, 2.0, "linear", "times", setup)


def wide() -> Iterator[Comparison]:
    n, width = 200_000, 2048
    start = time.perf_counter()
    ours = peak_bytes(stream_wide, n, width)
    taken = time.perf_counter() - start
    setup = f"{n:,} rows of {width:,} units, {taken:.0f} s; peak beyond the start"
    stored = n * width * 8
    yield Comparison(
        "peak memory", ours / 2**20, stored / 2**20, "rows alone in float64", "MiB", setup
    )


def stream_wide(n: int, width: int) -> None:
    streamed(Rows(n, width), Rows(20_000, width, seed=1), LDA())
