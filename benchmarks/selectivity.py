"""The stream with class selectivity on it, beside a bare forward pass and beside storing all."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

import torchprobe as tp
from benchmarks.measure import Comparison, overhead, peak_bytes, seconds

SETUP = "9 Conv1d of 250 channels on [16, 128, 206], 40 classes, labels per frame"
CLASSES = 40


class Silent(tp.Analyzer):
    """Does nothing: what is left is the cost of hooks, transactions and axes."""

    name = "silent"

    def start(self, layer: tp.Layer) -> None:
        """Nothing to keep."""

    def update(self, batch: tp.LayerBatch) -> None:
        """Nothing to do."""


def conv_net() -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv1d(128, 250, 7, padding=3)]
    for _ in range(8):
        layers += [nn.ReLU(), nn.Conv1d(250, 250, 7, padding=3)]
    return nn.Sequential(*layers).eval()


def conv_batch(classes: int = CLASSES) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(16, 128, 206), torch.randint(0, classes, (16, 206))


def run() -> Iterator[Comparison]:
    yield against_bare_forward()
    yield against_bare_forward(300)
    yield against_storing_everything()
    yield from memory()
    yield no_op()
    yield against_captum()
    yield from against_torchlens()


@torch.no_grad()
def against_bare_forward(classes: int = CLASSES) -> Comparison:
    model, (x, y) = conv_net(), conv_batch(classes)
    bare = copy.deepcopy(model)
    probe = tp.Probe(model, tp.types(nn.Conv1d), ["class_selectivity"])

    def probed() -> None:
        with probe.batch(y):
            model(x)

    with probe:
        probed()
        plain, ours = overhead(lambda: bare(x), probed)
    setup = SETUP.replace("40 classes", f"{classes} classes")
    return Comparison("class selectivity of every layer", ours, plain, "bare forward", "s", setup)


@torch.no_grad()
def against_storing_everything() -> Comparison:
    model, (x, y) = conv_net(), conv_batch()
    batches = [(x, y)] * 4
    probe = tp.Probe(model, tp.types(nn.Conv1d), ["class_selectivity"])

    def ours() -> None:
        with probe:
            for inputs, labels in batches:
                with probe.batch(labels):
                    model(inputs)

    ours()
    taken = seconds(ours, lambda: store_all(model, batches), repeats=5)
    return Comparison(
        "class means against storing", *taken, "store all + numpy", "s", f"{SETUP}, 4 batches"
    )


def store_all(
    model: nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]]
) -> list[np.ndarray]:
    """What a user would write: keep every activation, then take means of it."""
    kept: dict[str, list[np.ndarray]] = {}
    handles = [
        module.register_forward_hook(
            lambda _m, _i, out, name=name: kept.setdefault(name, []).append(out.numpy().copy())
        )
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv1d)
    ]
    for inputs, _ in batches:
        model(inputs)
    for handle in handles:
        handle.remove()
    labels = np.concatenate([y.flatten().numpy() for _, y in batches])
    return [class_means(np.concatenate(values), labels) for values in kept.values()]


def class_means(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    rows = values.transpose(0, 2, 1).reshape(-1, values.shape[1]).astype(np.float64)
    return np.stack([rows[labels == k].mean(0) for k in range(CLASSES)])


def memory() -> Iterator[Comparison]:
    few, many = peak_bytes(stream_batches, 100), peak_bytes(stream_batches, 1000)
    stored = peak_bytes(store_batches, 1000)
    setup = "6 x 512 MLP, batch 64, 1,000 batches, peak beyond the start"
    yield Comparison(
        "peak memory against storing", many / 2**20, stored / 2**20, "store all", "MiB", setup
    )
    growth = max(many - few, 1)
    yield Comparison(
        "growth from 100 to 1,000 batches",
        growth / 2**20,
        stored / 2**20,
        "what storing keeps",
        "MiB",
        setup,
    )


def small_net(width: int = 512) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(6):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers).eval()


@torch.no_grad()
def stream_batches(n: int) -> None:
    model, x, y = small_net(), torch.randn(64, 512), torch.randint(0, 40, (64,))
    with tp.Probe(model, tp.types(nn.Linear), ["class_selectivity"]) as probe:
        for _ in range(n):
            with probe.batch(y):
                model(x)


@torch.no_grad()
def store_batches(n: int) -> None:
    model, x = small_net(), torch.randn(64, 512)
    kept: list[np.ndarray] = []
    for module in model:
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda _m, _i, out: kept.append(out.numpy().copy()))
    for _ in range(n):
        model(x)


@torch.no_grad()
def no_op() -> Comparison:
    model, x = small_net(), torch.randn(256, 512)
    bare = copy.deepcopy(model)
    with tp.Probe(model, tp.types(nn.Linear), [Silent]):
        model(x)
        plain, ours = overhead(lambda: bare(x), lambda: model(x), repeats=101)
    return Comparison("no-op analyzer", ours, plain, "bare forward", "s", "6 x 512 MLP, batch 256")


def against_captum() -> Comparison:
    """The same group means through captum: LayerActivation feeding a ClassSummarizer of means."""
    from captum.attr import ClassSummarizer, LayerActivation, Mean

    model, x, y = small_net(), torch.randn(64, 512), torch.randint(0, 40, (64,))
    linear = [module for module in model if isinstance(module, nn.Linear)]
    probe = tp.Probe(model, tp.types(nn.Linear), ["class_selectivity"])
    with torch.no_grad(), probe, probe.batch(y):
        model(x)

    def ours() -> None:
        with torch.no_grad(), probe, probe.batch(y):
            model(x)

    def captum() -> None:
        values = LayerActivation(model, linear).attribute(x)
        for activation in values:
            summarizer = ClassSummarizer(stats=[Mean()])
            summarizer.update(activation, labels=y.tolist())

    taken = seconds(ours, captum, repeats=5)
    return Comparison(
        "class means",
        *taken,
        "captum LayerActivation + ClassSummarizer",
        "s",
        "6 x 512 MLP, batch 64, 40 classes",
    )


def against_torchlens() -> Iterator[Comparison]:
    """Means of every layer through torchlens, if it is installed (extra `bench`)."""
    try:
        import torchlens
        from torchlens.stats import Mean, aggregate
    except (ImportError, OSError) as error:
        print(f"  torchlens left out: {error}")
        return
    model, x, y = small_net(), torch.randn(64, 512), torch.randint(0, 40, (64,))
    probe = tp.Probe(model, tp.types(nn.Linear), ["class_selectivity"])
    batches = [x] * 4

    def ours() -> None:
        with torch.no_grad(), probe:
            for inputs in batches:
                with probe.batch(y):
                    model(inputs)

    ours()
    metrics = {name: Mean() for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    taken = seconds(ours, lambda: aggregate(model, batches, metrics), repeats=3, warm=1)
    yield Comparison(
        "layer statistics",
        *taken,
        f"torchlens {torchlens.__version__} aggregate",
        "s",
        "6 x 512 MLP, 4 batches of 64; torchlens without labels",
    )
