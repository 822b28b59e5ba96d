"""Neighbourhood measures follow their definitions and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references import neighbour_ranks as reference
from sklearn import manifold
from sklearn.neighbors import KNeighborsClassifier

from torchprobe.errors import LabelError, SettingError, ShapeError
from torchprobe.numerics import (
    continuity,
    neighbour_accuracy,
    neighbourhood_hit,
    trustworthiness,
)

relaxed = settings(deadline=None, derandomize=True, max_examples=40, database=None)


def clouds(seed, rows=20, channels=4):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, channels))
    return x, x[:, :2] + 0.5 * rng.normal(size=(rows, 2))


@relaxed
@given(st.integers(0, 10**6), st.integers(1, 9))
def test_trustworthiness_follows_its_definition_and_scikit_learn(seed, neighbours):
    x, view = clouds(seed)
    found = trustworthiness(x, view, neighbours)
    assert found == pytest.approx(reference.trustworthiness(x, view, neighbours), abs=1e-12)
    theirs = manifold.trustworthiness(x, view, n_neighbors=neighbours)
    assert found == pytest.approx(theirs, abs=1e-12)


@relaxed
@given(st.integers(0, 10**6))
def test_continuity_is_trustworthiness_the_other_way_round(seed):
    x, view = clouds(seed)
    assert continuity(x, view) == pytest.approx(reference.trustworthiness(view, x, 5), abs=1e-12)


def test_blocks_do_not_change_the_value(monkeypatch):
    x, view = clouds(0, rows=60, channels=30)
    whole = trustworthiness(x, view)
    monkeypatch.setattr("torchprobe.numerics.distances.BLOCK_BYTES", 8 * 60 * 7)
    assert trustworthiness(x, view) == pytest.approx(whole, abs=1e-12)


def test_a_faithful_view_is_perfect():
    x = clouds(1)[0]
    turned = 3 * x @ np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4))).Q + 1
    assert trustworthiness(x, turned) == continuity(x, turned) == 1.0


@settings(relaxed, max_examples=5)
@given(st.integers(0, 10**6), st.integers(1, 7))
def test_accuracy_is_that_of_leaving_one_out(seed, neighbours):
    _, view = clouds(seed)
    labels = np.random.default_rng(seed).integers(0, 3, len(view))
    right = 0
    for i in range(len(view)):
        others = np.arange(len(view)) != i
        model = KNeighborsClassifier(neighbours).fit(view[others], labels[others])
        right += model.predict(view[i : i + 1])[0] == labels[i]
    assert neighbour_accuracy(view, labels, neighbours) == pytest.approx(right / len(view))


@relaxed
@given(st.integers(0, 10**6), st.integers(1, 7))
def test_the_hit_is_the_share_of_neighbours_with_the_same_label(seed, neighbours):
    _, view = clouds(seed)
    labels = np.random.default_rng(seed).integers(0, 3, len(view))
    distances = np.linalg.norm(view[:, None] - view[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, :neighbours]
    expected = (labels[nearest] == labels[:, None]).mean()
    assert neighbourhood_hit(view, labels, neighbours) == pytest.approx(expected)


def test_labels_may_be_names():
    points = [0.0, 1.0, 10.0, 11.0]
    assert neighbourhood_hit(points, ["s", "s", "t", "t"], neighbours=1) == 1.0
    assert neighbour_accuracy(points, ["s", "t", "s", "t"], neighbours=1) == 0.0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: trustworthiness(np.eye(6), np.eye(6), 3), SettingError, "fewer than 3"),
        (lambda: trustworthiness(np.eye(6), np.eye(6), 0), SettingError, "at least 1"),
        (lambda: continuity(np.eye(6), np.eye(5), 1), ShapeError, "paired"),
        (lambda: neighbourhood_hit([0.0, 1.0], [1], 1), LabelError, "each of 2"),
        (lambda: neighbour_accuracy([0.0, 1.0], [1, 2], 2), SettingError, "1 to 1"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
