import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchprobe.errors import ShapeError
from torchprobe.numerics import agreement, silhouette

labels = st.lists(st.integers(0, 3), min_size=2, max_size=12)


def pair_counts(one, two):
    """How many pairs are together in both, in the first, in the second; and all of them."""
    n = len(one)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    first = [one[i] == one[j] for i, j in pairs]
    second = [two[i] == two[j] for i, j in pairs]
    both = sum(a and b for a, b in zip(first, second, strict=True))
    return both, sum(first), sum(second), len(pairs)


@given(labels, st.randoms(use_true_random=False))
@settings(derandomize=True, deadline=None)
def test_the_rand_index_is_that_of_the_pairs_less_what_chance_gives(kinds, draw):
    clusters = [draw.randrange(3) for _ in kinds]
    points = np.arange(len(kinds), dtype=float)
    found = agreement(np.abs(points[:, None] - points), clusters, list(map(str, kinds)))
    both, first, second, total = pair_counts(kinds, clusters)
    chance, most = first * second / total, (first + second) / 2
    if len(set(kinds)) < 2:
        assert np.isnan(found.rand)
    elif most != chance:
        assert found.rand == pytest.approx((both - chance) / (most - chance))


def test_kinds_that_are_the_clusters_agree_fully_whatever_they_are_called():
    distances = [[0, 1, 9, 8], [1, 0, 8, 9], [9, 8, 0, 2], [8, 9, 2, 0]]
    found = agreement(distances, [7, 7, 3, 3], ["stop", "stop", "vowel", "vowel"])
    assert found.rand == 1
    assert found.silhouette == silhouette(distances, [0, 0, 1, 1])


def test_items_without_a_kind_or_cluster_are_not_compared():
    distances = np.full((4, 4), np.nan)
    distances[:3, :3] = [[0, 1, 9], [1, 0, 8], [9, 8, 0]]
    found = agreement(distances, [0, 0, 1, -1], ["a", "a", "b", "a"])
    assert found == agreement(distances[:3, :3], [0, 0, 1], ["a", "a", "b"])
    assert found.items == 3
    assert agreement(distances, [0, 0, 1, -1], ["a", None, "b", "a"]).items == 2


def test_one_kind_alone_agrees_with_nothing():
    found = agreement([[0, 1], [1, 0]], [0, 1], ["a", "a"])
    assert np.isnan(found.silhouette)
    assert np.isnan(found.rand)


def test_what_is_not_of_the_same_items_is_refused():
    for distances, clusters, kinds in [([0, 1], [0, 1], "ab"), ([[0, 1], [1, 0]], [0], "ab")]:
        with pytest.raises(ShapeError, match="not those of the same items"):
            agreement(distances, clusters, kinds)
