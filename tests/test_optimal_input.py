"""Optimal inputs are where calculus says, the same in any company, and leave no trace."""

import numpy as np
import pytest
import torch
from torch import nn

from torchprobe.errors import LayerNotFoundError, SettingError, ShapeError
from torchprobe.optimal_input import most_responsive, optimal_inputs


def linear(*rows):
    weight = torch.tensor(rows, dtype=torch.float64)
    model = nn.Sequential(nn.Linear(weight.shape[1], len(rows), bias=False)).double()
    model[0].weight.data = weight
    return model


def conv():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(3, 8, 3),
        nn.ReLU(inplace=True),
        nn.Conv1d(8, 4, 3),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(4, 2),
    ).double()


@pytest.mark.parametrize(("l1", "optimum"), [(0, (3, -1)), (1, (2, 0))])
def test_a_linear_unit_has_its_known_optimum(l1, optimum):
    found = optimal_inputs(
        linear((3.0, -1.0)), "0", [[1.0]], (2,), l1=l1, l2=0.5, steps=1500, lr=0.01
    )
    np.testing.assert_allclose(found.inputs[0], optimum, atol=0.02)


def test_the_first_step_has_the_size_of_the_learning_rate():
    model = linear((3.0, -1.0))
    begun = optimal_inputs(model, "0", [[1.0]], (2,), steps=1, lr=1e-12).inputs
    after = optimal_inputs(model, "0", [[1.0]], (2,), steps=1, lr=0.25).inputs
    np.testing.assert_allclose((after - begun).abs(), 0.25, rtol=1e-6)


def test_penalties_fall_with_the_receptive_field():
    model = linear((3.0, -1.0))
    options = {"l1": 0, "l2": 0.5, "steps": 1500}
    found = optimal_inputs(model, "0", [[1.0]], (2,), receptive_field=2, **options)
    np.testing.assert_allclose(found.inputs[0], (6, -2), atol=0.05)
    assert optimal_inputs(conv(), "2", [[1.0, 0, 0, 0]], (3, 5)).settings["receptive_field"] == 5


def test_units_that_respond_negatively_are_driven_down():
    model = linear((1.0, 0.0), (0.0, 1.0))
    found = optimal_inputs(model, "0", [[1.0, -1.0]], (2,), l1=0, l2=0.5, steps=800)
    np.testing.assert_allclose(found.inputs[0], (1, -1), atol=0.02)


def test_targets_do_not_influence_each_other():
    weights = np.eye(4)
    together = optimal_inputs(conv(), "2", weights, (3, 5))
    in_twos = optimal_inputs(conv(), "2", weights, (3, 5), batch_size=2)
    torch.testing.assert_close(together.inputs, in_twos.inputs, rtol=1e-9, atol=1e-12)
    assert together.objective.shape == (17, 4)
    assert bool((together.objective[-1] > together.objective[0]).all())


def test_an_activation_means_what_goes_into_it():
    torch.testing.assert_close(
        optimal_inputs(conv(), "3", np.eye(4), (3, 5)).inputs,
        optimal_inputs(conv(), "2", np.eye(4), (3, 5)).inputs,
    )


def test_any_position_and_any_function_can_be_aimed_at():
    first = optimal_inputs(conv(), "0", [[1.0] + [0.0] * 7], (3, 5), at=[0], l1=0).inputs
    assert first[0, :, 3:].abs().max() < 0.05  # beyond what position 0 sees
    assert first[0, :, :3].abs().max() > 0.5
    same = optimal_inputs(conv(), "0", lambda z: z[:, 0, 0], (3, 5), l1=0).inputs
    torch.testing.assert_close(first, same)


def test_images_are_read_in_the_middle():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1))
    found = optimal_inputs(model, "0", np.eye(2), (1, 5, 7))
    assert found.inputs.shape == (2, 1, 5, 7)
    assert found.settings["receptive_field"] == 35
    assert found.inputs[:, :, 1:4, 2:5].abs().max() > found.inputs[:, :, 0].abs().max()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_models_do_not_make_nan_of_what_units_ignore(dtype):
    model = nn.Sequential(nn.Linear(3, 1, bias=False)).to(dtype)
    model[0].weight.data = torch.tensor([[3.0, -1.0, 0.0]], dtype=dtype)
    found = optimal_inputs(model, "0", [[1.0]], (3,), l1=0, l2=0.5, steps=300, std=0)
    assert found.inputs.dtype == torch.float32
    np.testing.assert_allclose(found.inputs[0], (3, -1, 0), atol=0.05)


def test_color_images_are_found_for_any_objective_over_maps():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 5), nn.BatchNorm2d(4), nn.ReLU(inplace=True)).double()
    model.eval()
    everywhere = optimal_inputs(
        model, "2", lambda z: z[:, :2].mean((1, 2, 3)), (3, 9, 8), n=2, steps=40
    )
    assert everywhere.inputs.shape == (2, 3, 9, 8)
    assert bool((everywhere.objective.diff(dim=0) > -1e-3).all())
    middle = optimal_inputs(model, "2", np.eye(4), (3, 5, 5), l1=0, l2=0, steps=1, std=0)
    wanted = model[0].weight.detach().sign() * torch.sign(model[1].weight)[:, None, None, None]
    torch.testing.assert_close(middle.inputs.sign(), wanted)  # one step: along the gradient


def test_inputs_that_the_model_does_not_take_are_shown():
    with pytest.raises(RuntimeError) as caught:
        optimal_inputs(conv(), "2", np.eye(4), (5, 3))
    assert "inputs (4, 5, 3)" in caught.value.__notes__[0]


def test_the_model_and_generators_are_left_as_they_were():
    model = conv()
    model[0].requires_grad_(False)
    model[2].weight.grad = torch.ones_like(model[2].weight)
    before = torch.get_rng_state()
    with torch.no_grad():
        optimal_inputs(model, "2", np.eye(4), (3, 5), steps=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(model[2].weight.grad, torch.ones_like(model[2].weight))
    assert model[2].bias.grad is None
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model)


def test_seeds_decide_the_start():
    options = {"steps": 1, "lr": 1e-12}
    one, same, other = (
        optimal_inputs(conv(), "2", np.eye(4), (3, 5), seed=seed, **options).inputs
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)
    assert not torch.allclose(one[0], one[1])
    assert 0.003 < float(one.std()) < 0.03


def test_the_most_responsive_units_keep_their_signs():
    weights = most_responsive([[8 / 9, 1 / 9], [-2 / 3, 2]], n=1)
    assert weights.tolist() == [[1, 0], [0, 1]]
    assert np.abs(most_responsive(np.arange(1.0, 9)[None])).sum() == 5


def test_mistakes_are_named():
    with pytest.raises(LayerNotFoundError, match="'9'"):
        optimal_inputs(conv(), "9", np.eye(4), (3, 5))
    with pytest.raises(ShapeError, match="8 channels but the layer's values"):
        optimal_inputs(conv(), "2", np.eye(8), (3, 5))
    with pytest.raises(ShapeError, match=r"\[target, channel\]"):
        optimal_inputs(conv(), "2", np.ones(4), (3, 5))
    with pytest.raises(ShapeError, match="one number for each"):
        optimal_inputs(conv(), "2", lambda z: z.sum(), (3, 5))
    with pytest.raises(SettingError, match="steps=0"):
        optimal_inputs(conv(), "2", np.eye(4), (3, 5), steps=0)
    with torch.inference_mode(), pytest.raises(SettingError, match="inference_mode"):
        optimal_inputs(linear((1.0,)), "0", [[1.0]], (1,))
