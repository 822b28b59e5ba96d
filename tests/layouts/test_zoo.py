"""Every layer of many kinds of models has the axes that a careful reader would give it."""

import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import zoo_of_turns
from layouts.following import Followed
from layouts.zoo import ZOO, Sizes

from torchprobe.outputs import leaves

assert zoo_of_turns  # it adds to the zoo

DISTINCT = Sizes(2, 5, 8)


@contextlib.contextmanager
def inference_with_autocast():
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        yield


MODES = {
    "grad": contextlib.nullcontext,
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "inference_with_autocast": inference_with_autocast,
}


def build(name, sizes):
    torch.manual_seed(0)
    case = ZOO[name](sizes)
    case.model.train(sizes.b > 1)  # batch norm refuses a single sample
    return case


def difference(name, sizes, mode="no_grad"):
    """Layers whose axes are not the expected ones: {layer: (expected, told)}."""
    case = build(name, sizes)
    with MODES[mode]():
        told = Followed(case.model, case.args).all()
    expected = {key: case.axes.get(key, case.axes.get(key.split("@")[0])) for key in told}
    assert set(case.axes) <= set(told)
    return {key: (expected[key], told[key]) for key in told if expected[key] != told[key]}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ZOO)
def test_every_layer_has_its_axes(name, mode):
    assert difference(name, DISTINCT, mode) == {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ZOO)
def test_every_layer_has_its_axes_on_a_gpu(name, mode):
    with torch.device("cuda"):
        assert difference(name, DISTINCT, mode) == {}


@pytest.mark.parametrize("name", ZOO)
@settings(max_examples=8, derandomize=True, deadline=None)
@given(sizes=st.builds(Sizes, st.integers(1, 4), st.integers(1, 4), st.just(4)))
def test_equal_sizes_and_ones_change_nothing(name, sizes):
    assert difference(name, sizes) == {}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ZOO)
def test_following_leaves_every_bit_and_random_draw_as_it_is(name, mode):
    plain, followed = build(name, DISTINCT), build(name, DISTINCT)
    with MODES[mode]():
        hooked = [part.register_forward_hook(lambda *_: None) for part in plain.model.modules()]
        assert hooked  # hooks alone make attention take another path
        torch.manual_seed(1)
        expected = [leaf.tensor for leaf in leaves(plain.model(*plain.args))]
        drawn = torch.rand(3)
        torch.manual_seed(1)
        told = [leaf.tensor for leaf in leaves(Followed(followed.model, followed.args).output)]
        assert torch.equal(drawn, torch.rand(3))
    assert len(told) == len(expected) > 0
    for ours, theirs in zip(told, expected, strict=True):
        assert torch.equal(ours, theirs)
        assert ours.is_inference() == theirs.is_inference()
        assert ours.requires_grad == theirs.requires_grad


@pytest.mark.parametrize("name", ZOO)
def test_following_leaves_gradients_as_they_are(name):
    gradients = []
    for follow in (False, True):
        case = build(name, DISTINCT)
        torch.manual_seed(1)
        output = Followed(case.model, case.args).output if follow else case.model(*case.args)
        sum(leaf.tensor.sum() for leaf in leaves(output)).backward()
        gradients.append([p.grad for p in case.model.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or torch.equal(ours, theirs)
