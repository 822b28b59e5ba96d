"""Which rows an earlier layer's LDA gets right, and which the network: COR and INC."""

import numpy as np
import pytest
import torch
from torch import nn
from torchprobe_lda import LDA, expansion, separable, study

import torchprobe as tp
from torchprobe.errors import LabelError, SettingError

LAYERS = ["input", "far", "output"]
NAMES = np.array(["a", "b", "c"])


@pytest.fixture(scope="module")
def known(batches, trio):
    """The study of a small network, with what it rests on: (results, rows, labels, model)."""
    model, rows, labels = trio()
    loaders = {"fit": batches(rows, labels, 128), "score": batches(rows, labels, 100)}
    found = study(model, LAYERS[1:], **loaders, progress=False)
    return found["lda"], rows, labels, model


def subsets(known):
    """What the input's LDA and the network say of each row: two bool [row]."""
    layers, rows, labels, model = known
    first = layers["input"]
    points = (rows - first.grand_mean) @ first.scalings
    scores = points @ first.centroids.T - (first.centroids**2).sum(1) / 2 + np.log(first.priors)
    with torch.no_grad():
        guess = model(torch.from_numpy(rows)).argmax(1).numpy()
    return scores.argmax(1) == labels, guess


def test_subsets_are_those_of_the_inputs_lda_among_rows_that_the_network_gets_right(known):
    layers, rows, labels, _ = known
    easy, guess = subsets(known)
    for layer in layers.values():
        for subset, chosen in enumerate((easy, ~easy)):
            for k in range(3):
                own = chosen & (guess == labels) & (labels == k)
                assert layer.subset_counts[subset, k] == own.sum()
    first = layers["input"]
    own = ~easy & (guess == labels) & (labels == 1)
    expected = (rows[own].mean(axis=0) - first.grand_mean) @ first.scalings
    assert own.sum() > 1
    assert first.subset_centroids[1, 1] == pytest.approx(expected)
    assert layers.layers == ("input", "far", "output")


def test_the_networks_own_accuracy_and_confusions(known):
    layers, _, labels, _ = known
    _, guess = subsets(known)
    last = layers["output"]
    assert last.network_accuracy == pytest.approx(np.mean(guess == labels))
    for i, j in np.ndindex(3, 3):
        assert last.network_confusion[i, j] == np.sum((labels == i) & (guess == j))


def test_points_are_marked_as_their_rows_are(known):
    layers, _, labels, _ = known
    easy, guess = subsets(known)
    for layer in layers.values():
        row = layer.point_id >> 20
        assert np.array_equal(layer.point_separable, easy[row])
        assert np.array_equal(layer.point_network, (guess == labels)[row])
    assert np.array_equal(layers["input"].point_right, layers["input"].point_separable)


def test_a_study_by_names_and_beside_other_labels_is_the_same(known, batches):
    layers, rows, labels, model = known
    said = {"phone": NAMES[labels], "speaker": np.arange(len(rows)) % 2}
    loaders = {"fit": batches(rows, said, 128), "score": batches(rows, said, 100)}

    def predicted(outputs, _):
        return NAMES[outputs.argmax(1).numpy()]

    found = study(
        model, LAYERS[1:], **loaders, grouping="phone", predicted=predicted, progress=False
    )["lda"]
    assert found.groupings == ("phone",)
    for name, layer in layers.items():
        for field in ("subset_centroids", "subset_counts", "network_accuracy", "point_separable"):
            assert found[name][field].values == pytest.approx(layer[field].values)


def test_a_reference_may_be_any_layer_and_positions_pooled(batches):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(3, 4, 3, padding=1), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    labels = np.arange(150) % 3
    maps = torch.randn(150, 3, 7) + torch.from_numpy(labels)[:, None, None]
    lda = LDA(sample=40)
    lda.positions = "mean"
    loaders = {"fit": batches(maps, labels, 64), "score": batches(maps, labels, 50)}
    found = study(model, ["3"], **loaders, reference="0", lda=lda, progress=False)["lda"]
    assert found.layers == ("0", "3")
    assert found["3"].subset_counts.sum() == np.trace(found["3"].network_confusion)
    assert np.array_equal(found["0"].point_right, found["3"].point_separable)


def run(batches, model, rows, labels, groupings, **options):
    loader = batches(rows, labels, 100)
    probe = tp.Probe(model, LAYERS, [LDA(**options)], groupings=groupings, on_error="raise")
    return probe.run(fit=loader, score=loader, progress=False)["lda"]


def test_correct_tells_as_much_as_predicted_but_for_what_is_mistaken(batches, trio):
    model, rows, labels = trio()
    more = run(batches, model, rows, labels, {"predicted": tp.predicted()})
    less = run(batches, model, rows, labels, {"correct": tp.correct()})
    more, less = (each.grouping("label")["far"] for each in (more, less))
    assert less.network_accuracy == more.network_accuracy < 1
    assert np.array_equal(less.point_network, more.point_network)
    assert "network_confusion" in more
    assert "network_confusion" not in less


def test_what_is_said_of_one_of_several_groupings_must_say_of_which(batches, trio):
    model, rows, labels = trio(300)
    said = {"phone": labels, "speaker": np.arange(300) % 2}
    vague = run(batches, model, rows, said, {"predicted": tp.predicted()})
    assert "network_accuracy" not in vague.grouping("phone")["far"]
    clear = run(batches, model, rows, said, {"predicted_phone": tp.predicted()})
    assert clear.grouping("phone")["far"].network_accuracy > 0.5
    assert "network_accuracy" not in clear.grouping("speaker")["far"]
    loader = batches(rows, said, 100)
    one = LDA()
    one.groupings = ("phone",)
    probe = tp.Probe(model, "far", [one], groupings={"predicted": tp.predicted()})
    found = probe.run(fit=loader, score=loader, progress=False)["lda"]["far"]
    assert found.network_accuracy == clear.grouping("phone")["far"].network_accuracy


def test_predicted_numbers_of_named_classes_are_refused(batches, trio):
    model, rows, labels = trio(60)
    with pytest.raises(LabelError, match="'predicted' has integers but the classes"):
        run(batches, model, rows, NAMES[labels], {"predicted": tp.predicted()})


def test_without_a_study_the_sample_tells_what_is_separable(batches, trio):
    """The same rows in every layer: those of the reference say which of them are easy."""
    model, rows, labels = trio()
    study_ = study(model, ["far"], batches(rows, labels), batches(rows, labels), progress=False)
    alone = run(batches, model, rows, labels, {"predicted": tp.predicted()}).grouping("label")
    for subset in (None, "separable", "inseparable"):
        exact, sampled = (
            expansion(each, classes=["0", "1"], subset=subset)["far"]
            for each in (study_["lda"], alone)
        )
        assert sampled == pytest.approx(exact)


def test_labels_of_separability_need_a_result_of_lda_by_the_solvers_scalings(batches, clouds):
    loader = batches(*clouds())
    results = tp.Probe(nn.Identity(), "input", ["class_selectivity"]).run(loader, progress=False)
    with pytest.raises(SettingError, match="needs a result of LDA"):
        separable(results["class_selectivity"]["input"])
    turned = tp.Probe(nn.Identity(), "input", [LDA(orthonormal=True)]).run(loader, progress=False)
    with pytest.raises(SettingError, match="orthonormal=False"):
        separable(turned["lda"]["input"])


def test_labels_of_separability_need_the_labels_that_were_fitted(batches, clouds):
    rows, labels = clouds()
    loader = batches(rows, {"phone": labels})
    results = tp.Probe(nn.Identity(), "input", ["lda"]).run(loader, progress=False)
    probe = tp.Probe(
        nn.Identity(),
        "input",
        ["class_selectivity"],
        groupings={"separable": separable(results["lda"]["input"])},
    )
    with pytest.raises(LabelError, match="needs labels 'phone'"):
        probe.run(batches(rows, labels), progress=False)


def test_rows_of_unknown_classes_and_with_nan_are_neither(batches, clouds):
    rows, labels = clouds(classes=3)
    results = tp.Probe(nn.Identity(), "input", ["lda"]).run(batches(rows, labels), progress=False)
    rows, labels = rows[:6].copy(), np.array([0, 1, 2, 7, -1, 0])
    rows[5, 0] = np.nan
    given = tp.labels.Labels(labels)
    axes = tp.Axes.parse("sample channel")
    layer = tp.Layer("input", axes, rows.shape)
    said = separable(results["lda"]["input"])(
        tp.LayerBatch(layer, torch.from_numpy(rows), given), given
    )
    assert [each is None for each in said] == [False, False, False, True, True, True]
