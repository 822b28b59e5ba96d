"""Clusterings agree with their definition, the worked numbers and scipy, on any input."""

from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from references import agglomeration
from scipy.cluster.hierarchy import dendrogram, fcluster, linkage
from scipy.spatial.distance import pdist

from torchprobe.errors import InsufficientDataError, NonFiniteError, SettingError, ShapeError
from torchprobe.numerics import (
    cluster_distances,
    complete_linkage,
    percentile_threshold,
    upgma,
)

relaxed = settings(deadline=None, derandomize=True, max_examples=40, database=None)
matrices = arrays(
    np.float64,
    st.tuples(st.integers(2, 8), st.integers(2, 5)),
    elements=st.floats(-8, 8, width=16),
)

H = [[1, 0, 0, 2], [3, 0, 0, 4], [0, 2, 1, 0], [0, 4, 1, 0], [0, 0, 5, 1], [0, 2, 7, 1]]
CSV = np.array([np.mean(H[2 * k : 2 * k + 2], axis=0) for k in range(3)])  # [class, node]
POINTS = np.array([[0.0], [1], [4], [6], [12], [13.5], [20], [30]])


def test_node_clusters_of_the_worked_example():
    assert CSV.tolist() == [[2, 0, 0, 3], [0, 3, 1, 0], [0, 1, 6, 1]]
    nodes = upgma(CSV.T)
    assert nodes.heights == pytest.approx([0.055089, 1.033942, 1.663135], abs=1e-6)
    assert nodes.count(0.5) == 3
    assert nodes.count(1.3) == 2
    assert nodes.cut(0.5)[0] == nodes.cut(0.5)[3]


def test_percentiles_of_the_worked_example():
    distances = complete_linkage(POINTS).distances
    thresholds = [percentile_threshold(distances, q) for q in (75, 80, 85, 90, 95)]
    assert thresholds == pytest.approx([16.875, 18.6, 19.95, 24.6, 27.95], abs=1e-12)
    assert percentile_threshold(distances, 80, base="square") == pytest.approx(18.0, abs=1e-12)


@relaxed
@given(matrices)
def test_average_linkage_follows_its_definition(rows):
    expected = agglomeration.merge_heights(rows, agglomeration.euclidean_distance, fmean)
    assert upgma(rows, metric="euclidean").heights == pytest.approx(sorted(expected), abs=1e-9)


@relaxed
@given(st.integers(0, 10**6))
def test_average_linkage_of_correlations_follows_its_definition(seed):
    rows = np.random.default_rng(seed).normal(size=(6, 4))
    expected = agglomeration.merge_heights(rows, agglomeration.correlation_distance, fmean)
    assert upgma(rows).heights == pytest.approx(expected, abs=1e-12)


@relaxed
@given(st.integers(0, 10**6))
def test_complete_linkage_follows_its_definition(seed):
    rows = np.random.default_rng(seed).normal(size=(7, 3))
    expected = agglomeration.merge_heights(rows, agglomeration.euclidean_distance, max)
    assert complete_linkage(rows).heights == pytest.approx(expected, abs=1e-12)


@relaxed
@given(st.integers(0, 10**6), st.floats(0, 2))
def test_cuts_are_those_of_scipy_numbered_along_the_leaves(seed, height):
    rows = np.random.default_rng(seed).normal(size=(12, 5))
    clustering = upgma(rows)
    labels = clustering.cut(height)
    flat = fcluster(linkage(pdist(rows, "correlation"), "average"), height, "distance")
    same = labels[:, None] == labels[None]
    assert np.array_equal(same, flat[:, None] == flat[None])
    assert clustering.count(height) == len(set(flat)) == labels.max() + 1
    assert np.all(np.diff(labels[clustering.order]) >= 0)


def test_leaf_order_is_the_order_of_the_drawn_dendrogram():
    clustering = complete_linkage(POINTS[[3, 0, 7, 1, 5, 2, 6, 4]])
    drawn = dendrogram(clustering.linkage, no_plot=True)["leaves"]
    assert clustering.order.tolist() == drawn


@relaxed
@given(matrices, st.floats(0, 99.9))
def test_a_percentile_below_100_leaves_two_clusters_unless_distances_tie(rows, percent):
    clustering = complete_linkage(rows)
    threshold = percentile_threshold(clustering.distances, percent)
    if threshold < clustering.distances.max():
        assert clustering.count(threshold) >= 2


def test_a_merge_exactly_at_the_height_happens():
    assert complete_linkage([[0.0], [1.0], [4.0]]).count(1.0) == 2
    assert complete_linkage([[0.0], [1.0], [4.0]]).count(np.nextafter(1.0, 0.0)) == 3


def test_dead_rows_are_excluded_and_reported():
    nodes = np.vstack([CSV.T, np.full((1, 3), 0.1 + 0.2)])
    nodes[4, 0] = 0.3  # differs in the last digit only: rounding, not signal
    clustering = upgma(nodes)
    assert clustering.excluded.tolist() == [4]
    assert clustering.cut(0.5)[4] == -1
    assert clustering.cut(0.5)[:4].tolist() == upgma(CSV.T).cut(0.5).tolist()
    assert 4 not in clustering.order


def test_an_entirely_dead_layer_is_an_empty_clustering():
    clustering = upgma(np.ones((3, 4)))
    assert clustering.count(0.5) == 0
    assert clustering.cut(0.5).tolist() == [-1, -1, -1]
    assert clustering.order.tolist() == []


@pytest.mark.parametrize("cluster", [upgma, complete_linkage])
def test_one_item_is_one_cluster(cluster):
    clustering = cluster([[1.0, 2.0]])
    assert clustering.count(0.0) == 1
    assert clustering.cut(0.0).tolist() == [0]
    assert clustering.order.tolist() == [0]


def test_two_items_merge_at_their_distance():
    clustering = complete_linkage([[0.0], [3.0]])
    assert clustering.heights.tolist() == [3.0]
    assert clustering.cut(2.9).tolist() == [0, 1]


@pytest.mark.parametrize("width", [2, 40])
def test_equal_items_are_one_cluster_at_height_zero(width):
    row = np.random.default_rng(0).normal(size=width)
    for clustering in (upgma([row] * 5), complete_linkage([row] * 5)):
        assert clustering.count(0.0) == 1
        assert clustering.heights.tolist() == [0.0] * 4


@relaxed
@given(st.integers(0, 10**6), st.floats(-1e6, 1e6), st.floats(1e-3, 1e3))
def test_correlation_clusters_ignore_offset_and_scale(seed, offset, scale):
    rows = np.random.default_rng(seed).normal(size=(6, 30))
    moved = upgma(rows * scale + offset)
    assert moved.heights == pytest.approx(upgma(rows).heights, abs=1e-5)


@pytest.mark.parametrize("scale", [1e-200, 1e150])
def test_correlation_survives_extreme_scales(scale):
    rows = np.random.default_rng(0).normal(size=(5, 30))
    assert upgma(rows * scale).heights == pytest.approx(upgma(rows).heights, rel=1e-9)


def test_distances_may_come_condensed_or_square():
    points = POINTS[:5]
    square = np.abs(points - points.T)
    expected = complete_linkage(points).linkage
    assert np.array_equal(cluster_distances(square, "complete").linkage, expected)
    assert np.array_equal(cluster_distances(pdist(points), "complete").linkage, expected)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: upgma([[1.0, np.nan]]), NonFiniteError, "1 of 2 values"),
        (lambda: upgma([1.0, 2.0]) and upgma(np.ones((2, 2, 2))), ShapeError, "axes"),
        (lambda: upgma(np.empty((0, 3))), InsufficientDataError, "empty"),
        (lambda: upgma([[1.0, 2.0]], metric="cosine"), SettingError, "'correlation'"),
        (lambda: upgma([["a", "b"]]), ShapeError, "dtype"),
        (lambda: complete_linkage([[0.0], [1.0]]).cut(np.nan), SettingError, "NaN"),
        (lambda: percentile_threshold([], 80), InsufficientDataError, "two items"),
        (lambda: percentile_threshold([1.0], 101), SettingError, "0 to 100"),
        (lambda: percentile_threshold([1.0, 2.0], 50), ShapeError, "pairs"),
        (lambda: cluster_distances([[0, 1], [2, 0]]), ShapeError, "symmetric"),
        (lambda: cluster_distances([[1, 1], [1, 1]]), ShapeError, "diagonal"),
        (lambda: cluster_distances([-1.0]), ShapeError, "negative"),
        (lambda: cluster_distances([1.0], "ward"), SettingError, "'average'"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
