"""Silhouettes match the worked numbers and stay undefined where they are."""

import numpy as np
import pytest

from torchprobe.errors import InsufficientDataError, ShapeError
from torchprobe.numerics import complete_linkage, silhouette, silhouette_profile, upgma

POINTS = [[0.0], [1], [4], [6], [12], [13.5], [20], [30]]


def test_representation_score_of_the_worked_example():
    result = silhouette_profile(complete_linkage(POINTS))
    assert result.thresholds == pytest.approx([16.875, 18.6, 19.95, 24.6, 27.95])
    assert result.clusters.tolist() == [3, 2, 2, 2, 2]
    assert result.scores == pytest.approx([0.524311, *[0.541400] * 4], abs=1e-6)
    assert result.mean == pytest.approx(0.537982, abs=1e-6)
    assert result.undefined == 0


def test_silhouette_follows_its_definition():
    rng = np.random.default_rng(3)
    points, labels = rng.normal(size=(9, 2)), np.array([0, 0, 0, 1, 1, 1, 1, 2, 2])
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    scores = []
    for i, own in enumerate(labels):
        mates = (labels == own) & (np.arange(9) != i)
        inside = distances[i, mates].mean()
        outside = min(distances[i, labels == k].mean() for k in set(labels) - {own})
        scores.append((outside - inside) / max(inside, outside))
    assert silhouette(distances, labels) == pytest.approx(np.mean(scores), abs=1e-12)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_one_cluster_or_only_singletons_is_undefined(labels):
    assert np.isnan(silhouette([1.0, 2.0, 3.0], labels))


def test_undefined_scores_are_counted_and_left_out_of_the_mean():
    result = silhouette_profile(complete_linkage(POINTS), percentiles=(0, 75, 100))
    assert result.clusters.tolist() == [7, 3, 1]
    assert np.isnan(result.scores).tolist() == [False, False, True]
    assert result.undefined == 1
    assert result.mean == pytest.approx(result.scores[:2].mean())


def test_equal_items_have_no_score_at_all():
    result = silhouette_profile(complete_linkage(np.ones((4, 2))))
    assert result.undefined == 5
    assert np.isnan(result.mean)


def test_two_items_have_no_score_at_all():
    assert np.isnan(silhouette_profile(complete_linkage([[0.0], [1.0]])).mean)


def test_items_excluded_from_the_clustering_do_not_count():
    rows = np.random.default_rng(0).normal(size=(12, 3))
    scores = silhouette_profile(upgma(rows), percentiles=(10, 20, 30)).scores
    with_dead = upgma(np.insert(rows, 3, 1.0, axis=0))
    assert np.isfinite(scores).all()
    assert silhouette_profile(with_dead, percentiles=(10, 20, 30)).scores == pytest.approx(scores)


def test_the_square_base_takes_percentiles_of_the_whole_matrix():
    square = np.abs(np.subtract.outer(*2 * [np.ravel(POINTS)]))
    found = silhouette_profile(complete_linkage(POINTS), base="square")
    assert found.thresholds == pytest.approx(np.percentile(square, found.percentiles))


def test_bad_input_is_named():
    with pytest.raises(InsufficientDataError, match="two items"):
        silhouette_profile(complete_linkage([[1.0]]))
    with pytest.raises(ShapeError, match=r"expected \[3\]"):
        silhouette([1.0, 2.0, 3.0], [0, 1])
