from itertools import pairwise

import pytest
import torch
from torch import nn


class Residual(nn.Module):
    """x + f(x), and a function that no module does."""

    def __init__(self):
        super().__init__()
        self.first, self.act, self.last = nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3)

    def forward(self, x):
        return self.last(x + self.act(self.first(x))).sin()


class Recurrent(nn.Module):
    """A GRU over time, read at its last step."""

    def __init__(self):
        super().__init__()
        self.gru, self.out = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.gru(x)[0][:, -1])


class Tokens(nn.Module):
    """Embedded tokens, attention, a mean."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.out = nn.Linear(8, 3)

    def forward(self, tokens):
        return self.out(self.block(self.embed(tokens)).mean(1))


def mlp(widths, act=nn.ReLU, *, norm=False):
    """Linear layers with an activation between, batch norm with statistics of its own."""
    layers = []
    for before, width in pairwise(widths):
        layers += [nn.Linear(before, width)]
        if norm:
            layers += [normed(width)]
        layers += [act(), nn.Dropout(0.3)]
    return nn.Sequential(*layers[:-2]).double().eval()


def normed(width):
    norm = nn.BatchNorm1d(width)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    return norm


@pytest.fixture(autouse=True)
def _seeded():
    """The same weights each time; one thread, for threads only wait for each other here."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
