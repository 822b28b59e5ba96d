import copy
import io
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import topography as reference
from torch import nn
from torch.nn.utils import parametrizations
from torchprobe_topography import Grid, Neighbourhood, Ramp, TopographicLoss, table
from torchprobe_topography import loss as topographic_loss
from torchprobe_topography.similarity import Similarity, neighbour_similarity

from torchprobe.errors import (
    EmptyStateError,
    LayerNotFoundError,
    LayoutError,
    SettingError,
    ShapeError,
)


@pytest.fixture(params=["compiled", "not compiled"], autouse=True, scope="module")
def multiplied(request):
    """All of this with loops, however small a layer, and without numba."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topographic_loss, "_WORTH_COMPILING", 0)
        if request.param == "not compiled":
            patch.setattr(table, "can_compile", lambda: False)
        yield


def linear(weight):
    weight = torch.as_tensor(weight)
    model = nn.Sequential(nn.Linear(weight.shape[1], len(weight), bias=False, dtype=weight.dtype))
    model[0].weight.data.copy_(weight)
    return model


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# -- right to the digit


def test_worked_losses_of_the_method_specification():
    model = linear(torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]]))
    literal = TopographicLoss("0", 1.0, direction="literal")(model)
    assert literal.item() == pytest.approx(1.477592, abs=1e-6)
    assert TopographicLoss("0", 1.0)(model).item() == pytest.approx(2.522408, abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from([((4, 4), 16), ((6, 4), 23), ((3, 5), 15), ((1, 5), 5)]),
    st.sampled_from([3, 5]),
    st.sampled_from(["truncate", "wrap"]),
    st.booleans(),
    st.integers(0, 1000),
)
def test_it_equals_the_double_loop(grid, size, border, literal, seed):
    shape, units = grid
    if border == "wrap" and (min(shape) < size or shape[0] * shape[1] != units):
        border = "truncate"
    weight = random(units, 6, seed=seed)
    direction = "literal" if literal else "similar"
    found = TopographicLoss(
        "0", 0.7, grids={"0": shape}, uneven="pad", size=size, border=border, direction=direction
    )(linear(weight))
    expected = 0.7 * reference.loss(weight.numpy(), *shape, size, border == "wrap", literal)
    assert found.item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("border", ["truncate", "wrap"])
def test_the_gradient_is_that_of_finite_differences(border):
    similarity = Similarity(Neighbourhood(border=border).pairs(Grid(4, 3)), loops=True)
    filters = random(12, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: neighbour_similarity(w, similarity), (filters,))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_global_penalty_is_the_mean_cosine_with_all_others(reduction):
    weight = random(6, 4)
    plain, penalised = (
        TopographicLoss("0", 1.0, dissimilarity=mu, reduction=reduction)(linear(weight)).item()
        for mu in (0.0, 0.3)
    )
    expected = 0.3 * reference.mean_of_all_pairs(weight.numpy()) * (6 if reduction == "sum" else 1)
    assert penalised - plain == pytest.approx(expected, abs=1e-12)


def test_the_mean_is_the_sum_over_the_units():
    model = linear(random(12, 3))
    both = [TopographicLoss("0", 1.0, reduction=each)(model).item() for each in ("sum", "mean")]
    assert both[0] == pytest.approx(12 * both[1])


def test_scaling_a_filter_changes_nothing():
    weight = random(9, 4)
    loss = TopographicLoss("0")
    scaled = weight * torch.arange(1, 10)[:, None]
    assert loss(linear(weight)).item() == pytest.approx(loss(linear(scaled)).item(), abs=1e-12)


def test_filters_of_zeros_have_no_direction_and_get_no_gradient():
    weight = random(9, 4)
    weight[4] = 0
    model = linear(weight)
    TopographicLoss("0", 1.0, dissimilarity=1.0)(model).backward()
    assert not model[0].weight.grad[4].any()
    model.zero_grad()
    loss = TopographicLoss("0", 1.0)(model)
    assert loss.item() == pytest.approx(reference.loss(weight.numpy(), 3, 3), abs=1e-9)
    loss.backward()
    gradient = model[0].weight.grad
    assert not gradient[4].any()
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 10


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_half_precision_is_widened_and_autocast_does_not_touch_it(dtype):
    weight = random(16, 200).to(dtype)
    expected = reference.loss(weight.double().numpy(), 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = TopographicLoss("0", 1.0)(linear(weight))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected, rel=1e-5)


# -- which weights


def convolutions():
    return nn.ModuleDict(
        {
            "conv1": nn.Conv1d(3, 8, 5),
            "conv2": nn.Conv2d(4, 8, 3, groups=2),
            "conv3": nn.Conv3d(2, 8, 2),
            "up": nn.ConvTranspose2d(3, 8, 2),
        }
    ).double()


@pytest.mark.parametrize("name", ["conv1", "conv2", "conv3", "up"])
def test_a_convolution_s_filter_is_all_that_leads_to_a_channel(name):
    model = convolutions()
    weight = model[name].weight.detach()
    filters = (weight.movedim(1, 0) if name == "up" else weight).flatten(1)
    expected = reference.loss(filters.numpy(), 4, 2)
    assert TopographicLoss(name, 1.0)(model).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("width", [8, 6])
def test_attention_has_three_projections_in_one_weight_or_in_three(width):
    model = nn.ModuleDict({"a": nn.MultiheadAttention(8, 2, kdim=width, vdim=width)}).double()
    loss = TopographicLoss("a", 1.0)
    assert list(loss.grids_of(model)) == ["a.q", "a.k", "a.v"]
    weights = (
        model["a"].in_proj_weight.detach().chunk(3)
        if width == 8
        else [getattr(model["a"], f"{each}_proj_weight").detach() for each in "qkv"]
    )
    expected = sum(reference.loss(weight.numpy(), 4, 2) for weight in weights)
    assert loss(model).item() == pytest.approx(expected, abs=1e-9)
    model["a"].zero_grad()
    loss(model).backward()
    by_autograd = [each.grad for each in model["a"].parameters() if each.grad is not None]
    model["a"].zero_grad()
    loss.add_gradient(model)
    in_place = [each.grad for each in model["a"].parameters() if each.grad is not None]
    for one, other in zip(by_autograd, in_place, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_modules_without_filters_are_passed_over_but_not_all_of_them():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 6))
    assert list(TopographicLoss("*").grids_of(model)) == ["0", "2"]
    with pytest.raises(LayerNotFoundError, match=r"has filters \(ReLU\)"):
        TopographicLoss("1")(model)
    with pytest.raises(LayerNotFoundError, match="not found"):
        TopographicLoss("first")(model)


def test_layers_without_a_grid_are_named_with_the_remedy():
    model = nn.Sequential(nn.Linear(3, 29))
    with pytest.raises(ShapeError, match=r"layer '0': 29 units.*uneven='pad'"):
        TopographicLoss("0")(model)
    assert TopographicLoss("0", uneven="pad").grids_of(model) == {"0": Grid(6, 5, 29)}
    assert TopographicLoss("0", grids={"*": (1, 29)}).grids_of(model)["0"].shape == (1, 29)


def test_a_grid_for_a_layer_that_is_not_there_is_a_mistake():
    with pytest.raises(SettingError, match="There are: '0'"):
        TopographicLoss("0", grids={"hidden": (2, 2)})(nn.Sequential(nn.Linear(3, 4)))


def test_a_refusal_is_repeated():
    model, loss = nn.Sequential(nn.Linear(3, 29)), TopographicLoss("0")
    for _ in range(2):
        with pytest.raises(ShapeError, match="29 units"):
            loss(model)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
def test_lazy_weights_and_grouped_transposes_are_refused():
    with pytest.raises(SettingError, match=r"torch\.nn\.utils\.parametrizations"):
        TopographicLoss("0")(nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 4))))
    with pytest.raises(SettingError, match="run one batch"):
        TopographicLoss("0")(nn.Sequential(nn.LazyLinear(4)))
    with pytest.raises(SettingError, match="2 groups"):
        TopographicLoss("0")(nn.Sequential(nn.ConvTranspose1d(4, 8, 2, groups=2)))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("frozen", [False, True])
def test_adding_the_gradient_equals_backward(memory_format, frozen):
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.ConvTranspose2d(6, 4, 2)).double()
    model = model.to(memory_format=memory_format)
    model[1].weight.requires_grad_(not frozen)
    loss = TopographicLoss("*", 0.3)
    other = copy.deepcopy(model)
    for parameter in (*model.parameters(), *other.parameters()):
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    (2 * loss(model)).backward()
    value = loss.add_gradient(other, scale=2)
    assert value.item() == pytest.approx(loss(model).item())
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert one.grad is two.grad is None or torch.allclose(one.grad, two.grad, atol=1e-12)


def test_layers_that_share_a_weight_add_both_gradients_to_it():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6)).double()
    model[1].weight = model[0].weight
    loss = TopographicLoss("*", grids={"0": (3, 2), "1": (1, 6)})
    loss(model).backward()
    expected, model[0].weight.grad = model[0].weight.grad, None
    loss.add_gradient(model)
    assert torch.allclose(model[0].weight.grad, expected, atol=1e-12)


def test_parametrized_weights_are_trained_through_what_makes_them():
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(5, 6))).double()
    loss = TopographicLoss("0", 1.0, dissimilarity=0.1)
    other = copy.deepcopy(model)
    loss(model).backward()
    loss.add_gradient(other)
    for (name, one), two in zip(model.named_parameters(), other.parameters(), strict=True):
        assert (one.grad is None) == (two.grad is None) == name.endswith("bias")
        assert one.grad is None or torch.allclose(one.grad, two.grad, atol=1e-12)


# -- activations


def test_on_activations_it_is_the_correlation_over_the_batch():
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    loss = TopographicLoss("0", 1.0, on="activations")
    x = random(20, 3)
    with loss.watch(model):
        model(x)
        found = loss(model)
        with pytest.raises(EmptyStateError, match="run the model"):
            loss(model)
    units = model[0](x).detach().numpy().T
    expected = reference.loss(units - units.mean(1, keepdims=True), 3, 2)
    assert found.item() == pytest.approx(expected, abs=1e-9)
    found.backward()
    assert model[0].weight.grad.abs().sum() > 0
    assert not model[0]._forward_hooks
    assert not model._forward_pre_hooks


def test_positions_are_rows_and_axes_are_never_guessed():
    model = nn.Sequential(nn.Conv1d(3, 6, 2), nn.ReLU()).double()
    x = random(4, 3, 7)
    loss = TopographicLoss("0", 1.0, on="activations")
    with loss.watch(model):
        model(x)
        found = loss(model).item()
    units = model[0](x).detach().transpose(0, 1).flatten(1).numpy()
    expected = reference.loss(units - units.mean(1, keepdims=True), 3, 2)
    assert found == pytest.approx(expected, abs=1e-9)
    with TopographicLoss("1", on="activations").watch(model):
        with pytest.raises(LayoutError, match="channel_axis=1"):
            model(x)
    with TopographicLoss("1", on="activations", channel_axis=1).watch(model):
        model(x)


def test_nothing_is_kept_of_passes_that_do_not_train():
    model = nn.Sequential(nn.Linear(3, 6))
    loss = TopographicLoss("0", on="activations")
    with pytest.raises(SettingError, match="watch"):
        loss(model)
    with loss.watch(model):
        with torch.no_grad():
            model(torch.zeros(2, 3))
        model.eval()(torch.zeros(2, 3))
        with pytest.raises(EmptyStateError):
            loss(model)


# -- a module like any other


def test_it_has_no_parameters_and_does_not_hold_the_model():
    model = nn.Sequential(nn.Linear(3, 4))
    loss = TopographicLoss("0")
    loss(model)
    assert not list(loss.parameters())
    assert not list(loss.children())
    del model
    assert not loss._terms


def test_copies_and_pickles_carry_settings_and_steps():
    model = nn.Sequential(nn.Linear(3, 4)).double()
    loss = TopographicLoss("0", Ramp(1.0, 10))
    loss(model)
    loss.advance()
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert other.steps == 1
        assert other(model).item() == loss(model).item()
    buffer = io.BytesIO()
    torch.save(loss.state_dict(), buffer)
    buffer.seek(0)
    fresh = TopographicLoss("0", Ramp(1.0, 10))
    fresh.load_state_dict(torch.load(buffer))
    assert fresh.strength_now == pytest.approx(0.1)


def test_a_schedule_says_the_strength():
    model = linear(random(4, 3))
    loss = TopographicLoss("0", Ramp(2.0, steps=4, delay=2))
    seen = []
    for _ in range(8):
        seen.append(loss(model).item())
        loss.advance()
    full = TopographicLoss("0", 2.0)(model).item()
    assert np.allclose(np.array(seen) / full, [0, 0, 0, 0.25, 0.5, 0.75, 1, 1])
    gentle = Ramp(2.0, steps=4, shape="cosine")
    assert [round(gentle(step), 6) for step in range(5)] == [0, 0.292893, 1, 1.707107, 2]
    assert Ramp(0.0, steps=2, start=1.0)(1) == 0.5


@pytest.mark.parametrize(
    "settings",
    [
        {"strength": -1.0},
        {"strength": float("nan")},
        {"on": "gradients"},
        {"direction": "far"},
        {"reduction": "max"},
        {"uneven": "wrap"},
        {"size": 2},
        {"dissimilarity": -0.1},
        {"layers": None},
    ],
)
def test_impossible_settings_are_refused_at_the_door(settings):
    with pytest.raises(SettingError):
        TopographicLoss(**{"layers": "0", **settings})


def test_schedules_that_give_no_strength_are_refused():
    with pytest.raises(SettingError, match="at step 0"):
        TopographicLoss("0", lambda _: float("nan"))(nn.Sequential(nn.Linear(3, 4)))
    for wrong in (
        {"end": -1, "steps": 2},
        {"end": 1, "steps": 0},
        {"end": 1, "steps": 1, "shape": "x"},
    ):
        with pytest.raises(SettingError):
            Ramp(**wrong)


def test_a_layer_that_changed_its_width_is_told():
    model = nn.Sequential(nn.Linear(3, 4))
    loss = TopographicLoss("0")
    loss(model)
    model[0].weight = nn.Parameter(torch.randn(6, 3))
    with pytest.raises(ShapeError, match="6 units now, 4"):
        loss(model)


def test_training_with_it_makes_neighbours_alike():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 64))
    loss = TopographicLoss("0", 0.01)
    before = loss(model).item()
    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(50):
        sgd.zero_grad()
        loss(model).backward()
        sgd.step()
    assert loss(model).item() < before / 2


class Conv1D(nn.Module):
    """As Hugging Face's GPT-2 has it: a linear layer with its weight the other way round."""

    def __init__(self):
        super().__init__()
        self.nf, self.weight = 8, nn.Parameter(random(3, 8))

    def forward(self, x):
        return x @ self.weight


def test_gpt_2_s_linear_layers_have_their_units_along_the_other_axis():
    model = nn.ModuleDict({"c_attn": Conv1D()})
    expected = reference.loss(model["c_attn"].weight.detach().numpy().T, 4, 2)
    assert TopographicLoss("c_attn", 1.0)(model).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_gpu_gives_the_same_loss_and_gradient(dtype):
    here = linear(random(23, 40).to(dtype))
    there = copy.deepcopy(here).cuda()
    loss = TopographicLoss("0", 1.0, uneven="pad")
    values = [loss.add_gradient(model).item() for model in (here, there)]
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    torch.testing.assert_close(there[0].weight.grad.cpu(), here[0].weight.grad)
    assert loss(there).device == there[0].weight.device
