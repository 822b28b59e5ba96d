"""Clouds of rows, and layers fed with them as a probe would."""

import numpy as np
import pytest
import torch
from torchprobe_projection import Projection

from torchprobe import Axes, Layer, LayerBatch
from torchprobe.labels import Labels


@pytest.fixture
def rows():
    """Rows of four classes beside each other on a curved sheet, and their classes."""

    def rows(n=120, channels=8, seed=0, dtype=np.float32):
        rng = np.random.default_rng(seed)
        labels = np.arange(n) % 4
        sheet = 2 * rng.normal(size=(4, 3))[labels] + 0.3 * rng.normal(size=(n, 3))
        wide = np.tanh(sheet @ rng.normal(size=(3, channels)))
        return (wide + 0.05 * rng.normal(size=(n, channels))).astype(dtype), labels

    return rows


@pytest.fixture
def feed():
    """Run the analyzer over rows [row, channel] of splits, maybe with labels by grouping."""

    def feed(splits, labels=None, *, size=None, name="hidden.1", names=None, ids=None, **settings):
        names = {} if names is None else names
        fork = None
        for split, given_rows in splits.items():
            values = torch.as_tensor(given_rows)
            axes = Axes.parse("sample channel" if values.ndim == 2 else "sample channel time")
            layer = Layer(name, axes, tuple(values.shape), dtype=values.dtype)
            fork = fork or Projection(**settings).fork(layer)
            fork.names_of = names
            numbers = torch.arange(len(values)) if ids is None else ids[split]
            for part in torch.arange(len(values)).split(size or len(values)):
                given = {g: each[split][part] for g, each in (labels or {}).items()}
                said = Labels(given, ids=numbers[part], names=names)
                fork.update(LayerBatch(layer, values[part], said, split=split))
        return fork

    return feed
