"""LDA from the stream: the worked numbers, scikit-learn's numbers, any batches, further splits."""

import numpy as np
import pytest
import torch
from hypothesis import given as drawn
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import confusion_matrix
from strategies import repeatable, seeds
from torch import nn
from torchprobe_lda import LDA, areas

import torchprobe as tp
from torchprobe.errors import SettingError
from torchprobe.numerics import singular_values
from torchprobe.results import LayerResults
from torchprobe.testing import check_analyzer

CENTRES = np.array([[-3.0, 0], [3, 0], [0, 4]])
OFFSETS = np.array([[1.0, 0], [-1, 0], [0, 2], [0, -2]])
ROWS, LABELS = (CENTRES[:, None] + OFFSETS).reshape(12, 2), np.repeat([0, 1, 2], 4)


# -- the worked numbers


def test_the_worked_example(run):
    found = run(LDA(described="fit"), fit=(ROWS, LABELS), size=5)
    assert found.counts.tolist() == [4, 4, 4]
    assert found.grand_mean == pytest.approx([0, 4 / 3])
    assert found.evr == pytest.approx([27 / 31, 4 / 31])
    assert found.evr_auc == pytest.approx(0.574074, abs=1e-6)
    assert np.abs(found.scalings) == pytest.approx(np.diag([1.224745, 0.612372]), abs=1e-6)
    assert found.accuracy_fit == 1


def test_the_worked_example_divided_by_n(run):
    found = run(LDA(dof="n", described="fit"), fit=(ROWS, LABELS))
    assert found.evr == pytest.approx([27 / 31, 4 / 31])
    assert np.abs(found.scalings) == pytest.approx(np.diag([1.414214, 0.707107]), abs=1e-6)


@pytest.mark.parametrize("splits", [["fit"], ["fit", "score"]])
def test_class_spectra_of_the_worked_example_in_one_pass_or_two(run, splits):
    """The space of one split describes another as it is seen; its own takes a second look."""
    analyzer = LDA(scored=(), described=splits[-1], control=None)
    assert analyzer.passes == 3 - len(splits)
    found = run(analyzer, **dict.fromkeys(splits, (ROWS, LABELS)), size=5)
    expected = [[7.724420, 1.732051], [7.724420, 1.732051], [3.696846, 1.732051]]
    assert found.class_spectra == pytest.approx(np.array(expected), abs=1e-6)
    assert found.class_spectra_centered == pytest.approx(np.full((3, 2), 1.732051), abs=1e-6)
    assert found.class_auc == pytest.approx([0.612115, 0.612115, 0.734261], abs=1e-6)
    assert found.class_spectrum == pytest.approx([1, (2 * 0.224230 + 0.468522) / 3], abs=1e-6)


def test_areas_with_their_options(run):
    result = run(LDA(described="fit"), fit=(ROWS, LABELS))
    layers = LayerResults([result])
    plain = areas(layers)
    assert plain["evr"]["input"] == pytest.approx(0.574074, abs=1e-6) == result.evr_auc
    assert plain["class"]["input"] == pytest.approx(result.class_spectrum_auc)
    assert areas(layers, centered=True)["class"]["input"] == pytest.approx(1)
    ratio = 4 / 27
    assert areas(layers, root=True)["evr"]["input"] == pytest.approx((1 + ratio**0.5) / 2)
    assert areas(layers, values=3)["evr"]["input"] == pytest.approx((1 + ratio) / 2 + ratio / 2)
    mean = areas(layers, values=3, form="mean")["evr"]["input"]
    assert mean == pytest.approx(0.5 * (0.5 + ratio))
    literal = areas(layers, form="literal")["evr"]["input"]
    assert literal == pytest.approx((4 - 27) / 31 / 4 * (1 + ratio))


# -- scikit-learn on the same rows


@repeatable
@drawn(
    seed=seeds,
    classes=st.integers(2, 7),
    channels=st.integers(1, 9),
    n=st.integers(60, 200),
    size=st.integers(7, 300),
)
def test_every_number_is_that_of_scikit_learn(run, clouds, seed, classes, channels, n, size):
    rows, labels = clouds(seed, classes, channels, n)
    others, theirs = clouds(seed, classes, channels, n // 2, draw=1)
    found = run(LDA(dof="n"), fit=(rows, labels), score=(others, theirs), size=size)
    model = LinearDiscriminantAnalysis(solver="svd").fit(rows, labels)
    assert found.evr == pytest.approx(model.explained_variance_ratio_, abs=1e-10)
    assert found.priors == pytest.approx(model.priors_)
    scalings = model.scalings_[:, : found.scalings.shape[1]]
    signs = np.sign(np.sum(scalings * found.scalings, axis=0))
    assert found.scalings * signs == pytest.approx(scalings, abs=1e-8 * np.abs(scalings).max())
    expected = confusion_matrix(labels, model.predict(rows), labels=range(classes))
    assert np.array_equal(found.confusion_fit, expected)
    expected = confusion_matrix(theirs, model.predict(others), labels=range(classes))
    assert np.array_equal(found.confusion, expected)
    assert found.accuracy_fit == model.score(rows, labels)
    assert found.accuracy == model.score(others, theirs)
    each = np.diagonal(expected) / expected.sum(axis=1)
    assert found.class_accuracy == pytest.approx(each)


@repeatable
@drawn(seed=seeds, centered=st.booleans())
def test_class_spectra_are_those_of_the_points_themselves(run, clouds, seed, centered):
    fit, (rows, labels) = clouds(seed, n=120), clouds(seed, n=90, draw=1)
    found = run(LDA(), fit=fit, score=(rows, labels), size=16)
    points = (rows - found.grand_mean) @ found.scalings
    name = "class_spectra_centered" if centered else "class_spectra"
    for k in range(4):
        own = points[labels == k]
        expected = singular_values(own - own.mean(axis=0) if centered else own)
        assert found[name].values[k] == pytest.approx(expected, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("priors", ["uniform", {"0": 0.7, "1": 0.1, "2": 0.1, "3": 0.1}])
def test_priors_are_those_of_scikit_learn(run, clouds, priors):
    rows, labels = clouds(n=150)
    rows, labels = np.concatenate([rows, rows[labels < 2]]), np.append(labels, labels[labels < 2])
    found = run(LDA(dof="n", priors=priors), fit=(rows, labels))
    given = [0.25] * 4 if priors == "uniform" else list(priors.values())
    model = LinearDiscriminantAnalysis(priors=given).fit(rows, labels)
    assert found.evr == pytest.approx(model.explained_variance_ratio_, abs=1e-10)
    assert found.accuracy_fit == model.score(rows, labels)


@pytest.mark.parametrize("amount", [0.0, 0.2, 1.0])
def test_shrinkage_by_a_number_is_that_of_scikit_learn(run, clouds, amount):
    fit, score = clouds(n=120, channels=20), clouds(n=80, channels=20, draw=1)
    found = run(LDA(dof="n", shrinkage=amount), fit=fit, score=score)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=amount).fit(*fit)
    assert found.accuracy_fit == model.score(*fit)
    assert found.accuracy == model.score(*score)


def test_ledoit_wolf_helps_where_a_layer_is_nearly_as_wide_as_there_are_rows(run):
    rng = np.random.default_rng(0)
    centres, few, many = rng.normal(size=(4, 40)), np.arange(60) % 4, np.arange(400) % 4
    fit, score = ((centres[y] + 2 * rng.normal(size=(len(y), 40)), y) for y in (few, many))
    plain, shrunk = (run(LDA(shrinkage=s), fit=fit, score=score) for s in (None, "ledoit_wolf"))
    assert 0 < shrunk.shrinkage < 1
    assert shrunk.accuracy > plain.accuracy + 0.05
    assert "control_accuracy" in shrunk


def test_the_orthonormal_basis_turns_points_and_leaves_predictions(run, clouds):
    fit, score = clouds(), clouds(draw=1)
    plain, turned = (run(LDA(orthonormal=o), fit=fit, score=score) for o in (False, True))
    assert turned.scalings.T @ turned.scalings == pytest.approx(np.eye(3), abs=1e-12)
    assert np.array_equal(plain.confusion, turned.confusion)
    order = turned.point_id.argsort()
    rows = score[0][turned.point_id[order] >> 20]
    assert turned.points[order] == pytest.approx((rows - turned.grand_mean) @ turned.scalings)
    points = (score[0] - turned.grand_mean) @ turned.scalings
    own = singular_values(points[score[1] == 1])
    assert turned.class_spectra[1] == pytest.approx(own)


# -- any batches, any order, several processes


@pytest.mark.parametrize(
    "analyzer",
    [
        LDA(shrinkage="ledoit_wolf", described="fit", sample=10),
        LDA(scored=("fit", "score", "noisy"), priors="uniform", dof="n", orthonormal=True),
        LDA(scored="score", control=None, sample=0),
        LDA(shrinkage=0.3, described=None),
    ],
)
def test_configured_analyzers_keep_the_contract(analyzer):
    check_analyzer(analyzer)


@repeatable
@drawn(seed=seeds, size=st.integers(1, 80), order=st.permutations(range(12)))
def test_batches_and_their_order_change_nothing(run, clouds, seed, size, order):
    """String labels, every split in another order, batches of any size."""
    fit, score = clouds(seed, n=84), clouds(seed, n=60, draw=1)
    names = np.array(["zh", "aa", "m", "b"])
    fit, score = (fit[0], names[fit[1]]), (score[0], names[score[1]])
    analyzer = LDA(shrinkage="ledoit_wolf", sample=20)
    whole = run(analyzer, fit=fit, score=score)
    reordered = run(analyzer, fit=fit, score=score, size=7, order=order)
    for other in (reordered, run(analyzer, fit=fit, score=score, size=size)):
        assert other.coords["class"] == ("aa", "b", "m", "zh")
        for name, field in whole.fields.items():
            expected = pytest.approx(field.values, rel=1e-7, abs=1e-9, nan_ok=True)
            assert other[name].values == expected, name


def test_numbers_survive_a_large_offset_in_single_precision(run):
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    rows = rng.normal(size=(300, 4)) + 2 * rng.normal(size=(3, 4))[labels] + 3000
    rows = rows.astype(np.float32)
    found = run(LDA(dof="n"), fit=(rows, labels), size=32)
    model = LinearDiscriminantAnalysis().fit(rows.astype(np.float64) - 3000, labels)
    assert found.evr == pytest.approx(model.explained_variance_ratio_, rel=1e-9)


# -- what rows are, and which splits


def test_rows_are_positions_or_pooled_or_flattened_samples(run):
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    maps = rng.normal(size=(90, 4, 5)) + rng.normal(size=(3, 4, 5))[labels]
    probe = {"axes": {"input": "sample channel time"}}
    each = run(LDA(dof="n"), fit=(maps, labels), probe=probe)
    assert each.counts.sum() == 450
    for positions, rows in {
        "mean": maps.mean(2),
        "max": maps.max(2),
        "center": maps[:, :, 2],
        "flatten": maps.reshape(90, 20),
    }.items():
        found = run(LDA(dof="n"), fit=(maps, labels), positions=positions, probe=probe)
        model = LinearDiscriminantAnalysis().fit(rows, labels)
        assert found.evr == pytest.approx(model.explained_variance_ratio_, abs=1e-10), positions
        assert found.accuracy_fit == model.score(rows, labels)


def test_the_input_and_every_layer_are_told_apart(batches, clouds):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).double()
    (rows, labels), (others, theirs) = clouds(), clouds(draw=1)
    probe = tp.Probe(model, ["input", "1", "2"], [LDA(dof="n")], on_error="raise")
    layers = probe.run(
        fit=batches(rows, labels, 64), score=batches(others, theirs, 64), progress=False
    )["lda"]
    assert layers.layers == ("input", "1", "2")
    with torch.no_grad():
        hidden, held_out = (model[:2](torch.from_numpy(r)).numpy() for r in (rows, others))
    sklearn = LinearDiscriminantAnalysis().fit(hidden, labels)
    assert layers["1"].accuracy == sklearn.score(held_out, theirs)
    assert layers["1"].evr == pytest.approx(sklearn.explained_variance_ratio_, abs=1e-10)


def test_any_number_of_further_splits_is_scored(run, clouds):
    fit, score, noisy = clouds(), clouds(draw=1), clouds(draw=2)
    noisy = noisy[0] + np.random.default_rng(0).normal(size=noisy[0].shape) * 9, noisy[1]
    found = run(LDA(scored=("score", "noisy")), fit=fit, score=score, noisy=noisy)
    assert found.accuracy_noisy < found.accuracy
    assert "accuracy_fit" not in found
    assert found.confusion_noisy.sum() == len(noisy[1])


def test_a_split_that_did_not_come_is_told(run, clouds):
    found = run(LDA(), fit=clouds())
    notes = found.provenance["notes"]
    assert any("'accuracy' with all that describes this split is missing" in n for n in notes)
    assert "points" not in found


def test_results_survive_saving(clouds, batches, tmp_path):
    fit, score = batches(*clouds()), batches(*clouds(draw=1))
    results = tp.Probe(nn.Identity(), "input", ["lda"]).run(fit=fit, score=score)
    results.save(tmp_path)
    assert tp.load(tmp_path) == results
    assert results["lda"].to_frame()["accuracy"].iloc[0] == results["lda"]["input"].accuracy


def test_the_sample_holds_the_same_rows_in_every_layer(batches, clouds):
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh()).double()
    loaders = {"fit": batches(*clouds(), 64), "score": batches(*clouds(draw=1), 50)}
    layers = tp.Probe(model, ["input", "1"], [LDA(sample=30)]).run(progress=False, **loaders)["lda"]
    a, b = layers["input"], layers["1"]
    assert np.array_equal(a.point_id, b.point_id)
    assert np.array_equal(a.point_class, b.point_class)
    assert len(a.points) == 30
    assert (a.point_network == -1).all()
    assert (a.point_separable == -1).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"shrinkage": 1.5}, "from 0 to 1"),
        ({"shrinkage": "auto"}, "'ledoit_wolf'"),
        ({"priors": "equal"}, "'data', 'uniform'"),
        ({"priors": {"a": 0.5, "b": 0.6}}, "sum to 1.1"),
        ({"priors": {"a": -1}}, "0..1"),
        ({"dof": "k"}, "'n-k'"),
        ({"scored": "my split"}, "no name of a split"),
        ({"described": 3}, "no name of a split"),
        ({"sample": -1}, "0 or more"),
        ({"sample": 2.5}, "whole number"),
    ],
)
def test_settings_are_checked_where_they_are_given(settings, said):
    with pytest.raises(SettingError, match=said):
        LDA(**settings)
