"""Transforms of a 5×256 rectifier network beside captum, torch.func and autograd."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torchprobe_slt import SLT
from torchprobe_slt.jacobians import jacobians
from torchprobe_slt.point import Point, point
from torchprobe_slt.spots import middles, spot

import torchprobe as tp
from benchmarks.measure import Comparison, peak_bytes, seconds

INPUTS, WIDTH, OUTPUTS, DEPTH = 253, 256, 40, 5
NET = "5 × 256 ReLU, 253 inputs, 40 outputs"


def net() -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before in (INPUTS, *[WIDTH] * (DEPTH - 1)):
        linear = nn.Linear(before, WIDTH)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, OUTPUTS)).eval()


def samples(n: int) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(n, INPUTS)


def at(model: nn.Sequential, x: Tensor, layers: list[str]) -> Point:
    """The model at samples, looked at in some layers."""
    seen = point(model, (x,), {})
    spots = []
    for name in layers:
        width = OUTPUTS if name == str(2 * DEPTH) else WIDTH
        layer = tp.Layer(name, tp.Axes.parse("sample channel"), (len(x), width))
        spots.append(spot(layer, middles(layer, layer.shape, len(x)), ((), (INPUTS,))))
    return replace(seen, spots=tuple(spots))


def run() -> Iterator[Comparison]:
    warnings.simplefilter("ignore")  # captum's about inputs that require gradients
    torch.set_num_threads(1)  # where cores are shared, threads wait for each other by spinning
    yield memory()  # first: a child's peak begins at its parent's
    yield from outputs()
    yield from all_layers()


def outputs() -> Iterator[Comparison]:
    """40 output nodes of 512 samples, beside four ways of doing that."""
    from captum.attr import Saliency

    model, x = net(), samples(512)
    seen = at(model, x, ["10"])
    nodes = torch.eye(OUTPUTS)

    def ours() -> list[Tensor]:
        return [each.values["10"] for each in jacobians(seen)]

    def captum() -> list[Tensor]:
        saliency, inputs = Saliency(model), x.clone().requires_grad_()
        return [saliency.attribute(inputs, target=node, abs=False) for node in range(OUTPUTS)]

    def looped() -> list[Tensor]:
        inputs = x.clone().requires_grad_()
        values = model(inputs)
        return [
            torch.autograd.grad(values, inputs, node.expand_as(values), retain_graph=True)[0]
            for node in nodes
        ]

    def batched() -> Tensor:
        inputs = x.clone().requires_grad_()
        values = model(inputs)
        wanted = nodes[:, None].expand(-1, *values.shape)
        return torch.autograd.grad(values, inputs, wanted, is_grads_batched=True)[0]

    def jacrev() -> Tensor:
        return torch.func.vmap(torch.func.jacrev(model))(x)

    rivals: dict[str, Callable[[], object]] = {
        "captum Saliency per output": captum,
        "looped autograd.grad": looped,
        "is_grads_batched": batched,
        "vmap(jacrev)": jacrev,
    }
    mine, *times = seconds(ours, *rivals.values(), repeats=5, warm=1)
    for name, taken in zip(rivals, times, strict=True):
        yield Comparison("output nodes", mine, taken, name, "s", f"512 samples, {NET}")


def all_layers(n: int = 64) -> Iterator[Comparison]:
    """1,320 nodes, beside vmap(jacrev) of each layer, and beside bare products."""
    model, x = net(), samples(n)
    layers = [str(2 * layer + 1) for layer in range(DEPTH)] + [str(2 * DEPTH)]
    seen = at(model, x, layers)

    def ours() -> None:
        for _ in jacobians(seen):
            pass

    def jacrev() -> None:
        for layer in layers:
            for part in x.split(16):  # all at once would need 8 GB
                torch.func.vmap(torch.func.jacrev(model[: int(layer) + 1]))(part)

    a, b = torch.randn(WIDTH, WIDTH), torch.randn(WIDTH, 8 * INPUTS)

    def products() -> None:
        for _ in range(PRODUCTS):
            a @ b

    mine, rival, peak = seconds(ours, jacrev, products, repeats=5, warm=1)
    yield Comparison(
        "all layers", mine, rival, "vmap(jacrev) per layer", "s", f"{n} samples, {NET}"
    )
    # what a dense recursion multiplies: W·J of four hidden layers and the output
    flops = n * 2 * INPUTS * WIDTH * ((DEPTH - 1) * WIDTH + OUTPUTS)
    best = PRODUCTS * 2 * WIDTH * WIDTH * 8 * INPUTS / peak
    setup = (
        "the ratio is the share of the products' rate; above 1, as rows that are off are left out"
    )
    yield Comparison("all layers, dense flops", mine, flops / best, "bare products", "s", setup)


PRODUCTS = 50


def memory() -> Comparison:
    few, many = (max(1, peak_bytes(_spectra, n)) / 2**20 for n in (16, 79))
    setup = f"every sample's Gram matrices of 16 nodes a layer, 20,224 samples, {NET}"
    return Comparison("memory in N", many, few, "4,096 samples", "MiB", setup)


def _spectra(n: int) -> None:
    probe = tp.Probe(net(), tp.types(nn.ReLU), [SLT(samples=None)])
    probe.run([samples(256)] * n, progress=False)
