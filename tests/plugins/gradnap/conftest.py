import pytest
import torch
from torch import nn

import torchprobe as tp

NAMES = ["aa", "ae", "b", "s", "t", "z"]


def trained_net_and_data():
    """Windows with one of six patterns somewhere in noise, and a net that tells them apart."""
    generator = torch.Generator().manual_seed(0)
    patterns = 2 * torch.randn(6, 10, 5, generator=generator)
    patterns[1], patterns[5] = patterns[0] + 0.4 * patterns[1], patterns[3] + 0.4 * patterns[5]
    labels = torch.arange(240) % 6
    windows = 0.4 * torch.randn(240, 10, 31, generator=generator)
    for window, label in zip(windows, labels, strict=True):
        start = int(torch.randint(8, 19, (1,), generator=generator))
        window[:, start : start + 5] += patterns[label]
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(10, 16, 5), nn.ReLU(), nn.Conv1d(16, 24, 5), nn.ReLU(),
        nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(24, 6),
    )  # fmt: skip
    adam = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(40):
        adam.zero_grad()
        nn.functional.cross_entropy(model(windows), labels).backward()
        adam.step()
    return model, windows, labels


@pytest.fixture(scope="session")
def trained():
    return trained_net_and_data()


@pytest.fixture(scope="session")
def results(trained):
    model, windows, labels = trained
    probe = tp.Probe(
        model, ["input", "1", "3", "6"], [tp.analyzer("gradnap", stages=True)],
        class_names=NAMES,
    )  # fmt: skip
    return probe.run([(windows, labels)], progress=False)
