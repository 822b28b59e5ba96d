import numpy as np
import pytest
from sklearn.decomposition import PCA
from torchprobe_projection.linear import Pca, Random

from torchprobe.errors import InsufficientDataError
from torchprobe.numerics import pca_bound, procrustes_distance


def up_to_sign(one, two):
    return np.allclose(np.abs(one), np.abs(two), atol=1e-9)


@pytest.mark.parametrize("shape", [(50, 6), (20, 60), (30, 30)])
def test_components_equal_scikit_learn_s(shape):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=shape) * np.linspace(3, 0.1, shape[1]) + 5
    others = rng.normal(size=(9, shape[1]))
    expected = PCA(2, svd_solver="full").fit(rows)
    assert up_to_sign(Pca().fit(rows, 0).transform(others), expected.transform(others))


def test_of_the_rows_themselves_it_reaches_the_bound():
    rows = np.random.default_rng(0).normal(size=(80, 5)) * [5, 3, 2, 1, 1]
    places = Pca().fit(rows, 0).transform(rows)
    assert abs(procrustes_distance(rows, places) - pca_bound(rows)) < 1e-12


def test_the_worked_bound_of_the_method_specification():
    rows = np.array([[0.0, 0, 0], [2, 0, 0], [0, 1, 0], [2, 1, 1]])
    assert round(procrustes_distance(rows, Pca().fit(rows, 0).transform(rows)), 7) == 0.0317076


def test_the_largest_entry_of_each_axis_is_positive():
    for seed in range(5):
        rows = np.random.default_rng(seed).normal(size=(40, 4))
        axes = Pca().fit(rows, 0).network.encode_layers[0].weight.numpy()
        assert (axes[[0, 1], np.abs(axes).argmax(axis=1)] > 0).all()


@pytest.mark.parametrize("rows", [np.ones((5, 3)), np.arange(6.0)[:, None], np.eye(2)])
def test_rows_that_fill_no_plane_get_zeros_for_what_is_missing(rows):
    places = Pca().fit(rows, 0).transform(rows)
    assert places.shape == (len(rows), 2)
    assert np.isfinite(places).all()


def test_one_row_is_refused():
    with pytest.raises(InsufficientDataError, match="at least 2 rows but has 1 row;"):
        Pca().fit(np.ones((1, 4)), 0)


def test_random_coordinates_depend_on_the_seed_alone():
    rows = np.ones((6, 3))
    first, again, other = (Random().fit(rows, seed).coordinates for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
