"""Transforms of samples: every route against one derivative after the other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.transforms import jacobian, rectifier_transform
from torch import nn
from torchprobe_slt import transforms

import torchprobe as tp
from torchprobe.errors import MemoryBudgetError, SettingError

from .conftest import Recurrent, Residual, Tokens, mlp

CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def rows(n, *shape):
    return torch.randn(n, *shape, dtype=torch.float64)


NETWORKS = {
    "mlp": lambda: (mlp([6, 8, 7, 3]), rows(4, 6)),
    "tanh": lambda: (mlp([6, 8, 3], nn.Tanh, norm=True), rows(4, 6)),
    "conv1d": lambda: (
        nn.Sequential(nn.Conv1d(2, 3, 3, stride=2), nn.ReLU(inplace=True), nn.Conv1d(3, 4, 2)),
        rows(3, 2, 9),
    ),
    "conv2d": lambda: (
        nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)
        ),
        rows(3, 1, 4, 4),
    ),
    "residual": lambda: (Residual(), rows(4, 5)),
    "gru": lambda: (Recurrent(), rows(3, 4, 3)),
}


@pytest.mark.parametrize("route", ["auto", "forward", "reverse"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_route_gives_the_derivatives(name, route):
    model, x = NETWORKS[name]()
    model = model.double().eval()
    last = list(dict(model.named_modules()))[-1]
    found = transforms(model, x, last, window="input", route=route)[last]
    expected = jacobian(lambda one: middle(outputs(model, last, one)), x)
    torch.testing.assert_close(found.jacobian, expected, **CLOSE)
    assert route in ("auto", found.route)


def outputs(model, name, x):
    caught = []
    handle = model.get_submodule(name).register_forward_hook(lambda _m, _i, out: caught.append(out))
    model(x)
    handle.remove()
    return caught[0]


def middle(values):
    return values if values.ndim == 2 else values[..., values.shape[-1] // 2]


@settings(max_examples=20, deadline=None)
@given(
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    act=st.sampled_from([nn.ReLU, nn.Tanh, nn.LeakyReLU, nn.GELU, nn.ReLU6]),
    norm=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_all_routes_agree_on_all_layers_of_random_chains(widths, act, norm, seed):
    torch.manual_seed(seed)
    model, x = mlp(widths, act, norm=norm), rows(3, widths[0])
    each = [transforms(model, x, route=route) for route in ("chain", "forward", "reverse")]
    for name in each[0]:
        for other in each[1:]:
            torch.testing.assert_close(other[name].jacobian, each[0][name].jacobian, **CLOSE)


@settings(max_examples=15, deadline=None)
@given(widths=st.lists(st.integers(2, 9), min_size=3, max_size=5), seed=st.integers(0, 1000))
def test_a_rectifier_network_is_its_transform_and_offset(widths, seed):
    torch.manual_seed(seed)
    model, x = mlp(widths), rows(4, widths[0])
    for found in transforms(model, x).values():
        linear = (found.jacobian @ found.inputs[..., None])[..., 0]
        torch.testing.assert_close(linear + found.offset, found.outputs.double(), **CLOSE)
    layers = [each for each in model if isinstance(each, nn.Linear)]
    for sample in range(len(x)):
        expected = rectifier_transform(
            [each.weight.detach() for each in layers],
            [each.bias.detach() for each in layers],
            x[sample],
        )
        torch.testing.assert_close(found.jacobian[sample], expected[0], **CLOSE)
        torch.testing.assert_close(found.offset[sample], expected[1], **CLOSE)


def test_the_offset_stays_the_same_within_a_region():
    model, x = mlp([5, 7, 3]), rows(6, 5)
    near = transforms(model, x + 1e-9, "3")["3"]
    torch.testing.assert_close(near.offset, transforms(model, x, "3")["3"].offset, **CLOSE)


def test_a_worked_example():
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False))
    model[0].weight.data = torch.tensor([[1.0, 0], [0, 1], [1, -1]])
    model[2].weight.data = torch.tensor([[1.0, 2, 1]])
    found = transforms(model, torch.tensor([[1.0, 0], [0, 1], [2, 1]]), "2")["2"]
    assert found.jacobian[:, 0].tolist() == [[2, -1], [0, 2], [2, 1]]
    assert found.outputs[:, 0].tolist() == [2, 2, 5]
    assert found.offset.abs().max() == 0


def test_nodes_of_a_convolution_see_the_window_of_their_receptive_field():
    model = nn.Sequential(nn.Conv1d(2, 3, 3, stride=2), nn.ReLU(), nn.Conv1d(3, 4, 2)).double()
    x = rows(3, 2, 13)
    found, whole = (transforms(model, x, "2", window=window)["2"] for window in ("field", "input"))
    assert found.window == (2, 5)
    assert found.image(0, 0).shape == (2, 5)
    expected = whole.jacobian.view(3, 4, 2, 13)  # position 2 of 5 begins at input 2 · 2
    torch.testing.assert_close(found.jacobian.view(3, 4, 2, 5), expected[..., 4:9])
    assert expected[..., :4].abs().max() == expected[..., 9:].abs().max() == 0


def test_inputs_beyond_the_border_count_nothing():
    model = nn.Sequential(nn.Conv1d(1, 2, 5, padding=2)).double()
    found = transforms(model, rows(2, 1, 8), "0", position="first")["0"]
    assert found.window == (1, 5)
    assert found.jacobian[:, :, :2].abs().max() == 0
    linear = (found.jacobian @ found.inputs[..., None])[..., 0]
    torch.testing.assert_close(linear + found.offset, found.outputs, **CLOSE)
    torch.testing.assert_close(found.offset, model[0].bias.detach().expand(2, -1), **CLOSE)


def test_tokens_are_seen_at_what_they_are_embedded_to():
    model = Tokens().double().eval()
    tokens = torch.randint(0, 11, (3, 5))
    found = transforms(model, tokens, "out")["out"]
    assert found.window == (5, 8)
    assert "output of 'embed'" in found.notes[1]

    def from_embedded(x):
        return model.out(model.block(x).mean(1))

    expected = jacobian(from_embedded, model.embed(tokens).detach())
    torch.testing.assert_close(found.jacobian, expected, rtol=1e-7, atol=1e-9)


def test_a_chain_is_not_mistaken_where_the_data_flows_otherwise():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.b(self.a(x).mul_(2))

    model, x = Scaled().double(), rows(3, 3)
    found = transforms(model, x, "b")["b"]
    assert found.route != "chain"
    torch.testing.assert_close(found.jacobian, jacobian(model, x), **CLOSE)


def test_a_module_that_a_hook_changes_is_no_link():
    model, x = mlp([3, 4, 2]), rows(3, 3)
    with model[0].register_forward_hook(lambda _m, _i, out: out * 3):
        found = transforms(model, x, "3")["3"]
        assert found.route != "chain"
        torch.testing.assert_close(found.jacobian, jacobian(model, x), **CLOSE)


def test_networks_that_are_not_piecewise_linear_say_so():
    (_, said) = transforms(Recurrent(), torch.randn(2, 4, 3), "out")["out"].notes
    assert "GRU" in said
    assert "local approximations" in said
    model = mlp([3, 4, 2], nn.LeakyReLU)
    assert len(transforms(model, rows(2, 3), "3")["3"].notes) == 1


def test_chosen_nodes_are_those_of_all():
    model, x = mlp([6, 8, 7, 3]), rows(4, 6)
    whole, some = transforms(model, x), transforms(model, x, nodes=[2, 0])
    for name, each in some.items():
        torch.testing.assert_close(each.jacobian, whole[name].jacobian[:, [2, 0]], **CLOSE)


def test_the_memory_does_not_change_the_transforms():
    model, x = mlp([6, 8, 7, 3]), rows(9, 6)
    for name, each in transforms(model, x, memory=5000).items():
        torch.testing.assert_close(each.jacobian, transforms(model, x)[name].jacobian, **CLOSE)


def test_the_model_is_left_as_it_was():
    model = mlp([4, 5, 2]).train()
    transforms(model, rows(3, 4))
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_inputs_too_wide_are_refused_with_bytes_and_a_way_out():
    with pytest.raises(MemoryBudgetError, match=r"1,920 bytes.*10 nodes × 24 inputs.*nodes=16"):
        transforms(nn.Linear(24, 10).double(), rows(2, 24), memory=1000)


def test_random_models_are_refused():
    class Noisy(nn.Linear):
        def forward(self, x):
            return super().forward(x) + torch.randn(())

    with pytest.raises(SettingError, match="random even in eval mode"):
        transforms(nn.Sequential(Noisy(3, 2)), torch.randn(4, 3))


def test_samples_that_influence_each_other_are_refused():
    class Centred(nn.Linear):
        def forward(self, x):
            return super().forward(x - x.mean(0))

    with pytest.raises(SettingError, match="other company"):
        transforms(nn.Sequential(Centred(3, 2)), torch.randn(4, 3))


def test_training_mode_is_refused_by_the_analyzer():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    with tp.Probe(model, analyzers=["slt"], on_error="raise") as probe:
        with pytest.raises(SettingError, match=r"training mode.*model\.eval"):
            model(torch.randn(4, 3))
        assert probe.attached


def test_routes_and_nodes_that_are_not_there_are_refused():
    model, x = Residual(), torch.randn(2, 5)
    with pytest.raises(SettingError, match="no chain"):
        transforms(model, x, "last", route="chain")
    with pytest.raises(SettingError, match="choose one of"):
        transforms(model, x, "last", route="sideways")
    with pytest.raises(SettingError, match="channels 0 to 2"):
        transforms(model, x, "last", nodes=[7])
    with pytest.raises(SettingError, match="position"):
        transforms(model, x, "last", position="centre")
    with pytest.raises(SettingError, match="give a tensor"):
        transforms(model, 3, "last")
