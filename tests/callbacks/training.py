"""A small training, the same in every trainer, and what its probes must leave alone."""

import torch
from torch import nn
from torch.utils.data import Dataset

import torchprobe as tp
from torchprobe.accumulators import Mean

STEPS = 6
GENERATOR = torch.Generator().manual_seed(3)
X = torch.randn(48, 5, generator=GENERATOR)
Y = torch.randint(0, 3, (48,), generator=GENERATOR)
BATCHES = list(zip(X.split(8), Y.split(8), strict=True))
PROBED = [(X[:20], Y[:20]), (X[20:], Y[20:])]


class Average(tp.Analyzer):
    """The mean of each channel, and of all."""

    name = "average"

    def start(self, layer):
        self.mean = Mean(layer.channels)

    def update(self, batch):
        self.mean.update(batch.rows())

    def compute(self):
        return self.result(mean=("channel", self.mean.value), level=float(self.mean.value.mean()))


class Gradient(Average):
    """The mean gradient of each channel."""

    name = "gradient"
    signals = ("activations", "gradients")

    def update(self, batch):
        self.mean.update(batch.gradient_rows())


class ByLabel(Average):
    """An analyzer that reads labels."""

    name = "by_label"
    needs_labels = True

    def update(self, batch):
        self.mean.update(batch.rows()[batch.labels >= 0])


def net():
    """What a pass of analysis could disturb: dropout, batch norm, in-place operations."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(inplace=True), nn.Dropout(0.2), nn.Linear(6, 3)
    )


class Rows(Dataset):
    """The training's samples as the Hugging Face Trainer takes them."""

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return {"x": X[index], "labels": Y[index]}


class Model(nn.Module):
    """What that Trainer expects: keyword arguments in, a loss out; ``term`` is added to it."""

    def __init__(self, term=None):
        super().__init__()
        self.net = net()
        self.added = () if term is None else (term,)  # a tuple: no part of the model

    def forward(self, x, labels=None):
        logits = self.net(x)
        if labels is None:
            return {"logits": logits}
        loss = nn.functional.cross_entropy(logits, labels)
        for term in self.added:
            loss = loss + term(self)
        return {"loss": loss, "logits": logits}


def hooks(model):
    """All hooks on a model, by module."""
    return {
        name: len(module._forward_hooks) + len(module._forward_pre_hooks)
        for name, module in model.named_modules()
        if module._forward_hooks or module._forward_pre_hooks
    }


def state(model):
    """Parameters and buffers, and where torch's generator stands."""
    return [*(each.clone() for each in model.state_dict().values()), torch.get_rng_state()]


def same(one, two):
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def looped(rank, size, folder, *, on_training):
    """A loop in one of several processes, each of which trains on its part of every batch."""
    model = net().eval()  # batch norm would tell the parts apart
    probe = tp.Probe(model, ["0", "2"], [Average(), ByLabel()])
    loader = None if on_training else PROBED
    with tp.callbacks.Loop(probe, loader, every=2, directory=folder) as loop:
        for x, y in BATCHES:
            part = slice(rank, None, size)
            if on_training:
                with loop.batch(labels=y[part]):
                    model(x[part])
            loop.step()
    return loop.history


def failing(rank):
    """One of two processes fails, alone."""
    model = net()
    try:
        with tp.callbacks.Loop(tp.Probe(model, ["0"], [Average()]), every=9, window=9) as loop:
            with loop.batch(labels=Y[:8]):
                model(X[:8])
            if rank:
                1 / 0  # noqa: B018
            loop.recorder.close()  # the other one would wait for it
    except ZeroDivisionError:
        return hooks(model), len(loop.history)
    return hooks(model), len(loop.history)
