"""Rows of classes, and the analyzers run over them as a user would."""

import numpy as np
import pytest
import torch
from torch import nn
from torchprobe_lda import LDA

import torchprobe as tp


def split(rows, labels, size=None, ids=None):
    """Batches of rows and their labels, with ids so that batches may come in any order."""
    rows = torch.as_tensor(rows)
    ids = torch.arange(len(rows)) if ids is None else torch.as_tensor(ids)
    return [
        tp.Batch(rows[part], labels=_taken(labels, part), ids=ids[part])
        for part in torch.arange(len(rows)).split(size or max(len(rows), 1))
    ]


def _taken(labels, part):
    if isinstance(labels, dict):
        return {name: _taken(each, part) for name, each in labels.items()}
    return np.asarray(labels)[part.numpy()]


@pytest.fixture(scope="session")
def batches():
    return split


@pytest.fixture(scope="session")
def clouds():
    """Rows of correlated classes and their labels, in random order; the same centres each time."""

    def clouds(seed=0, classes=4, channels=6, n=200, draw=0, apart=1.5):
        rng = np.random.default_rng(seed)
        mixing = rng.normal(size=(channels, channels)) + 2 * np.eye(channels)
        centres = apart * rng.normal(size=(classes, channels))
        rng = np.random.default_rng([seed, draw])
        labels = rng.permutation(np.arange(n) % classes)
        return rng.normal(size=(n, channels)) @ mixing + centres[labels], labels

    return clouds


@pytest.fixture(scope="session")
def run():
    """The result of an analyzer for rows alone: a network that does nothing."""

    def run(analyzer=None, *, size=None, order=None, positions=None, probe=None, **splits):
        analyzer = analyzer or LDA()
        if positions:
            analyzer.positions = positions
        loaders = {}
        for name, (rows, labels) in splits.items():
            loaders[name] = split(rows, labels, size)
            if order is not None:
                loaders[name] = [loaders[name][i] for i in order if i < len(loaders[name])]
        watching = tp.Probe(nn.Identity(), "input", [analyzer], on_error="raise", **(probe or {}))
        results = watching.run(progress=False, **loaders)
        return results[analyzer.name]["input"]

    return run


class Doubling(nn.Module):
    """A network whose layers stretch some directions, and whose output is a score for each class.

    The input is its first layer; `far` doubles the first coordinate; the output is nearness to the
    classes' true centres.
    """

    def __init__(self, centres):
        super().__init__()
        self.far = nn.Linear(centres.shape[1], centres.shape[1], dtype=torch.float64)
        self.hinge = nn.ReLU()
        self.output = nn.Linear(centres.shape[1], len(centres), dtype=torch.float64)
        with torch.no_grad():
            self.far.weight.copy_(torch.eye(centres.shape[1]))
            self.far.weight[0, 0] = 2
            self.far.bias.zero_()
            self.output.weight.copy_(torch.as_tensor(centres))
            self.output.bias.copy_(-torch.as_tensor(centres).square().sum(1) / 2)

    def forward(self, rows):
        self.far(rows)
        return self.output(rows)


@pytest.fixture(scope="session")
def trio():
    """Three overlapping classes in five dimensions and a network that knows their centres."""

    def trio(n=600, seed=0):
        rng = np.random.default_rng(seed)
        centres = np.array([[0, 0, 0, 0, 0], [2, 0, 0, 0, 0], [0, 2.5, 0, 0, 0]], dtype=float)
        labels = np.arange(n) % 3
        rows = centres[labels] + rng.normal(size=(n, 5))
        return Doubling(centres), rows, labels

    return trio
