"""The closed form: both directions, some nodes, some inputs, and the way for accelerators."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.transforms import jacobian
from torch import nn
from torchprobe_slt.chain import chain_of
from torchprobe_slt.point import point
from torchprobe_slt.recursion import (
    _risen_together,
    chain_forward,
    chain_reverse,
    forward_cost,
    reverse_cost,
)
from torchprobe_slt.spots import middles, spot

import torchprobe as tp

from .conftest import mlp

WAYS = [chain_forward, chain_reverse, _risen_together]


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
    act=st.sampled_from([nn.ReLU, nn.Tanh, nn.Identity]),
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
