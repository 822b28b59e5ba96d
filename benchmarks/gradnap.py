"""GradNAP beside a forward pass with autograd.grad; optimal inputs at once beside one by one."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

import torchprobe as tp
from benchmarks.measure import Comparison, overhead, peak_bytes, seconds
from torchprobe.optimal_input import optimal_inputs

SETUP = "5 Conv1d of 250 channels and ReLU, windows [32, 128, 101], 40 groups"


def net() -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv1d(128, 250, 11), nn.ReLU(inplace=True)]
    for _ in range(3):
        layers += [nn.Conv1d(250, 250, 7), nn.ReLU(inplace=True)]
    layers += [nn.Conv1d(250, 250, 7), nn.ReLU(inplace=True), nn.AdaptiveAvgPool1d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(250, 40)).eval()


def windows(n: int = 32) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(n, 128, 101), torch.randint(0, 40, (n,))


def run() -> Iterator[Comparison]:
    yield memory()  # first: a child's peak begins at its parent's
    yield against_autograd()
    yield optimal_inputs_at_once()


def against_autograd() -> Comparison:
    """The pass alone: probe attached, everything aligned and added up."""
    model, (x, y) = net(), windows()
    bare = copy.deepcopy(model)
    probe = tp.Probe(model, [tp.types(nn.ReLU)], ["gradnap"])

    def plain() -> None:
        activations = []
        hooks = [
            each.register_forward_hook(lambda _, __, output: activations.append(output))
            for each in bare
            if isinstance(each, nn.ReLU)
        ]
        scores = bare(x.clone().requires_grad_())
        for hook in hooks:
            hook.remove()
        torch.autograd.grad(scores.amax(1).sum(), activations)

    with probe:

        def probed() -> None:
            with probe.batch(labels=y):
                model(x.clone().requires_grad_())

        base, ours = overhead(plain, probed, repeats=21)
    return Comparison("GradNAP pass", ours, base, "forward + autograd.grad", "s", SETUP)


def memory() -> Comparison:
    few, many = (max(1, peak_bytes(_pass, n)) / 2**20 for n in (4, 32))
    return Comparison("memory in N", many, few, "an eighth of the batches", "MiB", SETUP)


def _pass(n: int) -> None:
    x, y = windows(8)
    probe = tp.Probe(net(), [tp.types(nn.ReLU)], ["gradnap"])
    probe.run([(x, y)] * n, progress=False)


def optimal_inputs_at_once() -> Comparison:
    model, weights = net(), torch.eye(250)[:40]

    def at_once() -> None:
        optimal_inputs(model, "2", weights, (128, 17), progress=False)

    def one_by_one() -> None:
        for weight in weights:
            optimal_inputs(model, "2", weight[None], (128, 17), progress=False)

    ours, rival = seconds(at_once, one_by_one, repeats=3, warm=1)
    return Comparison("optimal inputs of 40 groups", ours, rival, "one by one", "s", SETUP)
