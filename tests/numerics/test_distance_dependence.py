"""Distance correlation follows its definition in every form, whatever the tiles."""

import dcor
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references import dependence as reference
from scipy.spatial.distance import pdist

from torchprobe.errors import InsufficientDataError, NonFiniteError, SettingError, ShapeError
from torchprobe.numerics import distance_correlation, distance_covariance, distance_dependence

relaxed = settings(deadline=None, derandomize=True, max_examples=40, database=None)
forms = pytest.mark.parametrize("form", ["v", "u", "pearson"])
x, y = [0, 1, 2, 4, 7], [0, 1, 4, 2, 9]


def clouds(seed, rows=12, channels=4):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(rows, channels))
    return a, a[:, :2] + rng.normal(size=(rows, 2))


def test_the_worked_example():
    parts = distance_covariance(x, y)
    assert parts.covariance == pytest.approx(3.6992, abs=1e-12)
    assert parts.variance_x == pytest.approx(3.6864, abs=1e-12)
    assert parts.variance_y == pytest.approx(5.9136, abs=1e-12)
    assert distance_correlation(x, y) == pytest.approx(0.890103, abs=1e-6)
    assert distance_correlation(x, y, "u") == pytest.approx(3 / 19, abs=1e-12)
    assert distance_correlation(x, y, "pearson") == pytest.approx(0.754746, abs=1e-6)


@forms
def test_a_linear_copy_correlates_fully(form):
    copy = [2 * value + 3 for value in x]
    assert distance_correlation(x, copy, form) == pytest.approx(1, abs=1e-12)


@relaxed
@given(st.integers(0, 10**6))
def test_each_form_follows_its_definition(seed):
    a, b = clouds(seed)
    expected = reference.distance_correlation(a, b)
    assert distance_correlation(a, b) == pytest.approx(expected, abs=1e-10)
    matrices = [reference.distance_matrix(points) for points in (a, b)]
    expected = reference.unbiased_distance_covariance(*matrices)
    assert distance_covariance(a, b, "u").covariance == pytest.approx(expected, abs=1e-12)
    expected = np.corrcoef(pdist(a), pdist(b))[0, 1]
    assert distance_correlation(a, b, "pearson") == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("channels", [2, 40])
def test_the_dcor_package_agrees(channels):
    a, b = clouds(0, rows=60, channels=channels)
    assert distance_correlation(a, b) == pytest.approx(dcor.distance_correlation(a, b), abs=1e-12)
    expected = dcor.u_distance_correlation_sqr(a, b)
    assert distance_correlation(a, b, "u") == pytest.approx(expected, abs=1e-12)


@forms
@pytest.mark.parametrize("tile", [1, 7, 23, 100])
def test_tiles_do_not_change_the_value(form, tile, monkeypatch):
    a, b = clouds(1, rows=46, channels=30)
    whole = distance_correlation(a, b, form)
    monkeypatch.setattr(distance_dependence, "TILE", tile)
    assert distance_correlation(a, b, form) == pytest.approx(whole, abs=1e-13)


@forms
@relaxed
@given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(-100, 100))
def test_scale_origin_and_row_order_do_not_matter(form, seed, scale, offset):
    a, b = clouds(seed)
    order = np.random.default_rng(seed).permutation(len(a))
    found = distance_correlation(scale * a[order] + offset, b[order] - offset, form)
    assert found == pytest.approx(distance_correlation(a, b, form), abs=1e-9)


@forms
def test_a_large_offset_and_repeated_rows_cost_nothing(form):
    a, b = clouds(2, rows=30, channels=40)
    a[10:20] = a[0]  # as silent frames repeat
    moved = (a * 2.0**-7 + 2.0**20) - 2.0**20  # what float64 delivers
    found = distance_correlation(moved + 2.0**20, b, form)
    assert found == pytest.approx(distance_correlation(moved, b, form), abs=1e-11)
    assert found == pytest.approx(_direct(moved, b, form), abs=1e-11)


def test_nearly_equal_distances_keep_their_digits():
    rng = np.random.default_rng(0)
    a = np.eye(50) + 1e-5 * rng.normal(size=(50, 50))  # all pairs about sqrt(2) apart
    b = rng.normal(size=(50, 2))
    assert distance_correlation(a, b, "u") == pytest.approx(_direct(a, b, "u"), abs=1e-9)


@forms
def test_a_constant_side_has_no_correlation(form):
    b = clouds(0)[1]
    assert distance_correlation(np.full((12, 3), 0.1), b, form) == 0.0
    assert distance_correlation(np.full((12, 30), 0.1), b, form) == 0.0


@pytest.mark.parametrize("form", ["u", "pearson"])
def test_points_all_equally_far_apart_have_no_correlation(form):
    b = np.random.default_rng(0).normal(size=(20, 2))
    assert distance_correlation(np.eye(20), b, form) == 0.0


def test_single_precision_points_count_as_their_exact_values():
    a, b = (points.astype(np.float32) for points in clouds(3, channels=30))
    wide = distance_correlation(a.astype(np.float64), b.astype(np.float64))
    assert distance_correlation(a, b) == wide


def _direct(a, b, form):
    """The forms from full matrices of plainly computed distances."""
    da, db = (np.array(reference.distance_matrix(points)) for points in (a, b))
    if form == "pearson":
        upper = np.triu_indices(len(a), 1)
        return np.corrcoef(da[upper], db[upper])[0, 1]
    if form == "u":
        da, db = (_u_centre(d) for d in (da, db))
        return np.sum(da * db) / np.sqrt(np.sum(da**2) * np.sum(db**2))
    da, db = (d - d.mean(0) - d.mean(1)[:, None] + d.mean() for d in (da, db))
    return np.sqrt(np.sum(da * db) / np.sqrt(np.sum(da**2) * np.sum(db**2)))


def _u_centre(d):
    n = len(d)
    centred = d - d.sum(0) / (n - 2) - d.sum(1)[:, None] / (n - 2) + d.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(centred, 0)
    return centred


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: distance_correlation(x, y[:4]), ShapeError, "paired"),
        (lambda: distance_correlation([1], [1]), InsufficientDataError, "at least 2"),
        (lambda: distance_correlation(x[:3], y[:3], "u"), InsufficientDataError, "at least 4"),
        (lambda: distance_correlation(x[:2], y[:2], "pearson"), InsufficientDataError, "least 3"),
        (lambda: distance_correlation(x, y, "w"), SettingError, "'pearson'"),
        (lambda: distance_correlation(x, [*y[:4], np.inf]), NonFiniteError, "y holds 1"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
