"""Nearest-neighbour mutual information follows its definition, ties and blocks included."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from references import dependence as reference

from torchprobe.errors import NonFiniteError, SettingError, ShapeError
from torchprobe.numerics import distances as distances_module
from torchprobe.numerics import mutual_information

relaxed = settings(deadline=None, derandomize=True, max_examples=40, database=None)
forms = pytest.mark.parametrize("form", ["ksg1", "ksg2"])
x, y = [0, 1, 3, 6, 10], [0, 2.5, 4, 8.5, 11]


@pytest.mark.parametrize(
    ("form", "neighbours", "expected"),
    [
        ("ksg1", 1, 0.683333),
        ("ksg2", 1, 0.683333),
        ("ksg1", 2, 0.616667),
        ("ksg2", 2, 0.483333),
    ],
)
def test_the_worked_example(form, neighbours, expected):
    found = mutual_information(x, y, neighbours, form, scale="none")
    assert found == pytest.approx(expected, abs=1e-6)


@forms
@pytest.mark.parametrize("norm", ["chebyshev", "euclidean"])
@relaxed
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_the_estimate_follows_the_definition(form, norm, seed, neighbours):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(20, 3))
    b = a[:, :2] + rng.normal(size=(20, 2))
    found = mutual_information(a, b, neighbours, form, norm, scale="none")
    expected = reference.mutual_information(a, b, neighbours, form, getattr(reference, norm))
    assert found == pytest.approx(expected, abs=1e-12)


@relaxed
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=6, max_size=12))
def test_ties_count_by_exact_comparison(pairs):
    a, b = [[p] for p, _ in pairs], [[q] for _, q in pairs]
    found = mutual_information(a, b, 2, scale="none")
    expected = reference.mutual_information(a, b, 2, "ksg1", reference.chebyshev)
    assert found == pytest.approx(expected, abs=1e-12)


@forms
@relaxed
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=6, max_size=12))
def test_row_order_does_not_matter_even_with_ties(form, pairs):
    points = np.array(pairs)
    found = mutual_information(*points.T, 2, form, scale="none")
    turned = mutual_information(*points[::-1].T, 2, form, scale="none")
    assert turned == pytest.approx(found, abs=1e-12)


@relaxed
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=6, max_size=12))
def test_scaling_keeps_ties_within_a_space(pairs):
    points = np.array(pairs)
    points[0], points[1] = (0, 0), (3, 3)
    units = points.std(axis=0)
    assume(abs(units[0] - units[1]) > 1e-6)  # else ties between x and y hang on the last digit
    found = mutual_information(*points.T, 2)
    expected = reference.mutual_information(
        points[:, :1],
        points[:, 1:],
        2,
        "ksg1",
        lambda a, b: abs(int(a[0]) - int(b[0])),
        units,
    )
    assert found == pytest.approx(expected, abs=1e-12)


@forms
def test_blocks_do_not_change_the_estimate(form, monkeypatch):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(50, 20)), rng.normal(size=(50, 2))
    whole = mutual_information(a, b, form=form)
    monkeypatch.setattr(distances_module, "BLOCK_BYTES", 8 * 50 * 7)
    assert mutual_information(a, b, form=form) == pytest.approx(whole, abs=1e-12)


def test_gaussian_information_is_recovered():
    rng = np.random.default_rng(0)
    a = rng.normal(size=2000)
    b = 0.9 * a + np.sqrt(1 - 0.81) * rng.normal(size=2000)
    truth = -0.5 * np.log(1 - 0.81)
    for form in ("ksg1", "ksg2"):
        assert mutual_information(a, b, form=form) == pytest.approx(truth, abs=0.05)


@relaxed
@given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(-100, 100))
def test_the_default_ignores_scale_and_origin(seed, scale, offset):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(30, 3))
    b = a[:, :2] + 0.3 * rng.normal(size=(30, 2))
    found = mutual_information(a * scale + offset, b - offset, neighbours=3)
    # moving far away may untie or reorder distances by rounding, never by more than a count
    assert found == pytest.approx(mutual_information(a, b, neighbours=3), abs=0.05)


def test_independent_points_may_estimate_below_zero_unless_clipped():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(60, 1)), rng.normal(size=(60, 1))
    assert mutual_information(a, b, neighbours=3) < 0
    assert mutual_information(a, b, neighbours=3, clip=True) == 0


def test_a_constant_embedding_says_nothing():
    a = np.random.default_rng(0).normal(size=(20, 3))
    assert mutual_information(a, np.full(20, 0.3), neighbours=4) == pytest.approx(0, abs=1e-12)


def test_jitter_is_seeded_and_unties_repeats():
    points = np.repeat(np.arange(10.0), 4)
    found = [mutual_information(points, points, 2, jitter=1e-10, seed=s) for s in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
    assert found[0] != mutual_information(points, points, 2)


def test_single_precision_points_count_as_their_exact_values():
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(40, d)).astype(np.float32) for d in (20, 2))
    wide = mutual_information(a.astype(np.float64), b.astype(np.float64))
    assert mutual_information(a, b) == wide


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mutual_information(x, y, neighbours=5), SettingError, "1 to 4"),
        (lambda: mutual_information(x, y, neighbours=0), SettingError, "1 to 4"),
        (lambda: mutual_information(x, y, 1, form="ksg3"), SettingError, "'ksg1'"),
        (lambda: mutual_information(x, y, 1, norm="cosine"), SettingError, "'chebyshev'"),
        (lambda: mutual_information(x, y, 1, scale="std"), SettingError, "'rms'"),
        (lambda: mutual_information(x, y, 1, jitter=-1.0), SettingError, "jitter"),
        (lambda: mutual_information(x, y[:4], 1), ShapeError, "paired"),
        (lambda: mutual_information([*x[:4], np.nan], y, 1), NonFiniteError, "x holds 1"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
