"""Profiles of real networks: those of gradients taken one example at a time, whatever the model."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.gradnap import gradnap
from torch import nn
from torch.utils.checkpoint import checkpoint
from torchprobe_gradnap import GradNAP
from torchprobe_speech import GraphemeNet, LayerShape

import torchprobe as tp
from torchprobe.accumulators import Mean
from torchprobe.errors import LabelError, SettingError

from .options import any_options


def network(kind, inplace, seed):
    """Layers, and data that they take."""
    torch.manual_seed(seed)
    act = {"relu": nn.ReLU, "elu": partial(nn.ELU, 1.0), "none": lambda _: nn.Identity()}[kind[0]]
    conv, shape = (nn.Conv1d, (9,)) if kind[1] == 1 else (nn.Conv2d, (6, 5))
    layers = [
        conv(2, 3, 3), act(inplace), conv(3, 4, 2), act(inplace),
        nn.Flatten(), nn.LazyLinear(4),
    ]  # fmt: skip
    model = nn.Sequential(*layers).double()
    model(torch.zeros(1, 2, *shape, dtype=torch.float64))
    return model, torch.randn(10, 2, *shape, dtype=torch.float64)


def one_by_one(model, x, depth):
    """Activations before so many layers and gradients of the predicted class, sample by sample."""
    pairs = []
    for sample in x:
        a = model[:depth](sample[None].clone()).detach().clone()
        leaf = a.clone().requires_grad_()
        (g,) = torch.autograd.grad(model[depth:](leaf.clone()).max(), leaf)
        pairs.append((a[0].numpy(), g[0].numpy()))
    return (np.stack(each) for each in zip(*pairs, strict=True))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    kind=st.tuples(st.sampled_from(["relu", "elu", "none"]), st.sampled_from([1, 2])),
    options=any_options,
    inplace=st.booleans(),
    size=st.sampled_from([1, 4, 10]),
    seed=st.integers(0, 99),
)
def test_profiles_are_those_of_the_slow_reference(kind, options, inplace, size, seed):
    model, x = network(kind, inplace, seed)
    labels = torch.randint(-1, 3, (10,))
    labels[0] = 1
    loader = list(zip(x.split(size), labels.split(size), strict=True))
    probe = tp.Probe(model, ["input", "1", "3"], [GradNAP(**options)], on_error="raise")
    found = probe.run(loader, progress=False)["gradnap"]
    for name, depth in (("input", 0), ("1", 2), ("3", 4)):
        values, gradients = one_by_one(model, x, depth)
        expected, *_ = gradnap(values, gradients, labels.tolist(), **options)
        np.testing.assert_allclose(found[name].gradnap, [*expected.values()], atol=1e-9)


def profiles(model, x, labels=None, layers=("a",), **options):
    labels = torch.arange(len(x)) % 2 if labels is None else labels
    probe = tp.Probe(model, list(layers), ["gradnap"], on_error="raise", **options)
    return probe.run([(x, labels)], progress=False)["gradnap"]


class Net(nn.Module):
    """Two convolutions and a rectifier that both share; all ways to call them below."""

    def __init__(self, way="plain"):
        super().__init__()
        torch.manual_seed(0)
        self.way = way
        self.a, self.b = nn.Conv1d(2, 3, 3), nn.Conv1d(3, 3, 3)
        self.act, self.head = nn.ReLU(inplace=way == "inplace"), nn.Linear(3, 4)
        self.aside = nn.Conv1d(2, 3, 3)

    def forward(self, x):
        self.aside(x)
        y = checkpoint(self.body, x, use_reentrant=False) if self.way == "checkpoint" else None
        return self.head((self.body(x) if y is None else y).amax(2))

    def body(self, x):
        return self.act(self.b(self.act(self.a(x))))


X = torch.randn(6, 2, 12, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("way", ["inplace", "checkpoint", "frozen"])
def test_the_way_a_model_runs_makes_no_difference(way):
    layers = ("input", "a", "act", "act@2")
    plain = profiles(Net(), X, layers=layers)
    model = Net(way).requires_grad_(way != "frozen")
    other = profiles(model, X, layers=layers)
    for name in layers:
        np.testing.assert_allclose(other[name].gradnap, plain[name].gradnap, atol=1e-7)
        assert plain[name].gradnap.any()
    assert all(each.grad is None for each in model.parameters())


def test_calls_of_a_shared_module_are_layers_of_their_own():
    found = profiles(Net(), X, layers=("act", "act@2"))
    assert found["act"].gradnap.shape == (2, 3, 10)
    assert found["act@2"].gradnap.shape == (2, 3, 8)


def test_autocast_profiles_are_close_to_those_of_full_precision():
    full = profiles(Net(), X)["a"].gradnap
    with torch.autocast("cpu", torch.bfloat16):
        half = profiles(Net(), X)["a"].gradnap
    assert np.abs(half - full).max() < 0.1 * np.abs(full).max()


def test_a_layer_that_does_not_reach_the_objective_has_zero_profiles_and_says_so():
    found = profiles(Net(), X, layers=("a", "aside"))["aside"]
    assert not found.gradnap.any()
    assert found.zero_gradients.all()
    assert any("does not depend on it" in each for each in found.provenance["skipped"])
    assert any("no gradients at all" in each for each in found.provenance["notes"])


def test_groups_of_one_example_have_profiles_and_are_told():
    labels = torch.tensor([0, 0, 0, 0, 0, 1])
    found = profiles(Net(), X, labels)["a"]
    assert found.counts.tolist() == [5, 1]
    assert found.gradnap[1].any()
    assert "1 groups have one example only" in found.provenance["notes"]


def test_integer_inputs_are_probed_behind_the_embedding():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.embed, self.head = nn.Embedding(9, 3), nn.Linear(3, 2)

        def forward(self, tokens):
            return self.head(self.embed(tokens).relu().amax(1))

    tokens = torch.randint(0, 9, (6, 5))
    model = Tagger().requires_grad_(requires_grad=False)
    found = profiles(model, tokens, layers=("embed",), axes={"embed": "sample token channel"})
    assert found["embed"].gradnap.shape == (2, 3, 5)
    assert found["embed"].gradnap.any()
    assert not any(each.requires_grad for each in model.parameters())


def test_what_cannot_be_differentiated_is_refused():
    class Decided(Net):
        def forward(self, x):
            return super().forward(x).argmax(1, keepdim=True)

    class Detached(Net):
        def forward(self, x):
            return super().forward(x).detach()

    with pytest.raises(LabelError, match="int64 values"):
        profiles(Decided(), X)
    with pytest.raises(SettingError, match="detaches its output or returns integers"):
        profiles(Detached(), X)
    with torch.inference_mode(), pytest.raises(SettingError, match="inference_mode"):
        profiles(Net(), X)


# -- a network with an output for every frame


def recogniser():
    return GraphemeNet([LayerShape(6, 5, 2), LayerShape(5, 3)], bands=4, classes=7, seed=2)


@pytest.mark.parametrize("of", ["predicted", "label"])
@pytest.mark.parametrize("at", ["output", "input"])
def test_the_objective_of_a_recogniser_is_that_of_its_labelled_frames(of, at):
    model, x = recogniser().eval(), torch.randn(2, 4, 30)
    lengths = torch.tensor([30, 21])
    frames = torch.full((2, 15), -1)
    frames[0, 3], frames[0, 8], frames[1, 5], frames[1, 14] = 1, 2, 3, 4  # the last is padding
    labels = frames if at == "output" else frames.repeat_interleave(2, 1)
    seen = []

    class Keep(tp.Analyzer):
        name, signals = "keep", ("activations", "gradients")

        def start(self, layer):
            self.mean = Mean(layer.channels)

        def update(self, batch):
            self.mean.update(batch.gradient_rows())
            seen.append(batch.gradients.clone())

        def compute(self):
            return self.result(mean=("channel", self.mean.value))

    leaf = x.clone().requires_grad_()
    scores = model(leaf, lengths)
    expected = 0
    for sample, frame in ((0, 3), (0, 8), (1, 5)):
        each = scores[sample, :, frame]
        expected = expected + (each.max() if of == "predicted" else each[frames[sample, frame]])
    (gradient,) = torch.autograd.grad(expected, leaf)
    probe = tp.Probe(
        model, ["input"], [Keep()], objective=tp.Objective(of, dim=1), on_error="raise"
    )
    probe.run([tp.Batch((x, lengths), labels=labels, lengths=lengths)], progress=False)
    torch.testing.assert_close(seen[0], gradient)


def test_profiles_of_a_recogniser_are_of_the_windows_of_its_frames():
    model, x = recogniser().eval(), torch.randn(3, 4, 40)
    frames = torch.arange(20).expand(3, -1) % 3
    windows = tp.Windows([tp.Batch(x, labels=frames, lengths=[40, 30, 40])], model)
    aim = tp.Objective(dim=1, position=windows.position)
    probe = tp.Probe(model, ["input", "layers.0.relu"], ["gradnap"], objective=aim)
    found = probe.run(windows, progress=False)["gradnap"]["input"]
    inputs = torch.cat([each.inputs for each in windows])
    labels = torch.cat([each.labels["label"] for each in windows])
    pairs = []
    for window in inputs:
        leaf = window[None].clone().requires_grad_()
        score = model(leaf)[0, :, windows.position].max()
        pairs.append((window.numpy(), torch.autograd.grad(score, leaf)[0][0].numpy()))
    values, gradients = (np.stack(each) for each in zip(*pairs, strict=True))
    expected, *_ = gradnap(values, gradients, labels.tolist(), alignment="gradient")
    np.testing.assert_allclose(found.gradnap, [*expected.values()], atol=1e-5)
