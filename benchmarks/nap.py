"""Neuron activation profiles beside a bare forward pass, and beside feeding every window."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

import torchprobe as tp
from benchmarks.measure import Comparison, overhead, peak_bytes, seconds
from benchmarks.selectivity import conv_net

MAPS = "9 Conv1d of 250 channels on [16, 128, 206]"
FIELD = 206


def run() -> Iterator[Comparison]:
    yield whole_maps(30)
    yield whole_maps(300)
    yield windows(30)
    yield windows(300)
    yield against_feeding_windows()
    yield memory()


@torch.no_grad()
def whole_maps(groups: int) -> Comparison:
    """A label for each of 16 maps of 206 frames: the paper's form."""
    model, x = conv_net(), torch.randn(16, 128, FIELD)
    bare, probe = copy.deepcopy(model), tp.Probe(model, tp.types(nn.Conv1d), ["nap"])
    labels = [torch.arange(16 * at, 16 * at + 16) % groups for at in range(groups)]
    turn = iter(range(1 << 30))

    def probed() -> None:
        with probe.batch(labels[next(turn) % groups]):
            model(x)

    with probe:
        for _ in range(groups // 16 + 1):  # until every group was met
            probed()
        plain, ours = overhead(lambda: bare(x), probed)
    setup = f"{MAPS}, whole maps, {groups} groups"
    return Comparison("NAP of every layer", ours, plain, "bare forward", "s", setup)


@torch.no_grad()
def windows(groups: int) -> Comparison:
    """A label for each output frame, windows by receptive field: 49 positions to 1, 25 on average.

    The worst case: labels change with every frame, and all frames have one.
    """
    model, x = unpadded_net(), torch.randn(16, 128, FIELD)
    bare = copy.deepcopy(model)
    labels = torch.randint(0, groups, (16, FIELD - 54))
    nap = tp.analyzer("nap", window="field")
    probe = tp.Probe(model, tp.types(nn.Conv1d), [nap], labels_at="output")

    def probed() -> None:
        with probe.batch(labels):
            model(x)

    with probe:
        plain, ours = overhead(lambda: bare(x), probed)
    setup = f"{MAPS} without padding, windows of 49 to 1 positions, {groups} groups"
    return Comparison("NAP of every window of every layer", ours, plain, "bare forward", "s", setup)


def unpadded_net() -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv1d(128, 250, 7)]
    for _ in range(8):
        layers += [nn.ReLU(), nn.Conv1d(250, 250, 7)]
    return nn.Sequential(*layers).eval()


def paper_net() -> nn.Sequential:
    """A net whose output sees 206 frames, without padding."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv1d(128, 250, 48, stride=2)]
    for _ in range(8):
        layers += [nn.ReLU(), nn.Conv1d(250, 250, 7)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Conv1d(250, 29, 32)).eval()


@torch.no_grad()
def against_feeding_windows() -> Comparison:
    """One utterance of 8 s, in one pass and as 298 windows of 206 frames."""
    model, x = paper_net(), torch.randn(1, 128, 800)
    labels = torch.randint(0, 30, (1, model(x).shape[2]))
    every = x.unfold(2, FIELD, 2).transpose(1, 2).flatten(0, 1)  # [window, channel, time]
    nap = tp.analyzer("nap", window="field")
    probe = tp.Probe(model, tp.types(nn.Conv1d), [nap], labels_at="output")
    fed = tp.Probe(model, tp.types(nn.Conv1d), ["nap"])

    def one_pass() -> None:
        with probe, probe.batch(labels):
            model(x)

    def feeding() -> None:
        with fed:
            for part, said in zip(every.split(32), labels[0].split(32), strict=True):
                with fed.batch(said):
                    model(part)

    taken = seconds(one_pass, feeding, repeats=7, warm=1)
    setup = f"{len(every)} windows of {FIELD} frames, 10 layers of 250 channels, batches of 32"
    return Comparison("all windows in one pass", *taken, "feeding each window", "s", setup)


def memory() -> Comparison:
    few, many = peak_bytes(stream_maps, 20), peak_bytes(stream_maps, 200)
    kept = 180 * 16 * 64 * FIELD * 4 * 3
    setup = "3 Conv1d of 64 channels on [16, 64, 206], 30 groups"
    return Comparison(
        "growth from 20 to 200 batches",
        max(many - few, 1) / 2**20,
        kept / 2**20,
        "what storing keeps",
        "MiB",
        setup,
    )


@torch.no_grad()
def stream_maps(n: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Conv1d(64, 64, 7, padding=3) for _ in range(3)]).eval()
    x = torch.randn(16, 64, FIELD)
    with tp.Probe(model, "*", ["nap"]) as probe:
        for at in range(n):
            with probe.batch((torch.arange(16) + at) % 30):
                model(x)
