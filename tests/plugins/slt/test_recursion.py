"""The closed form: both directions, some nodes, some inputs, and the way for accelerators."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.transforms import jacobian
from torch import nn
from torchprobe_slt import fallen
from torchprobe_slt.chain import chain_of
from torchprobe_slt.point import point
from torchprobe_slt.recursion import (
    _descents,
    _risen_together,
    chain_forward,
    chain_reverse,
    forward_cost,
    reverse_cost,
)
from torchprobe_slt.spots import middles, spot

import torchprobe as tp
from torchprobe.compiled import can_compile

from .conftest import mlp


def chain_fallen(chain):
    """All layers from the nodes down without the units that are off, in machine code."""
    return {each.spot.layer.name: each.fallen(chain) for each in _descents(chain)}


def interpreted(chain):
    """The same functions without a compiler."""
    with pytest.MonkeyPatch.context() as patch:
        steps = (fallen._begin, fallen._go_down, fallen._land)
        patch.setattr(fallen, "_machine", lambda: steps)
        return chain_fallen(chain)


needs_compiler = pytest.mark.skipif(not can_compile(), reason="numba is not installed")
WAYS = [chain_forward, chain_reverse, _risen_together, interpreted]
WAYS += [chain_fallen] if can_compile() else []


def seen(model, x, names, *, nodes=None, inputs=None):
    """The model at samples, looked at in some layers."""
    at, spots = point(model, (x,), {}), []
    for name in names:
        width = model[: int(name) + 1](x).shape[1]
        layer = tp.Layer(name, tp.Axes.parse("sample channel"), (len(x), width))
        place, sizes = middles(layer, layer.shape, len(x)), ((), tuple(x.shape[1:]))
        each = spot(layer, place, sizes, nodes=nodes)
        spots.append(each if inputs is None else each.seeing(inputs))
    return replace(at, spots=tuple(spots))


@settings(max_examples=20, deadline=None)
@given(
    widths=st.lists(st.integers(3, 9), min_size=2, max_size=5),
    act=st.sampled_from([nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Tanh, nn.Identity]),
    norm=st.booleans(),
    some=st.booleans(),
    seed=st.integers(0, 99),
)
def test_all_ways_give_the_derivatives_of_some_nodes_by_some_inputs(widths, act, norm, some, seed):
    torch.manual_seed(seed)
    model, x = mlp(widths, act, norm=norm), torch.randn(3, widths[0], dtype=torch.float64)
    nodes, inputs = (torch.tensor([2, 0]), torch.tensor([1, 2])) if some else (None, None)
    names = [str(at) for at in range(len(model))]
    at = seen(model, x, names, nodes=nodes, inputs=inputs)
    for way in WAYS:
        found = way(chain_of(at))
        for name in names:
            expected = jacobian(model[: int(name) + 1], x)
            expected = expected if nodes is None else expected[:, nodes]
            expected = expected if inputs is None else expected[..., inputs]
            torch.testing.assert_close(found[name], expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("way", WAYS)
def test_weights_are_not_written_to(way):
    model, x = mlp([4, 5, 3]), torch.randn(1, 4, dtype=torch.float64)
    before = [each.clone() for each in model.parameters()]
    way(chain_of(seen(model, x, ["0", "1", "3"])))
    for one, other in zip(model.parameters(), before, strict=True):
        assert torch.equal(one, other)


def test_few_nodes_are_cheaper_from_above_and_all_from_below():
    model, x = mlp([200, 50, 50, 50, 4]), torch.randn(4, 200, dtype=torch.float64)
    output = chain_of(seen(model, x, ["9"]))
    assert reverse_cost(output) < forward_cost(output)
    narrow = mlp([5, 50, 50, 50, 4])
    every = chain_of(seen(narrow, x[:, :5], [str(at) for at in range(10)]))
    assert forward_cost(every) < reverse_cost(every)


def test_a_module_that_runs_twice_is_a_link_twice():
    act = nn.ReLU()
    model = nn.Sequential(nn.Linear(3, 4), act, nn.Linear(4, 2), act).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    found = chain_forward(chain_of(seen(model, x, ["2"])))["2"]
    torch.testing.assert_close(found, jacobian(model[:3], x))


def test_flattened_images_are_chains():
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 3), nn.ReLU()).double()
    x = torch.randn(2, 2, 4, dtype=torch.float64)
    found = chain_forward(chain_of(seen(model, x, ["2"])))["2"]
    torch.testing.assert_close(found, jacobian(model, x))


def rectifier(widths, n, dtype, *, dead=0.0):
    """A network's chain at samples that are looked at in the output, some units of it dead."""
    model, x = mlp(widths).to(dtype), torch.randn(n, widths[0], dtype=dtype)
    for each in model[:-1]:
        if isinstance(each, nn.Linear):
            each.bias.data[torch.rand(len(each.bias)) < dead] = -1e6
    return chain_of(seen(model, x, [str(len(model) - 1)]))


@needs_compiler
@settings(max_examples=25, deadline=None)
@given(
    widths=st.lists(st.integers(1, 40), min_size=3, max_size=5),
    n=st.integers(1, 40),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    dead=st.sampled_from([0.0, 0.4, 1.0]),
    seed=st.integers(0, 99),
)
def test_leaving_units_out_gives_what_whole_products_give(widths, n, dtype, dead, seed):
    torch.manual_seed(seed)
    chain = rectifier(widths, n, dtype, dead=dead)
    (found,), (expected,) = chain_fallen(chain).values(), chain_reverse(chain).values()
    assert found.dtype == dtype
    close = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(found, expected, rtol=close, atol=close)


@needs_compiler
def test_threads_and_how_many_samples_fall_at_once_do_not_matter(monkeypatch):
    chain = rectifier([9, 20, 20, 11], 30, torch.float32)
    (expected,) = chain_fallen(chain).values()
    torch.set_num_threads(3)
    monkeypatch.setattr(fallen, "_IN_CACHE", 1 << 13)
    (found,) = chain_fallen(chain).values()
    assert torch.equal(found, expected)


def test_units_are_left_out_where_that_saves_enough(monkeypatch):
    monkeypatch.setattr(fallen, "can_compile", lambda: True)
    monkeypatch.setattr(fallen, "_WORTH", 0)

    def chosen(chain):
        return [each.is_sparse(chain) for each in _descents(chain)] == [True]

    widths = [30, 64, 64, 16]
    assert chosen(rectifier(widths, 8, torch.float32))
    assert not chosen(rectifier([*widths[:-1], 1], 8, torch.float32))  # seven of eight lanes idle
    assert not chosen(rectifier(widths, 8, torch.bfloat16))
    smooth = mlp(widths, nn.Tanh)
    assert not chosen(chain_of(seen(smooth, torch.randn(8, 30, dtype=torch.float64), ["6"])))
    monkeypatch.setattr(fallen, "_WORTH", 1e9)
    assert not chosen(rectifier(widths, 8, torch.float32))


@needs_compiler
def test_without_a_compiler_the_transforms_are_the_same(monkeypatch):
    monkeypatch.setattr(fallen, "_WORTH", 0)
    chain = rectifier([30, 64, 64, 16], 8, torch.float64)
    (descent,) = _descents(chain)
    assert descent.is_sparse(chain)
    (found,) = chain_reverse(chain).values()
    monkeypatch.setattr(fallen, "can_compile", lambda: False)
    assert not descent.is_sparse(chain)
    (expected,) = chain_reverse(chain).values()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "way", [way for way in WAYS if way not in (chain_reverse, _risen_together)]
)
def test_units_that_are_off_hide_infinite_weights(way):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    x = torch.randn(1, 3, dtype=torch.float64)
    model[0].bias.data[1] = -1e6
    chain = chain_of(seen(model, x, ["2"]))
    (expected,) = way(chain).values()
    chain.links[1].weight[1] = torch.inf  # only now: the model itself would put out NaN
    (found,) = way(chain).values()
    torch.testing.assert_close(found, expected)


def test_fewer_multiplications_are_counted_where_units_are_left_out(monkeypatch):
    monkeypatch.setattr(fallen, "can_compile", lambda: True)
    chain = rectifier([30, 64, 64, 16], 8, torch.float32)
    whole = reverse_cost(chain)
    assert whole == 16 * (64 * 64 + 64 * 30)
    monkeypatch.setattr(fallen, "_WORTH", 0)
    assert reverse_cost(chain) < 0.7 * whole
