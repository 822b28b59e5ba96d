import numpy as np
import pytest
from references import projection as reference
from scipy.spatial import procrustes as scipy_procrustes
from torchprobe_projection import Fitted, Pca, Projector
from torchprobe_projection.clouds import Cloud
from torchprobe_projection.measures import MEASURES, accuracy, hit, procrustes, stability
from torchprobe_projection.measuring import Measuring
from torchprobe_projection.projector import place

from torchprobe.errors import InsufficientDataError, SettingError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 5)), RNG.normal(size=(24, 2))
LABELS = np.arange(24) % 3


class Turning(Projector):
    """The first two channels, turned by an angle that depends on how many rows there are."""

    name = "turning"

    def fit(self, rows, seed):
        angle = len(rows)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return Fitted(3 * rows[:, :2] @ turn)


class Fickle(Projector):
    """Coordinates that have nothing to do with the rows."""

    name = "fickle"

    def fit(self, rows, seed):
        return Fitted(np.random.default_rng(len(rows)).normal(size=(len(rows), 2)))


def cloud(points=X, training=X):
    return Cloud(points, np.arange(len(points)), {"a": np.arange(len(points)) % 3}, training)


def test_the_worked_distance_of_the_method_specification():
    x = np.array([[0.0, 0, 0], [2, 0, 0], [0, 1, 0], [2, 1, 1]])
    y = np.array([[0.0, 0], [0, 2], [1, 0], [1, 2]])
    assert round(procrustes(x, y), 7) == 0.0464295
    assert round(reference.procrustes(x, y), 7) == 0.0464295


def test_procrustes_distance_equals_its_formula_and_scipy_s():
    padded = np.pad(Y, ((0, 0), (0, 3)))
    assert np.isclose(procrustes(X, Y), reference.procrustes(X, Y), rtol=1e-12)
    assert np.isclose(procrustes(X, Y), scipy_procrustes(X, padded)[2], rtol=1e-12)


def test_a_linear_map_misses_no_more_than_a_similarity():
    sheared = X[:, :2] @ np.array([[1.0, 4], [0, 1]])
    assert procrustes(X, sheared, map="linear") < procrustes(X, sheared) - 0.01


def test_a_picture_collapsed_to_a_point_misses_everything():
    assert procrustes(X, np.ones((24, 2))) == 1.0
    assert procrustes(X, np.ones((24, 2)), map="linear") == 1.0


@pytest.mark.parametrize("measure", [hit, accuracy])
def test_points_without_label_are_not_asked(measure):
    some = np.where(LABELS == 2, -1, LABELS)
    expected = getattr(reference, measure.__name__)(Y[LABELS < 2], LABELS[LABELS < 2], 4)
    assert np.isclose(measure(Y, some, 4), expected)


def test_a_picture_that_only_turns_is_perfectly_stable():
    picture = place(Turning(), cloud(), 0)
    assert stability(picture, cloud(), 0) > 1 - 1e-12


def test_a_picture_that_ignores_the_points_is_not_stable():
    many = RNG.normal(size=(400, 3))
    picture = place(Fickle(), cloud(many), 0)
    assert stability(picture, cloud(many), 0, resamples=2) < 0.05


def test_a_method_that_learns_is_taught_by_half_of_its_rows():
    training = RNG.normal(size=(400, 5)) * [9, 6, 1, 1, 1]
    stable = stability(place(Pca(), cloud(X, training), 0), cloud(X, training), 0)
    shaky = stability(place(Pca(), cloud(X, training[:6]), 0), cloud(X, training[:6]), 0)
    assert 0.9 < stable < 1
    assert shaky < stable


def test_stability_is_the_same_for_the_same_seed():
    picture = place(Fickle(), cloud(), 0)
    assert stability(picture, cloud(), 1) == stability(picture, cloud(), 1)


def test_options_reach_the_measures():
    names = tuple(MEASURES)[:3]
    options = {
        "mi": {"form": "ksg2", "neighbours": 3},
        "dc": {"form": "u"},
        "pd": {"map": "linear"},
    }
    pictures = [place(Fickle(), cloud(), 0)]
    plain = Measuring(names, 10, {}).fields(cloud(), pictures, 0)
    other = Measuring(names, 10, options).fields(cloud(), pictures, 0)
    for name in names:
        assert not np.allclose(plain[name].values, other[name].values), name


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: procrustes(X, Y, map="affine"), "'similarity' or 'linear'"),
        (lambda: stability(place(Pca(), cloud(), 0), cloud(), 0, resamples=0), "resamples=0"),
    ],
)
def test_options_out_of_range_are_refused(call, said):
    with pytest.raises(SettingError, match=said):
        call()


def test_too_few_points_are_told_in_words():
    one = cloud(X[:1])
    with pytest.raises(InsufficientDataError, match="needs at least 7 points but there is 1 to"):
        Measuring(("trustworthiness",), 3, {}).require_points(one)
    Measuring(("trustworthiness",), 3, {}).require_points(cloud(X[:7]))


def test_every_measure_says_what_it_is_called_and_which_way_is_better():
    assert [each.name for each in MEASURES.values() if each.lower_is_better] == ["pd"]
    assert all(each.title for each in MEASURES.values())
