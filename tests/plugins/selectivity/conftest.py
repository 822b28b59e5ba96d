"""Layers and batches made by hand, as a probe would deliver them."""

import pytest
import torch
from torchprobe_selectivity import ClassSelectivity

from torchprobe import Axes, Layer, LayerBatch
from torchprobe.labels import Labels


@pytest.fixture
def feed():
    """Run an analyzer over rows [row, channel] or maps [sample, channel, time], batch by batch."""

    def feed(values, labels, sizes=None, *, fork=None, **settings):
        values = torch.as_tensor(values)
        axes = Axes.parse("sample channel" if values.ndim == 2 else "sample channel time")
        layer = Layer("hidden.1", axes, tuple(values.shape))
        names = {}
        fork = fork or ClassSelectivity(**settings).fork(layer, "label")
        start = 0
        for size in sizes or [len(values)]:
            stop = start + size
            said = Labels(labels[start:stop], names=names)
            fork.update(LayerBatch(layer, values[start:stop], said).view("label", "each"))
            start = stop
        fork.names = names.get("label")
        return fork

    return feed
