import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import topography as reference
from torchprobe_topography import Grid, Neighbourhood

from torchprobe.errors import SettingError, ShapeError


@pytest.mark.parametrize(
    ("units", "shape"),
    [
        (256, (16, 16)),
        (2048, (64, 32)),
        (250, (25, 10)),
        (2000, (50, 40)),
        (40, (8, 5)),
        (4, (2, 2)),
    ],
)
def test_widths_get_the_paper_s_grids_or_near_squares(units, shape):
    assert Grid.of(units).shape == shape


@pytest.mark.parametrize("units", [7, 13, 26, 29, 34, 251])
def test_numbers_without_near_square_factors_are_refused_with_a_remedy(units):
    with pytest.raises(ShapeError, match=r"uneven='pad'.*leave the layer out"):
        Grid.of(units)


@pytest.mark.parametrize("units", [1, 2, 3])
def test_too_few_units_are_refused(units):
    with pytest.raises(SettingError, match="leave the layer out"):
        Grid.of(units, uneven="pad")


@given(st.integers(4, 3000))
def test_padded_grids_hold_all_units_are_near_square_and_lose_less_than_a_row(units):
    grid = Grid.of(units, uneven="pad")
    assert 0 <= grid.cells - units < grid.columns
    assert grid.columns <= grid.rows <= 4 * grid.columns


def test_given_shapes_must_fit_exactly_unless_padding_is_wanted():
    assert Grid.of(12, (2, 6)).shape == (2, 6)
    with pytest.raises(ShapeError, match="15 cells for 12 units"):
        Grid.of(12, (3, 5))
    assert Grid.of(12, (3, 5), "pad").cells == 15
    with pytest.raises(ShapeError, match="cannot hold 12"):
        Grid.of(12, (2, 5), "pad")


def test_values_are_laid_row_by_row_and_empty_cells_are_nan():
    maps = Grid(2, 3, 5).lay(np.arange(10).reshape(2, 5))
    assert maps.shape == (2, 2, 3)
    assert np.array_equal(maps[1], [[5, 6, 7], [8, 9, np.nan]], equal_nan=True)
    with pytest.raises(ShapeError, match="do not fit"):
        Grid(2, 3, 5).lay(np.zeros((5, 2)))


def weights_of(pairs):
    found = {unit: {} for unit in range(pairs.units)}
    for first, second, to, back in zip(
        pairs.first.tolist(), pairs.second.tolist(), pairs.of_first, pairs.of_second, strict=True
    ):
        assert second not in found[first]
        found[first][second] = to
        found[second][first] = back
    return found


@pytest.mark.parametrize(
    ("shape", "units", "size", "border"),
    [
        ((4, 5), 20, 3, "truncate"),
        ((4, 5), 17, 3, "truncate"),
        ((3, 3), 9, 3, "wrap"),
        ((6, 5), 30, 5, "wrap"),
        ((6, 5), 28, 5, "truncate"),
        ((1, 6), 6, 3, "truncate"),
        ((2, 2), 4, 7, "truncate"),
    ],
)
def test_neighbours_and_weights_equal_the_loops(shape, units, size, border):
    found = weights_of(Neighbourhood(size, border).pairs(Grid(*shape, units)))
    expected = reference.neighbours(*shape, units, size, border == "wrap")
    for unit, others in expected.items():
        assert found[unit].keys() == others.keys()
        assert np.allclose([found[unit][other] for other in others], list(others.values()))
        assert sum(found[unit].values()) == pytest.approx(1)


def test_worked_weights_of_the_method_specification():
    found = weights_of(Neighbourhood().pairs(Grid(4, 4)))
    assert {round(each, 6) for each in found[5].values()} == {0.146447, 0.103553}
    assert {round(each, 6) for each in found[1].values()} == {0.226541, 0.160189}
    assert {round(each, 6) for each in found[0].values()} == {0.369398, 0.261204}


def test_a_torus_has_no_border():
    pairs = Neighbourhood(border="wrap").pairs(Grid(4, 4))
    assert len(pairs) == 16 * 8 / 2
    assert {round(each, 6) for each in pairs.of_first} == {0.146447, 0.103553}


def test_what_cannot_wrap_is_refused():
    with pytest.raises(SettingError, match="at least 3 × 3"):
        Neighbourhood(border="wrap").pairs(Grid(2, 8))
    with pytest.raises(SettingError, match="full grid"):
        Neighbourhood(border="wrap").pairs(Grid(3, 3, 8))


@pytest.mark.parametrize("settings", [{"size": 4}, {"size": 1}, {"border": "mirror"}])
def test_impossible_neighbourhoods_are_refused(settings):
    with pytest.raises(SettingError):
        Neighbourhood(**settings)
