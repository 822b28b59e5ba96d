"""Gradients at every layer's output as it was produced, in one backward pass, touching nothing."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

from torchprobe.errors import LabelError, SettingError
from torchprobe.labels import Labels
from torchprobe.objective import Objective
from torchprobe.sensitivity import Origin, differentiable, sensitivities


def leaf(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def test_the_gradient_of_an_overwritten_view_is_the_one_before_it_was_overwritten():
    x = leaf(3, 2, 4)
    maps = x * 2
    flat = maps.flatten(1)
    origin = Origin(flat)
    flat.relu_()
    (flat * flat).sum().backward(retain_graph=True)
    (found,) = sensitivities((flat * flat).sum(), [origin])
    expected = 2 * (2 * x.detach()).clamp(min=0).flatten(1)
    assert torch.equal(found, expected)


def test_a_transposed_view_reads_its_own_part_of_the_base():
    x = leaf(3, 5)
    base = x * 1
    view = base.t()[1:4]  # [3, 3], strided, with an offset
    origin = Origin(view)
    view.mul_(2)
    weights = torch.arange(9.0, dtype=torch.float64).view(3, 3)
    (found,) = sensitivities((view * weights).sum(), [origin])
    assert torch.equal(found, 2 * weights)


def test_a_view_that_stays_as_it_is_gets_only_its_own_gradient():
    x = leaf(2, 3)
    base = x * 1
    view = base.view(6)
    origin = Origin(view)
    (found,) = sensitivities(view.sum() + 5 * base.sum(), [origin])
    assert torch.equal(found, torch.ones(6, dtype=torch.float64))


def test_several_uses_add_and_what_is_not_reached_has_none():
    x = leaf(4)
    y, z = 2 * x, 3 * x
    origins = [Origin(y), Origin(z), Origin(x.detach()), Origin(y)]
    found = sensitivities((y * y).sum() + y.sum(), origins)
    assert torch.allclose(found[0], 2 * y.detach() + 1)
    assert found[1] is None
    assert found[2] is None
    assert torch.equal(found[3], found[0])


def test_packed_sequences_get_padded_gradients():
    lengths = torch.tensor([3, 1])
    data = leaf(2, 3, 2)
    packed = pack_padded_sequence(data * 1, lengths, batch_first=True)
    origin = Origin(packed)
    squares = PackedSequence(packed.data**2, *packed[1:])
    (found,) = sensitivities(squares.data.sum(), [origin])
    padded, _ = pad_packed_sequence(packed, batch_first=True)
    assert torch.equal(found, 2 * padded.detach())


def test_no_parameter_gets_a_gradient_and_frozen_ones_stay_frozen():
    model = nn.Sequential(nn.Embedding(5, 3), nn.ReLU(inplace=True), nn.Linear(3, 2))
    model[2].requires_grad_(False)
    model[0].weight.grad = torch.ones(5, 3)
    kept = model[0].weight.grad.clone()
    with differentiable(model, torch.tensor([1, 2])) as tokens:
        output = model(tokens)
        sensitivities(output.sum(), [Origin(output)])
    assert torch.equal(model[0].weight.grad, kept)
    assert model[2].weight.grad is None
    assert [p.requires_grad for p in model.parameters()] == [True, False, False]


def test_frozen_embeddings_are_differentiable_meanwhile():
    model = nn.Sequential(nn.Embedding(5, 3), nn.ReLU(inplace=True)).requires_grad_(False)
    with differentiable(model, torch.tensor([1, 2])) as tokens:
        assert model(tokens).requires_grad
    assert not any(p.requires_grad for p in model.parameters())


def test_frozen_parameters_are_restored_when_the_model_raises():
    model = nn.Embedding(5, 3).requires_grad_(False)
    with pytest.raises(IndexError), differentiable(model, torch.tensor([7])) as tokens:
        model(tokens)
    assert not model.weight.requires_grad
    assert torch.is_grad_enabled()


def test_inputs_are_copies_that_may_be_overwritten_in_place():
    x = torch.tensor([-1.0, 2.0])
    model = nn.ReLU(inplace=True)
    with differentiable(model, {"x": (x, torch.tensor([1]))}) as inputs:
        copy, number = inputs["x"]
        origin = Origin(copy)
        output = model(copy)
        (found,) = sensitivities(output.sum(), [origin])
    assert torch.equal(found, torch.tensor([0.0, 1.0]))
    assert torch.equal(x, torch.tensor([-1.0, 2.0]))
    assert not x.requires_grad
    assert not number.requires_grad


def test_packed_inputs_and_inference_tensors_can_be_differentiated():
    packed = pack_padded_sequence(torch.ones(2, 3, 1), torch.tensor([3, 1]), batch_first=True)
    with torch.inference_mode():
        made_there = torch.ones(2)
    with differentiable(nn.Identity(), [packed, made_there]) as (sequence, tensor):
        assert sequence.data.requires_grad
        assert tensor.requires_grad


def test_inference_mode_is_refused_at_the_door():
    with torch.inference_mode():
        model = nn.Linear(2, 2)
        with pytest.raises(SettingError, match="inference_mode"), differentiable(model, None):
            pass
    with pytest.raises(SettingError, match="'weight' was made in"), differentiable(model, None):
        pass


def test_an_objective_without_gradients_says_how_to_get_them():
    with pytest.raises(SettingError, match=r"probe\.run\(\) sees to it"):
        sensitivities(torch.ones(()), [])


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_works_or_says_what_to_use(reentrant):
    layer = nn.Linear(3, 3).double()
    seen = []

    def segment(x):
        y = layer(x)
        seen.append(Origin(y))
        return y.relu()

    x = leaf(2, 3)
    output = checkpoint(segment, x, use_reentrant=reentrant)
    if reentrant:
        with pytest.raises(SettingError, match="use_reentrant=False"):
            sensitivities(output.sum(), [Origin(x)])
        return
    (found,) = sensitivities(output.sum(), [seen[0]])
    assert torch.equal(found, (layer(x) > 0).double())


# -- objectives

SCORES = torch.tensor([[1.0, 5.0, 2.0], [7.0, 0.0, 3.0]], dtype=torch.float64)


def value(objective, scores=SCORES, labels=None):
    return Objective.parse(objective)(scores, None if labels is None else Labels(labels)).item()


def test_short_forms_pick_the_scores_they_name():
    assert value("predicted") == 5 + 7
    assert value(2) == 2 + 3
    assert value("label", labels=[0, -1]) == 1
    assert (
        value(lambda outputs, labels: outputs[:, 0] * labels.labels["label"], labels=[2, 3])
        == 2 + 21
    )


def test_probabilities_are_softmax_of_the_scores():
    expected = SCORES.softmax(1).amax(1).sum().item()
    assert value(Objective(probabilities=True)) == pytest.approx(expected, rel=1e-12)


def test_positions_that_count_are_summed():
    frames = torch.stack([SCORES, 10 * SCORES], dim=1)  # [sample, time, class]
    predicted = Objective(dim=-1)
    assert value(predicted, frames) == 11 * (5 + 7)
    assert value(predicted, frames, labels=[[0, -1], [-1, 2]]) == 5 + 70
    assert value(Objective("label", dim=-1), frames, labels=[[0, -1], [-1, 2]]) == 1 + 30
    assert value(Objective("label", dim=1), frames.mT, labels=[1, 2]) == 11 * (5 + 3)
    within = Labels([0, 0], lengths=[1, 2])
    assert predicted(frames, within).item() == 5 + 7 + 70


def test_one_position_alone_can_be_asked_for():
    frames = torch.stack([SCORES, 10 * SCORES], dim=1)  # [sample, time, class]
    assert value(Objective(dim=-1, position=1), frames) == 10 * (5 + 7)
    assert value(Objective("label", dim=-1, position=0), frames, labels=[2, 1]) == 2 + 0
    assert value(Objective(dim=-1, position=1), frames, labels=[[0, -1], [-1, 2]]) == 70
    with pytest.raises(SettingError, match=r"position 2.*positions \(2,\)"):
        value(Objective(dim=-1, position=2), frames)
    with pytest.raises(SettingError, match="single axis"):
        value(Objective(position=0))


def test_parts_of_an_output_are_found():
    assert Objective(output="b")({"a": 0 * SCORES, "b": SCORES}, None).item() == 12
    assert Objective()({"logits": SCORES, "x": 0 * SCORES}, None).item() == 12


def test_half_precision_sums_do_not_overflow():
    scores = torch.full((4, 1), 60000.0, dtype=torch.float16)
    assert value("predicted", scores) == 240000


@pytest.mark.parametrize("objective", ["labels", -1, True, None, 1.5])
def test_what_is_no_objective_is_refused(objective):
    with pytest.raises(SettingError, match="give 'predicted'"):
        Objective.parse(objective)


def test_errors_name_what_would_work():
    with pytest.raises(LabelError, match=r"dim=-1"):
        value("predicted", SCORES[None])
    with pytest.raises(LabelError, match="needs labels 'label'"):
        value("label")
    with pytest.raises(LabelError, match="class 9 is wanted but the model has scores for 3"):
        value("label", labels=[9, 0])
    with pytest.raises(LabelError, match="one label for each"):
        value("label", labels=[9, 0, 1])
    with pytest.raises(LabelError, match=r"Tensor, torch\.int64 values"):
        Objective()({"logits": SCORES.long()}, None)
    with pytest.raises(SettingError, match="a float"):
        value(lambda outputs, labels: 1.0)
