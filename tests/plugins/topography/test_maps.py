import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from references import topography as reference
from torchprobe_topography import Grid, Region, local_maxima, region, smoothed, window_means

from torchprobe.errors import SettingError, ShapeError

WORKED = np.zeros((4, 4))
WORKED[1, 1], WORKED[2, 2], WORKED[2, 3], WORKED[3, 2], WORKED[3, 3] = 3, 6, 1, 1, 9


def test_worked_region_of_the_method_specification():
    assert np.allclose(window_means(WORKED), [[1, 10 / 9], [10 / 9, 20 / 9]])
    found = region(WORKED)
    assert (found.row, found.column, found.size) == (1, 1, 3)
    assert found.value == pytest.approx(20 / 9)
    assert found.units(Grid(4, 4)).tolist() == [5, 6, 7, 9, 10, 11, 13, 14, 15]


@pytest.mark.parametrize("size", [1, 3, 5])
def test_smoothing_and_windows_equal_the_loops(size):
    maps = np.random.default_rng(0).normal(size=(2, 6, 7))
    maps[1, -1, -2:] = np.nan
    for grid, smooth, means in zip(
        maps, smoothed(maps, size), window_means(maps, size), strict=True
    ):
        assert np.allclose(smooth, reference.smoothed(grid, size), equal_nan=True)
        assert np.allclose(means, reference.windows(grid, size), equal_nan=True)


def test_smoothing_keeps_a_constant_map_and_empty_cells():
    grid = np.full((3, 4), 2.0)
    grid[2, 3] = np.nan
    assert np.array_equal(smoothed(grid), grid, equal_nan=True)


def test_regions_of_strong_inhibition_are_found_when_asked_for():
    grid = np.zeros((5, 5))
    grid[:2, :2], grid[4, 4] = 1, -20
    assert region(grid) == Region(0, 0, 3, 4 / 9)
    assert region(grid, by="absolute").value == pytest.approx(-20 / 9)
    assert region(grid, size=1).value == 1


def test_a_region_has_no_empty_cell():
    grid = np.zeros((4, 4))
    grid[3, 2:] = np.nan
    grid[2:, 2:] = np.where(np.isnan(grid[2:, 2:]), np.nan, 9)
    assert region(grid).row == 0
    with pytest.raises(ShapeError, match="every"):
        region(np.full((3, 3), np.nan))


@given(
    arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 3))
)
def test_local_maxima_equal_flood_fill(grid):
    assert local_maxima(grid, least=-np.inf).sum() == reference.maxima(grid.astype(float))


def test_low_maxima_count_only_if_asked_for():
    grid = np.zeros((5, 9))
    grid[2, 1], grid[2, 4], grid[2, 7] = 10, 6, 1
    assert local_maxima(grid, least=-np.inf).sum() == 3
    assert local_maxima(grid, least=0.5).sum() == 2
    assert local_maxima(grid, least=1.0).sum() == 1


def test_empty_cells_are_no_maxima():
    grid = Grid(2, 2, 3).lay([1, 2, 3])
    assert np.argwhere(local_maxima(grid)).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: smoothed(np.zeros(3)), ShapeError),
        (lambda: smoothed(np.zeros((3, 3)), 2), SettingError),
        (lambda: window_means(np.zeros((2, 5))), ShapeError),
        (lambda: region(np.zeros((2, 4, 4))), ShapeError),
        (lambda: region(np.zeros((4, 4)), by="highest"), SettingError),
        (lambda: local_maxima(np.zeros((2, 4, 4))), ShapeError),
    ],
)
def test_what_is_no_map_is_refused(call, error):
    with pytest.raises(error):
        call()
