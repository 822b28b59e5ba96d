"""A small network with its data, and an analyzer that keeps the gradients at its layers."""

import torch
from torch import nn

import torchprobe as tp
from torchprobe.accumulators import Mean

X = torch.randn(6, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
Y = torch.tensor([0, 1, 2, 3, 1, 2])


def net(inplace=True):
    """A convolution, two rectifiers, maybe in place, and two linear layers: the same each time."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(3, 4, 3, padding=1),
        nn.Flatten(),
        nn.ReLU(inplace),
        nn.Linear(20, 6),
        nn.ReLU(inplace),
        nn.Linear(6, 4),
    ).double()


class Keep(tp.Analyzer):
    """All activations and gradients, as they came."""

    name = "keep"
    signals = ("activations", "gradients")

    def start(self, layer):
        self.mean = Mean(layer.channels)
        self.seen = []

    def update(self, batch):
        self.mean.update(batch.gradient_rows())
        self.seen.append((batch.values.clone(), batch.gradients.clone()))

    def compute(self):
        return self.result(mean=("channel", self.mean.value))


def kept(probe):
    """Activations and gradients by layer, all batches joined; nothing where no gradient came."""
    forks = probe._record.stream.forks.forks
    return {
        key.layer: tuple(torch.cat(each) for each in zip(*fork.seen, strict=True))
        for key, fork in forks.items()
    }
