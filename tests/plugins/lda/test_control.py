"""The control task: labels that mean nothing, one to each row or to each type of row."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from strategies import repeatable
from torch import nn
from torchprobe_lda import LDA, LinearProbe
from torchprobe_lda.control import BINS, class_of_bin, class_statistics, row_bins

import torchprobe as tp
from torchprobe.errors import LabelError

BOTH = pytest.mark.parametrize("analyzer", [LDA(), LinearProbe(control="rows")])


def shuffled(n, classes, seed=0):
    """The control's label of each row, as the analyzers draw it."""
    axes = tp.Axes.parse("sample channel")
    layer = tp.Layer("input", axes, (n, 1))
    said = tp.labels.Labels(torch.zeros(n, dtype=torch.int64), ids=torch.arange(n))
    batch = tp.LayerBatch(layer, torch.zeros(n, 1), said).view("label", "each")
    bins = row_bins(batch, "rows", seed)
    return class_of_bin(np.bincount(classes).astype(float))[bins.numpy()]


@repeatable
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=60))
def test_bins_are_shared_out_as_the_rows_are(counts):
    shares = np.bincount(class_of_bin(np.array(counts, dtype=float)), minlength=len(counts))
    assert shares.sum() == BINS
    exact = BINS * np.array(counts) / sum(counts)
    assert np.abs(shares - exact).max() < 1


@repeatable
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_statistics_of_classes_from_those_of_bins(seed, classes):
    rng = np.random.default_rng(seed)
    table = rng.permutation(np.repeat(np.arange(classes), 4))
    bins = np.sort(rng.choice(len(table), size=classes * 2, replace=False))
    of_row = np.repeat(bins, 3)
    rows = rng.normal(size=(len(of_row), 2))
    means = rows.reshape(len(bins), 3, 2).mean(axis=1)
    counts, found = class_statistics(bins, np.full(len(bins), 3.0), means, table)
    for k in range(table.max() + 1):
        own = rows[table[of_row] == k]
        assert counts[k] == len(own)
        assert found[k] == pytest.approx(own.mean(axis=0) if len(own) else np.zeros(2))


def test_the_control_is_lda_fitted_to_labels_that_mean_nothing(run, clouds):
    fit, score = clouds(n=400), clouds(n=100, draw=1)
    found = run(LDA(dof="n"), fit=fit, score=score, size=64)
    model = LinearDiscriminantAnalysis().fit(fit[0], shuffled(400, fit[1]))
    assert found.control_accuracy_fit == model.score(fit[0], shuffled(400, fit[1]))
    assert found.control_accuracy == model.score(score[0], shuffled(100, fit[1]))
    assert found.accuracy_above_control == found.accuracy - found.control_accuracy


def test_control_labels_are_as_common_as_the_classes(clouds):
    _, labels = clouds(n=3000, classes=3)
    labels = np.where(labels == 0, 1, labels)
    drawn = shuffled(3000, labels - 1)
    assert np.bincount(drawn) / 3000 == pytest.approx(np.bincount(labels - 1) / 3000, abs=0.03)
    other = shuffled(3000, labels - 1, seed=1)
    assert 0.4 < np.mean(drawn == other) < 0.7


@BOTH
def test_shuffled_labels_are_learned_no_better_than_by_guessing(run, clouds, analyzer):
    found = run(analyzer, fit=clouds(n=1200), score=clouds(n=1200, draw=1))
    assert found.accuracy > 0.75
    assert found.control_accuracy == pytest.approx(0.25, abs=0.05)
    assert found.accuracy_above_control > 0.45


@BOTH
def test_a_wide_layer_learns_shuffled_labels_by_heart_and_fails_on_others(run, analyzer):
    rng = np.random.default_rng(0)
    rows, others = rng.normal(size=(60, 200)), rng.normal(size=(400, 200))
    labels = np.arange(60) % 3
    analyzer = LDA(shrinkage=0.1) if isinstance(analyzer, LDA) else analyzer
    found = run(analyzer, fit=(rows, labels), score=(others, np.arange(400) % 3))
    assert found.control_accuracy_fit == 1
    assert found.control_accuracy < 0.5


@BOTH
def test_types_get_one_label_each_which_can_be_known(batches, analyzer):
    """Hewitt & Liang: a layer that spells words out can learn a label for each."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, 24, 900)
    rows = np.eye(24)[words] + 0.05 * rng.normal(size=(900, 24))
    said = {"label": words % 3, "word": words}
    analyzer = type(analyzer)(control="word")
    analyzer.groupings = ("label",)
    loaders = {"fit": batches(rows, said, 128), "score": batches(rows, said, 128)}
    probe = tp.Probe(nn.Identity(), "input", [analyzer], on_error="raise")
    found = probe.run(**loaders, progress=False)[analyzer.name]["input"]
    assert found.accuracy == 1
    assert found.control_accuracy > 0.95
    assert abs(found.accuracy_above_control) < 0.05


@BOTH
def test_types_that_were_not_given_are_asked_for(run, clouds, analyzer):
    with pytest.raises(LabelError, match="no labels 'word'"):
        run(type(analyzer)(control="word"), fit=clouds())


def test_without_a_control_there_is_none(run, clouds):
    assert "control_accuracy_fit" not in run(LDA(control=None), fit=clouds())


def test_rows_and_batches_of_the_control_are_those_of_ids(run, clouds):
    fit, score = clouds(n=120), clouds(n=80, draw=1)
    first = run(LDA(seed=3), fit=fit, score=score)
    again = run(LDA(seed=3), fit=fit, score=score, size=9)
    assert first.control_accuracy == again.control_accuracy
    assert first.control_accuracy_fit == again.control_accuracy_fit
