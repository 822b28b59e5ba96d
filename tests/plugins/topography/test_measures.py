from itertools import permutations

import numpy as np
import pytest
from references import topography as reference
from torchprobe_topography import Grid, Neighbourhood, alikeness, morans_i, smoothness

from torchprobe.errors import InsufficientDataError, NonFiniteError, ShapeError

GRIDS = [Grid(4, 4), Grid(5, 3, 14), Grid(2, 6)]


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_measures_equal_the_formulas(grid):
    rng = np.random.default_rng(0)
    weights = reference.neighbours(grid.rows, grid.columns, grid.units)
    values = rng.normal(size=(2, 3, grid.units))
    found, smooth = morans_i(values, grid)[0], smoothness(values, grid)
    assert found.shape == smooth.shape == (2, 3)
    for index in np.ndindex(2, 3):
        assert found[index] == pytest.approx(reference.morans_i(values[index], weights))
        assert smooth[index] == pytest.approx(1 - reference.gearys_c(values[index], weights))


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_alikeness_equals_the_loops(grid):
    vectors = np.random.default_rng(1).normal(size=(grid.units, 3, 2))
    flat = vectors.reshape(grid.units, -1)
    found = alikeness(vectors, grid)
    loss = reference.loss(flat, grid.rows, grid.columns, literal=True)
    assert found.neighbours == pytest.approx(loss / grid.units)
    assert found.random == pytest.approx(reference.mean_of_all_pairs(flat))
    assert found.excess == found.neighbours - found.random


def test_z_is_that_of_all_arrangements():
    grid, values = Grid(2, 3), np.array([0.0, 1, 1, 4, 2, 9])
    every = [morans_i(np.array(each), grid)[0] for each in permutations(values)]
    found, z = morans_i(values, grid)
    assert np.mean(every) == pytest.approx(-1 / 5)
    assert z == pytest.approx((found - np.mean(every)) / np.std(every))


def test_a_gradient_is_smooth_and_a_chessboard_is_not():
    grid = Grid(8, 8)
    rows, columns = np.indices((8, 8))
    ramp, board = (rows + columns).ravel(), ((rows + columns) % 2).ravel()
    assert morans_i(ramp, grid)[0] > 0.6
    assert smoothness(ramp, grid) > 0.6
    assert morans_i(board, grid)[0] < 0
    assert smoothness(board, grid) < 0
    rook = Neighbourhood()
    assert morans_i(ramp, grid, rook)[1] > 5


def test_a_constant_map_has_no_pattern():
    values = np.full((2, 9), 0.1)
    values[1, 0] = 1
    found, z = morans_i(values, Grid(3, 3))
    assert np.isnan([found[0], z[0], smoothness(values, Grid(3, 3))[0]]).all()
    assert np.isfinite([found[1], z[1]]).all()


def test_dead_units_are_left_out_of_both_means():
    vectors = np.ones((9, 2))
    vectors[4] = 0
    found = alikeness(vectors, Grid(3, 3))
    assert found.neighbours == pytest.approx(1)
    assert found.random == pytest.approx(1)
    nothing = alikeness(np.zeros((9, 2)), Grid(3, 3))
    assert np.isnan([nothing.neighbours, nothing.random]).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError):
        alikeness(np.zeros((8, 2)), Grid(3, 3))
    with pytest.raises(ShapeError):
        morans_i(np.zeros(8), Grid(3, 3))
    with pytest.raises(NonFiniteError):
        smoothness(np.full(9, np.nan), Grid(3, 3))
    with pytest.raises(InsufficientDataError):
        morans_i(np.zeros(3), Grid(1, 3))
