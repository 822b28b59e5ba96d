"""Procrustes distances equal scipy's, have PCA as their minimum and stream exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import procrustes
from sklearn.linear_model import LinearRegression

from torchprobe.errors import InsufficientDataError, SettingError, ShapeError
from torchprobe.numerics import (
    linear_residual,
    linear_residual_from_moments,
    pca_bound,
    pca_bound_from_scatter,
    procrustes_distance,
    procrustes_from_moments,
)

relaxed = settings(deadline=None, derandomize=True, max_examples=40, database=None)
X = np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0], [2, 1, 1]])
Y = np.array([[0, 0], [0, 2], [1, 0], [1, 2]])


def clouds(seed, rows=9, channels=5):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, channels)) + 3
    return x, x[:, :2] + rng.normal(size=(rows, 2))


def test_the_worked_example():
    assert procrustes_distance(X, Y) == pytest.approx(0.0464295, abs=1e-7)
    assert pca_bound(X) == pytest.approx(0.0317076, abs=1e-7)


@relaxed
@given(st.integers(0, 10**6))
def test_the_distance_equals_scipy(seed):
    x, y = clouds(seed)
    padded = np.pad(y, ((0, 0), (0, x.shape[1] - 2)))
    assert procrustes_distance(x, y) == pytest.approx(procrustes(x, padded)[2], abs=1e-12)


@relaxed
@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_shifting_rotating_and_scaling_change_nothing(seed, scale):
    x, y = clouds(seed)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(2, 2))).Q
    moved = scale * y @ turn + 5
    assert procrustes_distance(x, moved) == pytest.approx(procrustes_distance(x, y), abs=1e-9)


@relaxed
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_principal_components_reach_the_bound_and_nothing_beats_it(seed, dimensions):
    x, y = clouds(seed)
    centred = x - x.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:dimensions]
    bound = pca_bound(x, dimensions)
    assert procrustes_distance(x, centred @ axes.T) == pytest.approx(bound, abs=1e-12)
    assert linear_residual(x, centred @ axes.T) == pytest.approx(bound, abs=1e-12)
    if dimensions == 2:
        assert bound - 1e-12 <= linear_residual(x, y) <= procrustes_distance(x, y) + 1e-12


@relaxed
@given(st.integers(0, 10**6))
def test_streamed_sums_give_the_same(seed):
    x, y = clouds(seed)
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    total_x, total_y = np.sum(a**2), np.sum(b**2)
    streamed = procrustes_from_moments(a.T @ b, total_x, total_y)
    assert streamed == pytest.approx(procrustes_distance(x, y), abs=1e-12)
    streamed = linear_residual_from_moments(a.T @ b, total_x, b.T @ b)
    assert streamed == pytest.approx(linear_residual(x, y), abs=1e-12)
    assert pca_bound_from_scatter(a.T @ a) == pytest.approx(pca_bound(x), abs=1e-12)


@relaxed
@given(st.integers(0, 10**6))
def test_the_linear_residual_is_that_of_regression(seed):
    x, y = clouds(seed)
    missed = x - LinearRegression().fit(y, x).predict(y)
    expected = np.sum(missed**2) / np.sum((x - x.mean(axis=0)) ** 2)
    assert linear_residual(x, y) == pytest.approx(expected, abs=1e-10)


def test_a_collapsed_dimension_of_the_embedding_adds_nothing():
    x, y = clouds(0)
    flat = np.column_stack([y[:, 0], y[:, 0], np.full(len(y), 7.0)])
    assert linear_residual(x, flat) == pytest.approx(linear_residual(x, y[:, 0]), abs=1e-10)


def test_wide_and_tall_clouds_have_the_same_bound_formula():
    x = np.random.default_rng(0).normal(size=(6, 40))
    sigma = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2
    assert pca_bound(x) == pytest.approx(1 - sigma[:2].sum() / sigma.sum(), abs=1e-12)
    assert pca_bound(x, dimensions=50) == 0


def test_a_large_offset_costs_nothing():
    x, y = clouds(1)
    found = procrustes_distance((x * 1e-2 + 1e6), y)
    assert found == pytest.approx(procrustes_distance(x, y), abs=1e-7)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: procrustes_distance(X, Y[:3]), ShapeError, "paired"),
        (lambda: procrustes_distance(X[:1], Y[:1]), InsufficientDataError, "at least 2"),
        (lambda: procrustes_distance(X, np.ones((4, 2))), InsufficientDataError, "y are equal"),
        (lambda: linear_residual(np.ones((4, 2)), Y), InsufficientDataError, "x are equal"),
        (lambda: linear_residual_from_moments([[1.0]], 1.0, np.eye(2)), ShapeError, "fit"),
        (lambda: pca_bound(X, dimensions=0), SettingError, "at least 1"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
