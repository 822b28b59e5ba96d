"""Layers and batches made by hand, as a probe would deliver them."""

import pytest
import torch
from torchprobe_topography import Topography

from torchprobe import Axes, Layer, LayerBatch
from torchprobe.labels import Labels
from torchprobe.results import LayerResults


@pytest.fixture
def feed():
    """The result of topography for rows [row, channel]."""

    def feed(values, labels, name="hidden.1", **settings):
        values = torch.as_tensor(values)
        layer = Layer(name, Axes.parse("sample channel"), tuple(values.shape))
        fork, names = Topography(**settings).fork(layer, "label"), {}
        said = Labels(labels, names=names)
        fork.update(LayerBatch(layer, values, said).view("label", "each"))
        fork.names = names.get("label")
        return fork.compute()

    return feed


@pytest.fixture
def results(feed):
    """Topography of several layers whose neighbours answer more or less alike."""

    def results(layers=("a", "b"), units=64, classes=4, **settings):
        found = []
        for depth, name in enumerate(layers):
            generator = torch.Generator().manual_seed(depth)
            rows = torch.randn(classes * 10, units, generator=generator, dtype=torch.float64)
            wave = torch.linspace(0, 3, units, dtype=torch.float64)
            labels = torch.arange(len(rows)) % classes
            rows = rows + depth * torch.cos(wave * (1 + labels[:, None]))
            found.append(feed(rows, labels, name, **settings))
        return LayerResults(found)

    return results
