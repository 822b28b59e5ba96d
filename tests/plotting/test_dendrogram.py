import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import dendrogram, linkage

from torchprobe.plotting import Tree, draw_tree, figure
from torchprobe.plotting.dendrogram import merge_lines


def made(rows):
    merges = linkage(rows, "average")
    leaves = dendrogram(merges, no_plot=True)["leaves"]
    return Tree(merges, np.array(leaves))


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.integers(2, 30), st.integers(0, 99))
def test_lines_run_where_scipy_draws_them(items, seed):
    rows = np.random.default_rng(seed).normal(size=(items, 3))
    tree = made(rows)
    drawn = dendrogram(tree.linkage, no_plot=True)
    # scipy's leaves stand at 5, 15, 25, ...
    places = (np.array(drawn["icoord"]) - 5) / 10
    expected = np.stack([places, np.array(drawn["dcoord"])], axis=-1)
    ours = merge_lines(tree)
    assert sorted(map(_unordered, ours)) == sorted(map(_unordered, expected))


def _unordered(line):
    """A merge whichever of its legs comes first."""
    return min(line.round(9).tolist(), line[::-1].round(9).tolist())


def test_below_the_floor_nothing_is_drawn():
    tree = made(np.array([[0.0], [1], [5], [5.2]]))
    lines = merge_lines(tree, floor=0.9)
    assert lines[..., 1].min() == 0.9
    assert len(lines) == 2
    assert merge_lines(tree, floor=100.0).shape == (0, 4, 2)


def test_items_that_are_not_clustered_leave_no_gap():
    tree = made(np.array([[0.0], [1], [5]]))
    shifted = Tree(tree.linkage, np.array([0, 4, 9])[tree.order])
    assert np.array_equal(merge_lines(shifted), merge_lines(tree))


def test_a_chain_of_thousands_of_merges_is_drawn():
    merges = linkage(np.cumsum(np.arange(1.0, 3001))[:, None], "single")
    tree = Tree(merges, np.arange(3000))
    assert len(merge_lines(tree)) == 2999


@pytest.mark.parametrize("sideways", [False, True])
def test_leaves_stand_at_whole_numbers_along_the_axes(sideways):
    axes = figure(2, 2).add_subplot()
    draw_tree(axes, made(np.array([[0.0], [1], [5]])), sideways=sideways)
    limits = axes.get_ylim() if sideways else axes.get_xlim()
    assert sorted(limits) == [-0.5, 2.5]


def test_a_single_leaf_has_no_lines(drawn):
    sheet = figure(2, 2)
    draw_tree(sheet.add_subplot(), Tree(np.empty((0, 4)), np.array([3])))
    drawn(sheet)
