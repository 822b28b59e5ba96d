"""Data that LDA cannot take as it is: a clear error, or a stated exclusion."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import nn
from torchprobe_lda import LDA, LinearProbe

import torchprobe as tp
from torchprobe.errors import (
    EmptyStateError,
    IncompleteWarning,
    InsufficientDataError,
    LabelError,
    NonFiniteError,
    SettingError,
)

BOTH = pytest.mark.parametrize("analyzer", [LDA(), LinearProbe()])


def notes(result):
    return " ".join(result.provenance.get("notes", ()))


def test_a_class_seen_once_stands_for_itself(run, clouds):
    rows, labels = clouds(classes=3)
    rows, labels = np.vstack([rows, rows[:1] + 9]), np.append(labels, 3)
    found = run(LDA(dof="n"), fit=(rows, labels))
    model = LinearDiscriminantAnalysis().fit(rows, labels)
    assert found.evr == pytest.approx(model.explained_variance_ratio_, abs=1e-10)
    assert "'fit' has a single row of 3" in notes(found)


@BOTH
def test_rows_of_classes_that_the_fit_never_had_are_in_no_accuracy(run, clouds, analyzer):
    rows, labels = clouds(draw=1)
    known = labels < 3
    fit = clouds(classes=3)
    alone = run(analyzer, fit=fit, score=(rows[known], labels[known]))
    found = run(analyzer, fit=fit, score=(rows, labels))
    assert found.accuracy == alone.accuracy
    assert np.array_equal(found.confusion, alone.confusion)
    assert "50 rows of 'score' are in no accuracy: 'fit' has no row of their classes 3" in (
        notes(found)
    )


@BOTH
def test_a_class_that_only_the_fit_has_is_told_and_has_no_accuracy(run, clouds, analyzer):
    rows, labels = clouds(draw=1)
    found = run(analyzer, fit=clouds(), score=(rows[labels != 2], labels[labels != 2]))
    assert np.flatnonzero(np.isnan(found.class_accuracy)).tolist() == [2]
    assert "'score' has no row of 2" in notes(found)
    assert not np.isnan(found.accuracy)
    if "class_auc" in found:
        assert np.flatnonzero(np.isnan(found.class_auc)).tolist() == [2]
        assert not np.isnan(found.class_spectrum).any()


@BOTH
def test_one_class_is_refused(run, clouds, analyzer):
    rows, labels = clouds()
    with pytest.raises(InsufficientDataError, match="two"):
        run(analyzer, fit=(rows, 0 * labels))


@BOTH
def test_constant_rows_are_refused(run, clouds, analyzer):
    rows, labels = clouds()
    with pytest.raises(InsufficientDataError, match="var"):
        run(analyzer, fit=(0 * rows + 0.1, labels))


def test_other_layers_go_on_where_one_is_constant(batches, clouds):
    model = nn.Sequential(nn.Linear(6, 3)).double()
    nn.init.zeros_(model[0].weight)
    with pytest.warns(IncompleteWarning, match="lda at '0' by 'label' raised InsufficientData"):
        results = tp.Probe(model, ["input", "0"], ["lda"]).run(batches(*clouds()), progress=False)
    assert results["lda"].layers == ("input",)
    assert not results.complete


@pytest.mark.parametrize("value", [0.0, 0.1, -7e8])
def test_constant_channels_are_left_out_and_told(run, clouds, value):
    splits = clouds(), clouds(draw=1)
    plain = run(LDA(), fit=splits[0], score=splits[1])
    fit, score = ((np.insert(rows, 2, value, axis=1), labels) for rows, labels in splits)
    found = run(LDA(), fit=fit, score=score, size=33)
    assert np.flatnonzero(found.constant).tolist() == [2]
    assert not found.scalings[2].any()
    assert found.evr == pytest.approx(plain.evr)
    assert np.array_equal(found.confusion, plain.confusion)
    assert found.control_accuracy == plain.control_accuracy
    assert "1 channel does not vary within classes" in notes(found)


def test_more_channels_than_rows_is_resolved_as_scikit_learn_does(run):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 4)
    rows = rng.normal(size=(12, 30)) + 2 * rng.normal(size=(3, 30))[labels]
    found = run(LDA(dof="n"), fit=(rows, labels), size=5)
    model = LinearDiscriminantAnalysis().fit(rows, labels)
    assert found.rank == 9
    assert found.evr == pytest.approx(model.explained_variance_ratio_, abs=1e-9)
    assert found.accuracy_fit == model.score(rows, labels)
    assert "along 9 directions of 30 (12 rows)" in notes(found)


@BOTH
def test_rows_with_nan_are_left_out_and_counted(run, clouds, analyzer):
    (rows, labels), (others, theirs) = clouds(), clouds(draw=1)
    clean = run(analyzer, fit=(rows[3:], labels[3:]), score=(others[2:], theirs[2:]))
    rows[:3, 1], others[:2, 0] = np.nan, np.inf
    found = run(analyzer, fit=(rows, labels), score=(others, theirs))
    assert np.array_equal(found.counts, clean.counts)
    assert np.array_equal(found.confusion.sum(), clean.confusion.sum())
    assert found.provenance["nonfinite_rows"] == 5
    if isinstance(analyzer, LDA):
        assert found.evr == pytest.approx(clean.evr)
        assert np.array_equal(found.confusion, clean.confusion)


def test_nan_that_is_asked_for_is_refused(run, clouds):
    rows, labels = clouds()
    rows[5] = np.nan
    with pytest.raises(NonFiniteError):
        run(LDA(), fit=(rows, labels), probe={"nonfinite": "propagate"})


def test_labels_must_not_change_their_type(batches, clouds):
    rows, labels = clouds()
    loader = [*batches(rows, labels), *batches(rows, np.array(list("abcd"))[labels])]
    with pytest.raises(LabelError, match="were integers before and are strings now"):
        tp.Probe(nn.Identity(), "input", ["lda"]).run(loader, progress=False)


@BOTH
def test_no_labels_at_all_is_refused(analyzer):
    with pytest.raises(LabelError, match="needs labels"):
        tp.Probe(nn.Identity(), "input", [analyzer]).run([torch.ones(4, 2)], progress=False)


@BOTH
def test_only_ignored_labels_are_nothing_seen(run, clouds, analyzer):
    rows, labels = clouds()
    with pytest.raises(EmptyStateError):
        run(analyzer, fit=(rows, 0 * labels - 1))


@BOTH
def test_a_split_before_the_fit_is_refused(batches, clouds, analyzer):
    probe = tp.Probe(nn.Identity(), "input", [analyzer], on_error="raise")
    (batch,) = batches(*clouds())
    with (
        probe,
        pytest.raises(EmptyStateError, match="split 'score' came before the data of 'fit'"),
        probe.batch(labels=batch.labels, split="score"),
    ):
        probe.model(batch.inputs)


@BOTH
def test_a_loader_that_can_be_read_once_is_refused_for_two_looks(batches, clouds, analyzer):
    with pytest.raises(SettingError, match="needs 2 passes over the data"):
        tp.Probe(nn.Identity(), "input", [analyzer]).run(iter(batches(*clouds())))


def test_priors_must_name_every_class(run, clouds):
    with pytest.raises(SettingError, match="not '2', which the data has"):
        run(LDA(priors={"0": 0.5, "1": 0.5}), fit=clouds(classes=3))


def test_classes_whose_means_coincide_are_refused(run):
    rows = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    with pytest.raises(InsufficientDataError, match="coincide"):
        run(LDA(), fit=(np.tile(rows, (2, 1)), np.repeat([0, 1], 4)))
