"""Scaling reproduces distances, and expansion compares them between two spaces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from torchprobe.errors import InsufficientDataError, SettingError, ShapeError
from torchprobe.numerics import (
    classical_mds,
    classical_mds_of_points,
    relative_expansion,
    smacof_mds,
)

relaxed = settings(deadline=None, derandomize=True, max_examples=40, database=None)
TRIANGLE = [3.0, 4.0, 5.0]
BEFORE, AFTER = [[0, 0], [1, 0], [0, 1]], [[0, 0], [3, 0], [0, 2]]


def test_the_worked_triangle():
    scaling = classical_mds(TRIANGLE)
    assert scaling.eigenvalues == pytest.approx([12.964148, 3.702519], abs=1e-6)
    assert pdist(scaling.points) == pytest.approx(TRIANGLE)


@relaxed
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 4))
def test_points_and_their_distances_scale_alike(seed, items, dimensions):
    points = np.random.default_rng(seed).normal(size=(items, 3))
    from_points = classical_mds_of_points(points, dimensions)
    from_distances = classical_mds(pdist(points), dimensions)
    assert from_points.points.shape == (items, dimensions)
    assert from_points.eigenvalues == pytest.approx(from_distances.eigenvalues, abs=1e-9)
    assert np.abs(from_points.points) == pytest.approx(np.abs(from_distances.points), abs=1e-6)


@relaxed
@given(st.integers(0, 10**6), st.integers(3, 9))
def test_planar_points_keep_their_distances(seed, items):
    distances = pdist(np.random.default_rng(seed).normal(size=(items, 2)))
    assert pdist(classical_mds(distances).points) == pytest.approx(distances, abs=1e-9)


def test_signs_are_fixed():
    points = classical_mds(TRIANGLE).points
    assert np.all(points[np.abs(points).argmax(axis=0), [0, 1]] > 0)


def test_distances_no_plane_can_hold_lose_their_negative_part():
    scaling = classical_mds([1.0, 1.0, 5.0])  # breaks the triangle inequality
    assert scaling.eigenvalues[1] == 0
    assert np.all(scaling.points[:, 1] == 0)


def test_one_item_lies_at_the_origin():
    assert classical_mds([]).points.tolist() == [[0.0, 0.0]]


def test_equal_points_lie_at_the_origin():
    assert np.all(classical_mds_of_points(np.full((4, 3), 0.1)).points == pytest.approx(0))


def test_smacof_does_not_raise_the_stress_of_its_classical_start():
    points = np.random.default_rng(0).normal(size=(12, 5))
    distances = pdist(points)
    start = np.sum((pdist(classical_mds(distances).points) - distances) ** 2)
    found = smacof_mds(distances)
    assert found.stress < start
    assert found.stress == pytest.approx(np.sum((pdist(found.points) - distances) ** 2), rel=0.05)


@pytest.mark.parametrize("init", ["classical", "random"])
def test_smacof_is_deterministic_for_a_seed(init):
    distances = pdist(np.random.default_rng(1).normal(size=(8, 4)))
    first, second = (smacof_mds(distances, init=init, seed=3) for _ in range(2))
    assert np.array_equal(first.points, second.points)


def test_the_worked_expansion():
    assert relative_expansion(AFTER, BEFORE) == pytest.approx(2.516503, abs=1e-6)
    ratio = relative_expansion(AFTER, BEFORE, form="ratio_of_means")
    assert ratio == pytest.approx(2.520507, abs=1e-6)


def test_expansion_of_chosen_pairs():
    assert relative_expansion(AFTER, BEFORE, pairs=[(0, 1)]) == pytest.approx(3)
    assert relative_expansion(AFTER, BEFORE, pairs=[(1, 0), (0, 2)]) == pytest.approx(2.5)


@relaxed
@given(st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_expansion_is_the_scale_between_similar_spaces(seed, scale):
    rng = np.random.default_rng(seed)
    centroids = rng.normal(size=(5, 3))
    turned = scale * centroids @ np.linalg.qr(rng.normal(size=(6, 3))).Q.T + 7  # wider space
    for form in ("mean_of_ratios", "ratio_of_means"):
        assert relative_expansion(turned, centroids, form=form) == pytest.approx(scale, rel=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: classical_mds(TRIANGLE, dimensions=0), SettingError, "at least 1"),
        (lambda: classical_mds([1.0, 2.0]), ShapeError, "pairs"),
        (lambda: smacof_mds([]), InsufficientDataError, "two items"),
        (lambda: smacof_mds(TRIANGLE, init="pca"), SettingError, "'classical'"),
        (lambda: relative_expansion(AFTER, BEFORE[:2]), ShapeError, "2 in the reference"),
        (lambda: relative_expansion(AFTER[:1], BEFORE[:1]), InsufficientDataError, "one pair"),
        (lambda: relative_expansion(AFTER, [[0], [0], [1]]), InsufficientDataError, r"\[0, 1\]"),
        (lambda: relative_expansion(AFTER, BEFORE, pairs=[(0, 3)]), ShapeError, "class 3"),
        (lambda: relative_expansion(AFTER, BEFORE, pairs=[0, 1]), ShapeError, "pair"),
        (lambda: relative_expansion(AFTER, BEFORE, form="median"), SettingError, "form"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
