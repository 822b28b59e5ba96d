"""Spectra and their areas match the worked numbers and the term-by-term formula."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references import spectra as reference

from torchprobe.errors import NonFiniteError, SettingError, ShapeError
from torchprobe.numerics import (
    auc,
    evr_auc,
    mean_spectrum,
    normalised,
    singular_values,
    singular_values_from_gram,
)

relaxed = settings(deadline=None, derandomize=True, max_examples=60, database=None)
descending = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8).map(
    lambda values: sorted(values, reverse=True)
)
SIGMA = [4, 2, 1, 1]


def test_auc_of_the_worked_example():
    assert auc(SIGMA, d=4) == 1.375
    assert auc(SIGMA, d=4, form="mean") == pytest.approx(0.458333, abs=1e-6)
    assert auc(SIGMA, d=4, form="literal") == -1.03125
    assert auc([2 * s for s in SIGMA], d=4, form="literal") == -2.0625


def test_spectra_of_the_worked_transforms():
    jacobians = np.array([[2, -1], [0, 2], [2, 1]])  # of the output node, [sample, input]
    sigma = singular_values(jacobians)
    assert sigma == pytest.approx([2.828427, 2.449490], abs=1e-6)
    assert singular_values_from_gram(jacobians.T @ jacobians) == pytest.approx(sigma)
    assert auc(sigma, d=2) == pytest.approx(0.933013, abs=1e-6)


def test_spectra_of_the_worked_first_layer():
    weights = np.array([[1, 0], [0, 1], [1, -1]])
    masks = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 1]])
    maps = masks[:, :, None] * weights  # [sample, node, input]
    by_node = singular_values_from_gram(np.einsum("snf,sng->nfg", maps, maps))
    by_input = singular_values_from_gram(np.einsum("snf,smf->fnm", maps, maps))
    assert by_node == pytest.approx(np.array([[2**0.5, 0], [2**0.5, 0], [2, 0]]), abs=1e-7)
    assert by_input == pytest.approx(np.array([[2, 0, 0], [3**0.5, 1, 0]]), abs=1e-7)


def test_evr_auc_of_the_worked_example():
    evr = [27 / 31, 4 / 31]
    assert evr_auc(evr, d=2) == pytest.approx(0.574074, abs=1e-6)
    assert evr_auc(evr, d=2, root=True) == pytest.approx((1 + (4 / 27) ** 0.5) / 2)


@relaxed
@given(descending, st.integers(2, 12))
def test_auc_follows_the_formula(sigma, d):
    assert auc(sigma, d) == pytest.approx(reference.auc(sigma, d), rel=1e-12)
    literal = auc(sigma, d, form="literal")
    assert literal == pytest.approx(reference.auc_literal(sigma, d), rel=1e-12)


@relaxed
@given(descending, st.integers(2, 12), st.floats(1e-6, 1e6))
def test_auc_is_scale_free_and_bounded(sigma, d, scale):
    area = auc(sigma, d)
    assert 0.5 <= area <= d - 1 + 1e-12
    assert auc(np.multiply(sigma, scale), d) == pytest.approx(area, rel=1e-12)


def test_rank_one_and_flat_spectra_reach_the_bounds():
    assert auc([3.0], d=7) == 0.5
    assert auc([3.0] * 9, d=7) == 6.0


@relaxed
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10**6))
def test_gram_and_matrix_give_the_same_spectrum(rows, columns, seed):
    matrix = np.random.default_rng(seed).normal(size=(rows, columns))
    expected = np.zeros(columns)
    expected[: min(rows, columns)] = singular_values(matrix)
    found = singular_values_from_gram(matrix.T @ matrix)
    assert found == pytest.approx(expected, abs=1e-6)


def test_negative_eigenvalues_count_as_zero():
    rows = np.random.default_rng(0).normal(size=(3, 20))
    sigma = singular_values_from_gram(rows.T @ rows)
    assert np.all(sigma >= 0)
    assert np.all(np.diff(sigma) <= 0)


def test_the_mean_spectrum_skips_and_counts_empty_spectra():
    mean = mean_spectrum([[2, 1, 1], [0, 0, 0], [8, 2]], d=2)
    assert mean.values.tolist() == [1.0, 0.375]
    assert (mean.used, mean.skipped) == (2, 1)


def test_spectra_of_zeros_have_no_shape():
    assert np.isnan(auc([0.0, 0.0], d=2))
    assert np.isnan(normalised([0.0, 0.0])).all()
    nothing = mean_spectrum([[0.0]], d=3)
    assert np.isnan(nothing.values).tolist() == [True] * 3
    assert (nothing.used, nothing.skipped) == (0, 1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: auc(SIGMA, d=1), SettingError, "at least 2"),
        (lambda: auc(SIGMA, d=4, form="area"), SettingError, "'trapezoid'"),
        (lambda: auc([1.0, 2.0], d=2), ShapeError, "descending"),
        (lambda: auc([1.0, -1.0], d=2), ShapeError, "descending"),
        (lambda: auc([], d=2), ShapeError, "empty"),
        (lambda: auc([np.inf, 1.0], d=2), NonFiniteError, "not finite"),
        (lambda: singular_values_from_gram(np.ones((2, 3))), ShapeError, "channel, channel"),
        (lambda: singular_values_from_gram([[np.nan]]), NonFiniteError, "gram"),
        (lambda: singular_values(np.ones(3)), ShapeError, "axes"),
        (lambda: mean_spectrum([[1.0]], d=0), SettingError, "at least 1"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
