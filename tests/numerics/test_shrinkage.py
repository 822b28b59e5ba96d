"""Ledoit-Wolf intensities equal scikit-learn's, and moments move to another centre exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import ledoit_wolf_shrinkage

from torchprobe.errors import InsufficientDataError, SettingError, ShapeError
from torchprobe.numerics import ledoit_wolf_intensity, norm_moments, recentred

relaxed = settings(deadline=None, derandomize=True, max_examples=60, database=None)


@relaxed
@given(st.integers(0, 10**6), st.integers(2, 30), st.integers(1, 8))
def test_the_intensity_equals_scikit_learn(seed, count, channels):
    rows = np.random.default_rng(seed).normal(size=(count, channels)) * np.arange(1, channels + 1)
    fourth = norm_moments(rows, np.zeros(channels)).fourth
    found = ledoit_wolf_intensity(rows.T @ rows, count, fourth)
    expected = ledoit_wolf_shrinkage(rows, assume_centered=True)
    assert found == pytest.approx(expected, abs=1e-9)


@relaxed
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 5), st.integers(-50, 50))
def test_moments_move_to_another_centre_exactly(seed, count, channels, distance):
    rng = np.random.default_rng(seed)
    rows, shift = rng.normal(size=(count, channels)), distance * rng.normal(size=channels)
    mean = rows.mean(axis=0)
    scatter = (rows - mean).T @ (rows - mean)
    moved = recentred(norm_moments(rows, mean), scatter, count, shift)
    expected = norm_moments(rows, mean + shift)
    assert moved.fourth == pytest.approx(expected.fourth, rel=1e-10)
    scale = np.abs(expected.third).max()
    assert moved.third == pytest.approx(expected.third, abs=1e-10 * scale)


def test_two_parts_of_a_class_merge_into_one_pass():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(20, 3)) + 100
    grand, total = rows.mean(axis=0), 0.0
    for part in (rows[:7], rows[7:]):
        mean = part.mean(axis=0)
        scatter = (part - mean).T @ (part - mean)
        total += recentred(norm_moments(part, mean), scatter, len(part), grand - mean).fourth
    assert total == pytest.approx(norm_moments(rows, grand).fourth, rel=1e-12)


def test_a_scatter_that_already_is_the_target_is_left_alone():
    assert ledoit_wolf_intensity(np.eye(3), 10, 100.0) == 0.0
    assert ledoit_wolf_intensity([[4.0]], 10, 100.0) == 0.0


def test_bad_input_is_named():
    with pytest.raises(InsufficientDataError, match="count=0"):
        ledoit_wolf_intensity(np.eye(2), 0, 1.0)
    with pytest.raises(SettingError, match="fourth"):
        ledoit_wolf_intensity(np.eye(2), 4, np.nan)
    with pytest.raises(ShapeError, match="one per channel"):
        norm_moments(np.ones((3, 2)), [0.0])
