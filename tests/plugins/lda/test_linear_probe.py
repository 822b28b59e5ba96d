"""Logistic regression on a sample of the stream: scikit-learn's numbers, any batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from strategies import repeatable, seeds
from torchprobe_lda import LinearProbe

from torchprobe.errors import SettingError
from torchprobe.testing import check_analyzer


def rival(rows, labels, l2=3e-3, steps=2000):
    scaler = StandardScaler().fit(rows)
    model = LogisticRegression(C=1 / (l2 * len(rows)), tol=1e-8, max_iter=steps)
    return model.fit(scaler.transform(rows), labels), scaler


@repeatable
@given(seed=seeds, classes=st.integers(2, 5), channels=st.integers(1, 7), size=st.integers(9, 99))
def test_predictions_are_those_of_scikit_learn(run, clouds, seed, classes, channels, size):
    (rows, labels), (others, theirs) = (
        clouds(seed, classes, channels, 120, draw=draw) for draw in (0, 1)
    )
    found = run(LinearProbe(), fit=(rows, labels), score=(others, theirs), size=size)
    model, scaler = rival(rows, labels)
    scores = others @ found.weights.T + found.intercepts
    expected = model.decision_function(scaler.transform(others))
    if classes == 2:
        expected = np.stack([-expected, expected], 1) / 2
    scores, expected = (each - each.mean(axis=1, keepdims=True) for each in (scores, expected))
    assert scores == pytest.approx(expected, abs=0.05 * np.abs(expected).max())
    clear = np.diff(np.sort(expected, axis=1)[:, -2:])[:, 0] > 0.1 * np.abs(expected).max()
    alike = scores.argmax(1) == expected.argmax(1)
    assert alike[clear].all()
    assert found.accuracy == pytest.approx(np.mean(scores.argmax(1) == theirs))
    assert found.accuracy_fit == pytest.approx(
        model.score(scaler.transform(rows), labels), abs=0.03
    )


def test_it_beats_lda_where_classes_are_no_gaussians_of_one_spread(run):
    from torchprobe_lda import LDA

    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(2000, 2)), np.arange(2000) % 2
    rows[:, 0] = np.where(labels == 0, -(np.abs(rows[:, 0]) ** 3), 0.2 * np.abs(rows[:, 0]))
    logistic, lda = (run(a, fit=(rows, labels)) for a in (LinearProbe(l2=1e-4), LDA()))
    assert logistic.accuracy_fit > lda.accuracy_fit + 0.02


def test_a_sample_is_told_and_all_rows_are_scored(run, clouds):
    found = run(LinearProbe(rows=100), fit=clouds(n=1000), score=clouds(n=300, draw=1), size=64)
    assert found.fitted_rows == 100
    assert found.counts.sum() == 1000
    assert found.confusion.sum() == 300
    assert "fitted to a sample of 100 of 1,000 rows" in " ".join(found.provenance["notes"])


def test_classes_that_the_sample_misses_are_told_and_never_predicted(run, clouds):
    rows, labels = clouds(n=400, classes=3)
    rows, labels = np.vstack([rows, rows[:1]]), np.append(labels, 3)
    found = run(LinearProbe(rows=20), fit=(rows, labels))
    assert found.coords["class"] == ("0", "1", "2")
    assert "the sample has no row of 3, which are never predicted" in " ".join(
        found.provenance["notes"]
    )


def test_a_fit_that_was_stopped_says_so(run, clouds):
    found = run(LinearProbe(max_steps=1), fit=clouds())
    assert found.converged is False
    assert "did not converge in 1 steps" in " ".join(found.provenance["notes"])


def test_constant_channels_have_no_weight(run, clouds):
    rows, labels = clouds()
    plain, found = (
        run(LinearProbe(), fit=(each, labels)) for each in (rows, np.insert(rows, 2, 7.1, axis=1))
    )
    assert not found.weights[:, 2].any()
    assert np.array_equal(found.confusion_fit, plain.confusion_fit)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_any_precision_is_fitted(run, clouds, dtype):
    import torch

    rows, labels = clouds(apart=4)
    found = run(LinearProbe(), fit=(torch.from_numpy(rows).to(getattr(torch, dtype)), labels))
    assert found.accuracy_fit > 0.9


@pytest.mark.parametrize(
    "analyzer", [LinearProbe(control="rows", rows=40), LinearProbe(scored="score", l2=0.1)]
)
def test_configured_probes_keep_the_contract(analyzer):
    check_analyzer(analyzer)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rows": 1}, "2 or more"),
        ({"l2": 0}, "above 0"),
        ({"l2": float("inf")}, "above 0"),
        ({"max_steps": 0}, "1 or more"),
        ({"scored": ["a b"]}, "no name of a split"),
    ],
)
def test_settings_are_checked_where_they_are_given(settings, said):
    with pytest.raises(SettingError, match=said):
        LinearProbe(**settings)
