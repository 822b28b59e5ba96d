"""Gradient-adjusted profiles: the worked numbers, the slow reference, the contract."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.gradnap import gradnap
from torch import nn
from torchprobe_gradnap import GradNAP
from torchprobe_gradnap.alignment import importance, peaks

import torchprobe as tp
from torchprobe.axes import Axes
from torchprobe.errors import EmptyStateError, LabelError, SettingError, ShapeError
from torchprobe.labels import Labels
from torchprobe.testing import check_analyzer

from .options import any_options

# methods.md 3.2
A1 = [[0, 1, 4, 1, 0], [2, 0, 0, 0, 0]], [[0, 0.5, 1, 0.5, 0], [-0.25, 0, 0, 0, 3]]
A2 = [[0, 0, 1, 4, 1], [0, 2, 0, 0, 0]], [[0, 0, 0.5, 1, 0.5], [0, -0.25, 0, 0, 0]]
B = [[0, 0, 1, 0, 0], [0, 0, 3, 0, 0]], [[0, -1, 0, -1, 0], [0, 0, -2, 0, 0]]
VALUES, GRADIENTS = (torch.tensor(x, dtype=torch.float64) for x in zip(A1, A2, B, strict=True))
LABELS = torch.tensor([0, 0, 1])
POSITIONS = {0: (), 1: ("time",), 2: ("height", "width")}


def layer_of(values, module="ReLU"):
    axes = Axes(("sample", "channel", *POSITIONS[values.ndim - 2]))
    return tp.Layer("layer", axes, tuple(values.shape), module)


def fed(values, gradients, labels, sizes=None, module="ReLU", **options):
    fork = GradNAP(**options).fork(layer_of(values, module), "label")
    for index in torch.arange(len(values)).split(sizes or len(values)):
        batch = tp.LayerBatch(
            fork.layer, values[index], Labels(labels[index]), gradients=gradients[index]
        )
        fork.update(batch.view("label", "each"))
    return fork


def test_the_worked_example():
    found = fed(VALUES, GRADIENTS, LABELS, stages=True).compute()
    thirds = np.array(
        [[[0, 1, 2, 1, 0], [0.5, 0, 0, 0, 3]], [[0, 1.5, 0, 1.5, 0], [0, 0, 3, 0, 0]]]
    )
    np.testing.assert_allclose(found.baseline, [[0, 2 / 3, 3, 2 / 3, 0], [4 / 3, 0, 1, 0, 0]])
    np.testing.assert_allclose(found.mask, thirds / 3)
    np.testing.assert_allclose(
        found.gradnap,
        [
            [[0, 1 / 9, 2 / 3, 1 / 9, 0], [1 / 9, 0, 0, 0, 0]],
            [[0, -1 / 3, 0, -1 / 3, 0], [0, 0, 2, 0, 0]],
        ],
        atol=1e-15,
    )
    np.testing.assert_allclose(found.responsiveness, [[8 / 9, 1 / 9], [-2 / 3, 2]])
    assert found.counts.tolist() == [2, 1]


def test_the_worked_examples_are_aligned_where_activation_and_gradient_are_strong():
    assert peaks(importance(VALUES, GRADIENTS)).tolist() == [[2], [3], [2]]
    assert peaks(importance(VALUES, GRADIENTS, "gradient")).tolist()[0] == [4]
    signed = -VALUES  # what is strong but negative counts where its size is asked for
    assert peaks(importance(signed, GRADIENTS, "absolute")).tolist() == [[2], [3], [2]]
    assert peaks(importance(signed, GRADIENTS)).tolist() != [[2], [3], [2]]


def test_examples_before_alignment_are_among_the_stages():
    found = fed(VALUES, GRADIENTS, LABELS, stages=True).compute()
    np.testing.assert_array_equal(found.unaligned, [VALUES[:2].mean(0), VALUES[2]])
    narrow = fed(VALUES, GRADIENTS, LABELS, stages=True, width=3).compute()
    np.testing.assert_array_equal(narrow.unaligned, found.unaligned[..., 1:4])


def test_at_the_input_gradients_alone_say_where_to_align():
    found = fed(VALUES[:1], GRADIENTS[:1], LABELS[:1], module="", stages=True).compute()
    assert found.activation[0].tolist() == [[4, 1, 0, 0, 0], [0, 0, 0, 0, 0]]  # 4 stands at 2


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shape=st.sampled_from([(7, 3), (7, 2, 5), (6, 3, 4), (5, 2, 3, 4), (4, 1, 1)]),
    options=any_options,
    size=st.sampled_from([1, 3, 100]),
    seed=st.integers(0, 99),
)
def test_any_options_agree_with_the_slow_reference(shape, options, size, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator, dtype=torch.float64).relu()
    gradients = torch.randn(shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(-1, 3, shape[:1], generator=generator)
    labels[0] = 0
    found = fed(values, gradients, labels, size, stages=True, **options).compute()
    profiles, masks, means, _ = gradnap(
        values.numpy(), gradients.numpy(), labels.tolist(), **options
    )
    np.testing.assert_allclose(found.gradnap, np.stack([*profiles.values()]), atol=1e-9)
    np.testing.assert_allclose(found.mask, np.stack([*masks.values()]), atol=1e-9)
    np.testing.assert_allclose(found.activation, np.stack([*means.values()]), atol=1e-9)


@pytest.mark.parametrize("border", ["zero", "mask", "crop"])
@pytest.mark.parametrize(("shape", "width"), [((9, 2, 7), (3,)), ((9, 2, 6, 5), (3, 2))])
def test_windows_of_a_chosen_width_agree_with_the_slow_reference(border, shape, width):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    gradients = torch.randn(shape, generator=generator, dtype=torch.float64)
    labels = torch.arange(len(values)) % 2
    found = fed(values, gradients, labels, border=border, width=width).compute()
    profiles, *_ = gradnap(
        values.numpy(), gradients.numpy(), labels.tolist(), border=border, width=width
    )
    np.testing.assert_allclose(found.gradnap, np.stack([*profiles.values()]), atol=1e-9)
    assert (found.overrun > 0) == (border == "crop")


def test_padding_is_neither_aligned_to_nor_counted():
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(4, 2, 5, generator=generator, dtype=torch.float64)
    gradients = torch.rand(4, 2, 5, generator=generator, dtype=torch.float64)
    padded = values.clone()
    padded[:, :, 3:] = torch.nan
    results = []
    for maps, labels in (
        (padded, Labels([0, 0, 1, 1], lengths=[3, 3, 3, 3])),
        (values[:, :, :3], Labels([0, 0, 1, 1])),
    ):
        fork = GradNAP(width=5, border="mask").fork(layer_of(maps), "label")
        grads = gradients[:, :, : maps.shape[2]]
        batch = tp.LayerBatch(fork.layer, maps, labels, gradients=grads)
        fork.update(batch.view("label", "each"))
        results.append(fork.compute().gradnap)
    np.testing.assert_array_equal(*results)


def test_examples_with_nan_are_left_out_and_counted():
    values = torch.cat([VALUES, VALUES[:1]])
    values[3, 0, 1] = torch.nan
    found = fed(values, GRADIENTS[[0, 1, 2, 0]], LABELS[[0, 1, 2, 0]]).compute()
    np.testing.assert_array_equal(found.gradnap, fed(VALUES, GRADIENTS, LABELS).compute().gradnap)
    assert found.left_out == 1
    assert "1 examples are left out" in found.provenance["notes"][0]


def test_groups_without_gradients_have_zero_profiles_and_are_told():
    found = fed(VALUES, GRADIENTS * 0, LABELS).compute()
    assert not found.gradnap.any()
    assert found.zero_gradients.all()
    assert np.isnan(found.spread).all()
    assert any("no gradients at all" in note for note in found.provenance["notes"])


def test_one_group_has_nothing_to_cluster():
    found = fed(VALUES[:2], GRADIENTS[:2], LABELS[:2]).compute()
    assert found.n_clusters == 1
    assert np.isnan(found.mean_silhouette)
    assert found.n_undefined == 5
    assert any("nothing to cluster" in note for note in found.provenance["notes"])


def test_silhouettes_are_those_of_the_worked_points():
    points = torch.tensor([0, 1, 4, 6, 12, 13.5, 20, 30], dtype=torch.float64)
    ones = torch.ones(8, 1, dtype=torch.float64)
    found = fed(points[:, None], ones, torch.arange(8)).compute()
    np.testing.assert_allclose(found.thresholds, [16.875, 18.6, 19.95, 24.6, 27.95])
    np.testing.assert_allclose(found.silhouettes, [0.524311, *[0.541400] * 4], atol=1e-6)
    assert found.mean_silhouette == pytest.approx(0.537982, abs=1e-6)
    assert found.n_clusters == 3


def test_half_precision_products_do_not_vanish():
    values = torch.zeros(1, 1, 5, dtype=torch.float16)
    values[0, 0, 4], values[0, 0, 0] = 2e-3, 1e-3
    gradients = torch.full((1, 1, 5), 6e-8, dtype=torch.float16)
    found = fed(values, gradients, torch.tensor([0]), stages=True).compute()
    assert found.activation[0, 0].argmax() == 2


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"border": "mask"},
        {"mask": "mean_absolute", "scale": "neuron", "baseline": "group"},
        {"alignment": "gradient", "across": "mean", "width": 3, "stages": True},
    ],
)
def test_contract(options):
    positions = ((5,),) if "width" in options else ((), (5,), (3, 2))
    check_analyzer(GradNAP(**options), positions=positions)


def test_a_real_networks_profiles_agree_with_gradients_taken_one_by_one():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(3, 4, 3),
        nn.ReLU(inplace=True),
        nn.Conv1d(4, 5, 3),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(30, 3),
    ).double()
    x = torch.randn(12, 3, 10, dtype=torch.float64)
    labels = torch.arange(12) % 3
    loader = [(x[:5], labels[:5]), (x[5:], labels[5:])]
    results = tp.Probe(model, ["input", "1", "3"], [GradNAP()]).run(loader, progress=False)
    for name, depth, kind in (("input", 0, "gradient"), ("1", 2, "product"), ("3", 4, "product")):
        pairs = []
        for sample in x:
            a = model[:depth](sample[None].clone()).detach().requires_grad_()
            head = model[depth:](a.clone())
            (g,) = torch.autograd.grad(head.max(), a)
            pairs.append((a.detach()[0].numpy(), g[0].numpy()))
        values, gradients = (np.stack(each) for each in zip(*pairs, strict=True))
        expected, *_ = gradnap(values, gradients, labels.tolist(), alignment=kind)
        found = results["gradnap"][name].gradnap
        np.testing.assert_allclose(found, np.stack([*expected.values()]), atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"border": "wrap"}, "'zero', 'mask', 'crop'"),
        ({"border": "crop"}, "width=31"),
        ({"percentile": 101}, "0 to 100"),
    ],
)
def test_settings_that_are_not_allowed(options, message):
    with pytest.raises(SettingError, match=message):
        GradNAP(**options)


def test_bad_input_is_refused_with_the_remedy():
    with pytest.raises(SettingError, match="no example fills"):
        GradNAP(border="crop", width=9).fork(layer_of(VALUES), "label")
    with pytest.raises(SettingError, match="one for each axis"):
        GradNAP(width=(3, 3)).fork(layer_of(VALUES), "label")
    fork = GradNAP().fork(layer_of(VALUES), "label")
    with pytest.raises(EmptyStateError):
        fork.compute()
    frames = Labels(torch.zeros(3, 5, dtype=torch.long))
    with pytest.raises(LabelError, match="Cut utterances into windows"):
        fork.update(
            tp.LayerBatch(fork.layer, VALUES, frames, gradients=GRADIENTS).view("label", "each")
        )
    short = tp.LayerBatch(fork.layer, VALUES[..., :4], Labels(LABELS), gradients=GRADIENTS[..., :4])
    with pytest.raises(ShapeError, match="width="):
        fork.update(short.view("label", "each"))
    with pytest.raises(SettingError, match="signals"):
        fork.update(tp.LayerBatch(fork.layer, VALUES, Labels(LABELS)).view("label", "each"))
    unlabelled = tp.LayerBatch(fork.layer, VALUES, Labels([-1] * 3), gradients=GRADIENTS)
    fork.update(unlabelled.view("label", "each"))
    with pytest.raises(EmptyStateError, match="with a label"):
        fork.compute()
