"""Layers and batches made by hand, as a probe would deliver them."""

import pytest
import torch
from torchprobe_nap import NeuronActivationProfiles

from torchprobe import Axes, Layer, LayerBatch
from torchprobe.labels import ClassNames, Labels

POSITIONS = {0: "", 1: " time", 2: " height width"}


@pytest.fixture(scope="session")
def feed():
    """Run the analyzer over maps [sample, channel, *positions], batch by batch."""

    def feed(values, labels, sizes=None, *, lengths=None, mask=None, names=None, **settings):
        values, labels = torch.as_tensor(values), torch.as_tensor(labels)
        layer = Layer(
            "conv", Axes.parse("sample channel" + POSITIONS[values.ndim - 2]), values.shape
        )
        fork = NeuronActivationProfiles(**settings).fork(layer, "label")
        start = 0
        for size in sizes or [len(values)]:
            part = slice(start, start + size)
            said = Labels(
                labels[part],
                lengths=None if lengths is None else lengths[part],
                mask=None if mask is None else mask[part],
            )
            fork.update(LayerBatch(layer, values[part], said).view("label", "each"))
            start += size
        fork.names = ClassNames(names)
        return fork

    return feed
