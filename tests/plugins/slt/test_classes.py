"""Transforms of classes: spectra, COR and INC, templates, clusters; all against plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from references.transforms import jacobian
from torch import nn
from torchprobe_slt import SLTClasses
from torchprobe_slt.points import Points, judged_by_input, label_of_sample, nodes_of_classes

import torchprobe as tp
from torchprobe.errors import LabelError, SettingError
from torchprobe.numerics import auc, singular_values
from torchprobe.testing import check_analyzer

from .conftest import mlp


def trained(n=240, classes=3, *, seed=0):
    """Separable classes of two kinds each, and a network that knows them."""
    torch.manual_seed(seed)
    centres = 4 * torch.randn(2 * classes, 6, dtype=torch.float64)
    y = torch.arange(n) % classes
    x = centres[2 * y + (torch.arange(n) // classes) % 2] + torch.randn(n, 6, dtype=torch.float64)
    model = mlp([6, 16, 16, classes])
    step = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        step.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        step.step()
    return model, x, y


def run(model, x, y, layers=None, *, names=None, **settings):
    probe = tp.Probe(model, layers, [SLTClasses(**settings)], on_error="raise", class_names=names)
    data = [(a, y[at : at + 50]) for at, a in zip(range(0, len(x), 50), x.split(50), strict=True)]
    return probe.run(data, progress=False)["slt_classes"]


@pytest.fixture(scope="module")
def case():
    model, x, y = trained()
    return model, x, y, run(model, x, y, per_class=100, nodes=None)


def test_class_spectra_are_those_of_all_transforms_of_a_class(case):
    model, x, y, found = case
    transforms = jacobian(model, x).flatten(1)  # [sample, node·input]
    for label in range(3):
        expected = singular_values(transforms[y == label].numpy())
        sigma = found["6"].class_sigma[label]
        np.testing.assert_allclose(sigma[: len(expected)], expected, atol=1e-6)
        assert found["6"].class_auc[label] == pytest.approx(auc(expected, 100), rel=1e-6)


def test_means_of_transforms_by_class_and_node(case):
    model, x, y, found = case
    transforms = jacobian(model, x)
    for label in range(3):
        expected = transforms[y == label].mean(0)
        np.testing.assert_allclose(found["6"].transforms[label], expected, atol=1e-12)
        np.testing.assert_allclose(found["6"].features[label], x[y == label].mean(0), atol=1e-12)
    assert found["6"].n_class.tolist() == [80, 80, 80]


def nearest(transforms, x, chosen, n):
    own = transforms[chosen]
    order = (own - own.mean(0)).norm(dim=1).float().argsort(stable=True)[:n]  # ties by id
    return own[order].mean(0), x[chosen][order].mean(0)


@pytest.mark.parametrize("whole", [False, True])
def test_templates_are_means_of_the_points_nearest_to_the_centroid(case, whole):
    model, x, y, _ = case
    found = run(model, x, y, per_class=80, nearest=10, whole=whole)["6"]
    transforms, right = jacobian(model, x), model(x).argmax(1) == y
    for label in range(3):
        chosen = (y == label) & right
        template, features = nearest(transforms[:, label], x, chosen, 10)
        np.testing.assert_allclose(found.template[label], template, atol=1e-10)
        np.testing.assert_allclose(found.template_features[label], features, atol=1e-10)
    assert found.template_n.tolist() == [10, 10, 10]


def test_all_samples_are_in_the_means_where_whole_however_few_are_drawn(case):
    model, x, y, every = case
    found = run(model, x, y, per_class=5, whole=True)["6"]
    assert found.n_samples == 15
    assert found.n_class.tolist() == [80, 80, 80]
    np.testing.assert_allclose(found.transforms, every["6"].transforms, atol=1e-12)


def test_clusters_part_points_and_add_up(case):
    *_, found = case
    result = found["6"]
    for label in range(3):
        members = result.point_class == label
        assert result.cluster_size[label].sum() == members.sum()
        clusters = result.point_cluster[members]
        for cluster in np.unique(clusters):
            mean = result.points[members][clusters == cluster].mean(0)
            np.testing.assert_allclose(result.cluster_transform[label, cluster], mean, atol=1e-12)


def test_the_map_keeps_distances_that_two_components_hold(case):
    *_, found = case
    result = found["6"]
    members = result.point_class == 0
    rows, places = result.points[members], result.point_map[members]
    far = np.linalg.norm(rows[:, None] - rows, axis=2)
    near = np.linalg.norm(places[:, None] - places, axis=2)
    assert (near <= far + 1e-9).all()
    assert np.corrcoef(far.ravel(), near.ravel())[0, 1] > 0.8


def test_points_that_the_input_misleads_are_as_many_as_those_it_does_not():
    right = torch.tensor([True, True, True, True, False, True])
    told = torch.tensor([True, True, False, True, False, False])
    points = Points(torch.zeros(6, dtype=torch.int64), torch.arange(6), right, told)
    correct, wrong = points.split()
    assert set(wrong.tolist()) == {2, 5}
    assert len(correct) == 2
    assert set(correct.tolist()) <= {0, 1, 3}
    shuffled = torch.tensor([3, 5, 0, 2, 4, 1])
    other = Points(points.labels, points.ids[shuffled], right[shuffled], told[shuffled])
    again = other.ids[other.split()[0]]
    assert again.tolist() == correct.tolist()


def test_delta_is_the_difference_of_the_averaged_spectra(case):
    *_, found = case
    for result in found.values():
        if result.n_split > 0:
            assert result.delta_auc == pytest.approx(result.inc_auc - result.cor_auc)
            assert result.inc_auc == pytest.approx(auc(result.inc_spectrum, 100))


def test_the_input_s_discriminants_judge_points(case):
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    from torchprobe.accumulators import WithinScatter

    _, x, y, _ = case
    scatter = WithinScatter(6)
    scatter.update(x, y)
    predicted = LinearDiscriminantAnalysis().fit(x.numpy(), y.numpy()).predict(x.numpy())
    expected = predicted == y.numpy()
    assert (judged_by_input(scatter, x, y).numpy() == expected).all()


def test_where_the_output_is_not_probed_there_are_spectra_and_a_note():
    model, x, y = trained(60)
    result = run(model, x, y, ["1", "4"])["4"]
    assert "template" not in result.fields
    assert any("no templates" in note for note in result.provenance["notes"])


def test_classes_that_are_strings_get_the_node_that_predicts_them():
    model, x, y = trained()
    numbered = run(model, x, y)["6"]
    names = np.array(["c", "a", "b"])[y.numpy()]
    probe = tp.Probe(model, "6", [SLTClasses()], on_error="raise")
    named = probe.run([(x, list(names))], progress=False)["slt_classes"]["6"]
    assert named.coords["class"] == ("a", "b", "c")
    assert named.class_node.tolist() == [1, 2, 0]
    np.testing.assert_allclose(named.template, numbered.template[[1, 2, 0]], atol=1e-10)


def test_numbered_classes_are_their_nodes_even_if_never_predicted():
    labels, predicted = torch.tensor([0, 2, 2]), torch.tensor([2, 0, 0])
    assert nodes_of_classes(labels, predicted, 3, numbered=True).tolist() == [0, 2]
    assert nodes_of_classes(labels, predicted, 3, numbered=False).tolist() == [2, 0]


def test_a_sample_s_label_is_that_in_the_middle():
    labels = torch.tensor([[1, 2, 3], [4, 5, -1], [-1, -1, -1]])
    assert label_of_sample(labels).tolist() == [2, 5, -1]


def test_labels_that_are_no_nodes_are_refused_where_whole():
    model, x, y = trained(60)
    with pytest.raises(LabelError, match="label 12 is the number of no node"):
        run(model, x, y + 10, whole=True)


@pytest.mark.parametrize("settings", [{"per_class": 0}, {"nearest": 0}, {"clusters": 0}])
def test_settings_that_are_not_allowed_are_refused(settings):
    with pytest.raises(SettingError, match=f"{next(iter(settings))}="):
        SLTClasses(**settings)


def test_the_contract_holds_for_all_samples():
    check_analyzer(SLTClasses(whole=True, nearest=5), positions=((),))
