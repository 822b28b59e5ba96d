"""How alike two representations are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import alignment

from torchprobe.errors import InsufficientDataError, ShapeError
from torchprobe.numerics import linear_cka

RNG = np.random.default_rng(0)


def pair(rows=9, d_x=3, d_y=5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, d_x)) + 3
    return x, np.tanh(x @ rng.normal(size=(d_x, d_y))) + 0.3 * rng.normal(size=(rows, d_y))


@given(st.integers(4, 8), st.integers(1, 30), st.integers(1, 30), st.integers(0, 99))
def test_it_is_the_papers_formula_through_channels_and_through_rows(rows, d_x, d_y, seed):
    x, y = pair(rows, d_x, d_y, seed)
    assert linear_cka(x, y) == pytest.approx(alignment.cka(x, y), abs=1e-9)


@pytest.mark.parametrize("rows", [4, 5, 7])
def test_the_debiased_one_is_the_mean_over_all_quadruples_of_rows(rows):
    x, y = pair(rows)
    expected = alignment.debiased_cka(x, y)
    assert linear_cka(x, y, debiased=True) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("debiased", [False, True])
def test_rotation_size_and_place_do_not_matter(debiased):
    x, y = pair(30)
    rotation = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    moved = 7 * x @ rotation - 100
    assert linear_cka(x, moved, debiased=debiased) == pytest.approx(1, abs=1e-9)
    expected = linear_cka(x, y, debiased=debiased)
    assert linear_cka(moved, y, debiased=debiased) == pytest.approx(expected, abs=1e-9)
    assert linear_cka(y, moved, debiased=debiased) == pytest.approx(expected, abs=1e-9)


def test_unrelated_wide_layers_look_alike_unless_debiased():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(50, 400)), rng.normal(size=(50, 400))
    assert linear_cka(x, y) > 0.8
    assert abs(linear_cka(x, y, debiased=True)) < 0.1


def test_too_little_to_align_is_refused():
    x, _ = pair(3)
    with pytest.raises(InsufficientDataError, match="at least 4"):
        linear_cka(x, x, debiased=True)
    with pytest.raises(InsufficientDataError, match="do not vary"):
        linear_cka(np.ones((5, 2)), pair(5)[1])
    with pytest.raises(ShapeError, match="paired"):
        linear_cka(pair(5)[0], pair(6)[1])
