"""Block distances equal plain ones to the digit, where cancellation would bite as well."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from torchprobe.errors import NonFiniteError, SettingError
from torchprobe.numerics import BlockDistances
from torchprobe.numerics.distances import condensed_euclidean, product_distances, slices

relaxed = settings(deadline=None, derandomize=True, max_examples=40, database=None)


@relaxed
@given(st.integers(0, 10**6), st.sampled_from([0.0, 1.0, 1e6]), st.integers(-12, 0))
def test_products_keep_twelve_digits(seed, offset, exponent):
    rng = np.random.default_rng(seed)
    near = rng.normal(size=(6, 30))
    points = np.vstack([near, near + 10.0**exponent * rng.normal(size=(6, 30))]) + offset
    everything = slice(None)
    found = BlockDistances(points).block(everything, everything)
    assert found == pytest.approx(cdist(points, points), rel=1e-12, abs=0)


def test_identical_rows_are_exactly_no_distance_apart():
    points = np.random.default_rng(0).normal(size=(5, 40)) * 1e3
    repeated = points[[0, 1, 2, 0, 1]]
    found = product_distances(repeated, repeated, np.zeros(40))
    assert found[0, 3] == found[1, 4] == 0
    assert np.all(np.diagonal(found) == 0)


@pytest.mark.parametrize("metric", ["euclidean", "chebyshev"])
@pytest.mark.parametrize("width", [1, 40])
def test_direct_blocks_equal_scipy_bit_by_bit(metric, width):
    points = np.random.default_rng(0).normal(size=(11, width))
    found = BlockDistances(points, metric, direct=True).block(slice(2, 9), slice(1, 10))
    assert np.array_equal(found, cdist(points[2:9], points[1:10], metric))


@pytest.mark.parametrize("width", [3, 40])
def test_condensed_distances_are_in_the_usual_order(width, monkeypatch):
    monkeypatch.setattr("torchprobe.numerics.distances.BLOCK_BYTES", 8 * 9 * 2)
    points = np.random.default_rng(0).normal(size=(9, width))
    expected = cdist(points, points)[np.triu_indices(9, 1)]
    assert condensed_euclidean(points) == pytest.approx(expected, rel=1e-13)


def test_no_point_is_its_own_neighbour():
    points = np.random.default_rng(0).normal(size=(9, 2))
    whole = np.concatenate(list(BlockDistances(points).to_others()))
    assert np.all(np.isinf(np.diagonal(whole)))
    assert np.isfinite(whole).sum() == 72


@relaxed
@given(st.integers(0, 40), st.integers(0, 9))
def test_slices_cover_the_range_once(length, size):
    covered = [i for part in slices(length, size) for i in range(part.start, part.stop)]
    assert covered == list(range(length))


def test_bad_input_is_named():
    with pytest.raises(SettingError, match="'chebyshev'"):
        BlockDistances([[0.0]], metric="cosine")
    with pytest.raises(NonFiniteError, match=r"\(1, 0\)"):
        BlockDistances([[0.0], [np.nan]])
