"""How classes lie to one another: aggregates, maps, expansion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from strategies import repeatable, seeds
from torchprobe_lda import expansion
from torchprobe_lda.geometry import aggregated, centroids, confused_pairs, mds_map, tsne_map
from torchprobe_lda.points import Points, points

from torchprobe.errors import InsufficientDataError, LayerNotFoundError, SettingError
from torchprobe.results import Field, LayerResults, Result

CLASSES = ("k", "p", "t")


def layer(name, values, classes, *, separable=-1, network=-1, confusion=None, names=CLASSES):
    """A result that holds points alone."""
    n = len(values)
    fields = {
        "points": Field("point component", values),
        "point_class": Field("point", classes),
        "point_id": Field("point", np.arange(n)),
        "point_right": Field("point", np.ones(n, dtype=np.int8)),
        "point_network": Field("point", np.broadcast_to(np.int8(network), n).copy()),
        "point_separable": Field("point", np.broadcast_to(np.int8(separable), n).copy()),
        "counts": Field("class", np.ones(len(names), dtype=int)),
    }
    if confusion is not None:
        fields["confusion"] = Field("class predicted", np.asarray(confusion))
    return Result("lda", name, "label", fields, {"class": names}, {"described": "score"})


WORKED = ([[0.0, 0], [1, 0], [0, 1]], [[0.0, 0], [3, 0], [0, 2]])


def worked():
    """Distances of the worked example: two layers, a point to a class."""
    first, second = (np.array(each) for each in WORKED)
    mistakes = [[8, 2, 0], [0, 9, 1], [1, 0, 9]]
    return LayerResults(
        [
            layer("input", first, np.arange(3)),
            layer("deep", second, np.arange(3), confusion=mistakes),
        ]
    )


# -- the worked numbers


def test_mds_reproduces_the_worked_distances():
    corners = np.array([[0.0, 0, 0], [3, 0, 0], [0, 4, 0]])
    for method in ("classical", "smacof"):
        assert pdist(mds_map(corners, method)) == pytest.approx([3, 4, 5], abs=1e-4)
    places = mds_map(corners)
    assert np.sort((places**2).sum(axis=0)) == pytest.approx([3.702519, 12.964148], abs=1e-6)


def test_the_worked_expansion():
    found = expansion(worked(), classes=CLASSES)
    assert found == {"input": 1.0, "deep": pytest.approx(2.516503, abs=1e-6)}
    found = expansion(worked(), classes=CLASSES, form="ratio_of_means")
    assert found["deep"] == pytest.approx(2.520507, abs=1e-6)


def test_every_class_counts_with_the_one_it_is_taken_for_most_often():
    assert confused_pairs(worked()).tolist() == [[0, 1], [1, 2], [2, 0]]
    assert expansion(worked())["deep"] == pytest.approx(np.mean([3, np.sqrt(13 / 2), 2]))


def test_the_network_knows_best_what_it_mistakes():
    layers = worked()
    own = {
        "network_confusion": Field("class predicted", np.array([[7, 1, 2], [0, 9, 0], [0, 3, 9]]))
    }
    last = layers["deep"]
    told = Result("lda", "deep", "label", {**last.fields, **own}, last.coords, last.settings)
    pairs = confused_pairs(LayerResults([layers["input"], told]))
    assert pairs.tolist() == [[0, 2], [2, 1]]  # p is never taken for another class


def test_another_layer_may_be_the_reference():
    found = expansion(worked(), classes=CLASSES, reference="deep")
    assert found["deep"] == 1
    assert found["input"] == pytest.approx(np.mean([1 / 3, np.sqrt(2 / 13), 1 / 2]))


# -- aggregates


@repeatable
@given(seed=seeds, sizes=st.lists(st.integers(0, 60), min_size=1, max_size=4))
def test_a_class_is_aggregated_to_a_tenth_of_its_points_and_keeps_its_mean(seed, sizes):
    rng = np.random.default_rng(seed)
    classes = np.repeat(np.arange(len(sizes)), sizes)
    values = rng.normal(size=(len(classes), 3))
    groups = aggregated(Points(values, classes, tuple("abcd"[: len(sizes)])))
    assert groups.sizes.sum() == len(values)
    for k, size in enumerate(sizes):
        own = groups.classes == k
        assert own.sum() == (max(1, size // 10) if size else 0)
        if size:
            mean = groups.sizes[own] @ groups.centres[own] / size
            assert mean == pytest.approx(values[classes == k].mean(axis=0))


def test_fewer_distinct_points_than_groups_are_no_trouble():
    groups = aggregated(Points(np.ones((50, 2)), np.zeros(50, dtype=int), ("a",)))
    assert groups.sizes.tolist() == [50]


def test_aggregates_are_the_same_each_time_and_in_any_order():
    rng = np.random.default_rng(0)
    values = np.repeat(10.0 * np.arange(4), 10)[:, None] + 0.01 * rng.normal(size=(40, 2))
    first = aggregated(Points(values, np.zeros(40, dtype=int), ("a",)), seed=2)
    again = aggregated(Points(values[::-1], np.zeros(40, dtype=int), ("a",)), seed=2)
    assert first.centres == pytest.approx(again.centres)
    assert first.sizes.tolist() == [10, 10, 10, 10]


# -- maps


def test_tsne_keeps_groups_of_far_classes_apart_and_is_repeatable():
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1], 300)
    values = rng.normal(size=(600, 5)) + 40 * classes[:, None]
    groups = aggregated(Points(values, classes, ("a", "b")))
    places = tsne_map(groups)
    assert places.shape == (60, 2)
    middles = [places[groups.classes == k].mean(axis=0) for k in (0, 1)]
    spread = max(
        np.linalg.norm(places[groups.classes == k] - middles[k], axis=1).max() for k in (0, 1)
    )
    assert np.linalg.norm(middles[0] - middles[1]) > spread
    assert np.array_equal(places, tsne_map(groups))


def test_tsne_of_too_few_groups_or_one_dimension_is_refused():
    few = aggregated(Points(np.eye(3), np.arange(3), CLASSES))
    with pytest.raises(InsufficientDataError, match="3 aggregates in 3 dimensions are too few"):
        tsne_map(few)
    line = aggregated(Points(np.arange(100.0)[:, None], np.zeros(100, dtype=int), ("a",)))
    with pytest.raises(InsufficientDataError, match="three classes make two dimensions"):
        tsne_map(line)


@repeatable
@given(seed=seeds, n=st.integers(3, 12))
def test_points_of_a_plane_are_mapped_without_error_wherever_it_lies(seed, n):
    rng = np.random.default_rng(seed)
    flat = rng.normal(size=(n, 2)) @ np.linalg.qr(rng.normal(size=(6, 2)))[0].T + rng.normal(size=6)
    assert pdist(mds_map(flat)) == pytest.approx(pdist(flat), abs=1e-9)


def test_smacof_has_no_more_stress_than_classical_scaling():
    values = np.random.default_rng(0).normal(size=(20, 6))
    stress = {
        method: np.sum((pdist(mds_map(values, method)) - pdist(values)) ** 2)
        for method in ("classical", "smacof")
    }
    assert stress["smacof"] < stress["classical"]


# -- subsets of points


def test_points_are_chosen_by_class_by_ease_and_by_the_networks_answer():
    rng = np.random.default_rng(0)
    values, classes = rng.normal(size=(60, 2)), np.arange(60) % 3
    easy, right = np.arange(60) % 4 < 2, np.arange(60) % 5 > 0
    layers = LayerResults([layer("a", values, classes, separable=easy, network=right)])
    assert np.array_equal(points(layers, "a").values, values[right])
    own = points(layers, "a", classes=["t", "k"], subset="inseparable")
    chosen = right & ~easy & (classes != 1)
    assert np.array_equal(own.values, values[chosen])
    assert own.names == ("t", "k")
    assert np.array_equal(own.of(0), values[chosen & (classes == 2)])
    expected = values[right & easy & (classes == 1)].mean(axis=0)
    assert centroids(layers, "a", "separable")[1] == pytest.approx(expected)


def test_a_class_without_points_in_a_subset_is_in_no_pair():
    easy = np.array([1, 1, 0])
    layers = LayerResults(
        [
            layer(n, np.array(v), np.arange(3), separable=easy)
            for n, v in zip("ab", WORKED, strict=True)
        ]
    )
    assert expansion(layers, classes=CLASSES, subset="separable")["b"] == 3
    with pytest.raises(InsufficientDataError, match="no pair of classes has rows that are insep"):
        expansion(layers, classes=CLASSES, subset="inseparable")


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (
            lambda: expansion(worked(), classes=["q", "t"]),
            LayerNotFoundError,
            "class 'q' not found",
        ),
        (lambda: expansion(worked(), classes=["k"]), InsufficientDataError, "no pair"),
        (lambda: expansion(worked(), reference="x"), LayerNotFoundError, "'x'"),
        (lambda: expansion(worked(), subset="COR"), SettingError, "'separable', 'inseparable'"),
        (lambda: points(worked(), "deep", subset="hard"), SettingError, "'separable'"),
        (lambda: expansion(worked(), classes=CLASSES, form="x"), SettingError, "mean_of_ratios"),
        (
            lambda: confused_pairs(LayerResults([worked()["input"]])),
            InsufficientDataError,
            "scored=",
        ),
    ],
)
def test_what_cannot_be_is_told(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_without_mistakes_there_is_no_most_frequent_one():
    last = layer("deep", np.eye(3), np.arange(3), confusion=np.eye(3, dtype=int))
    with pytest.raises(InsufficientDataError, match="no class is ever mistaken"):
        confused_pairs(LayerResults([last]))


def test_results_without_points_say_how_to_get_some(run, clouds):
    from torchprobe_lda import LDA

    layers = LayerResults([run(LDA(), fit=clouds())])
    with pytest.raises(InsufficientDataError, match=r"hold no points: no data of split 'score'"):
        points(layers, "input")
