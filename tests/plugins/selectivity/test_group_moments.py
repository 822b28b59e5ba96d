import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchprobe_selectivity.group_moments import GroupMoments

from torchprobe.accumulators import GroupMeans
from torchprobe.errors import EmptyStateError, MergeError, ShapeError

small = settings(derandomize=True, deadline=None, max_examples=40)


def data(n=60, channels=3, groups=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, channels, generator=generator)
    return rows, torch.randint(-1, groups, (n,), generator=generator)


def squares_by_numpy(rows, labels):
    rows, labels = rows.double().numpy(), labels.numpy()
    each = [rows[labels == k] for k in np.unique(labels[labels >= 0])]
    return np.array([((group - group.mean(0)) ** 2).sum(0) for group in each])


@small
@given(st.lists(st.integers(0, 20), min_size=1, max_size=8), st.integers(0, 99))
def test_any_cut_into_batches_gives_numpy_s_squares(sizes, seed):
    rows, labels = data(sum(sizes), seed=seed)
    moments = GroupMoments(3)
    for part, of_part in zip(rows.split(sizes), labels.split(sizes), strict=True):
        moments.update(part, of_part)
    if (labels >= 0).any():
        expected = squares_by_numpy(rows, labels)
        assert np.allclose(moments.squares, expected, rtol=1e-11, atol=1e-12)


def test_means_are_those_of_group_means_to_the_bit():
    rows, labels = data()
    moments, means = GroupMoments(3), GroupMeans(3)
    for start in (0, 7, 31):
        moments.update(rows[start:], labels[start:])
        means.update(rows[start:], labels[start:])
    assert torch.equal(moments.value, means.value)


def test_groups_far_from_0_keep_their_spread():
    rows, labels = data(2000)
    rows = rows.double() * 1e-2 + 1e6
    moments = GroupMoments(3)
    for part, of_part in zip(rows.split(64), labels.split(64), strict=True):
        moments.update(part, of_part)
    assert np.allclose(moments.squares, squares_by_numpy(rows, labels), rtol=1e-6)


def test_merging_disjoint_groups_keeps_each():
    one, two = GroupMoments(1), GroupMoments(1)
    one.update(torch.tensor([[1.0], [3.0]]), torch.tensor([7, 7]))
    two.update(torch.tensor([[5.0], [9.0]]), torch.tensor([2, 2]))
    assert one.merge(two).groups.tolist() == [2, 7]
    assert one.squares.tolist() == [[8.0], [2.0]]


def test_relabelling_moves_every_statistic_along():
    moments = GroupMoments(1)
    moments.update(torch.tensor([[0.0], [2], [5]]), torch.tensor([3, 3, 8]))
    moments.relabel({3: 1, 8: 0})
    assert moments.groups.tolist() == [0, 1]
    assert moments.counts.tolist() == [1, 2]
    assert moments.squares.tolist() == [[0.0], [2.0]]


def test_maps_are_rows_of_any_shape():
    rows, labels = data(30, channels=6)
    flat, maps = GroupMoments(6), GroupMoments((2, 3))
    flat.update(rows, labels)
    maps.update(rows.view(30, 2, 3), labels)
    assert torch.equal(maps.squares.flatten(1), flat.squares)


def test_a_saved_state_fits_only_its_own_kind():
    rows, labels = data()
    moments = GroupMoments(3)
    moments.update(rows, labels)
    other = GroupMoments(3)
    other.load_state_dict(moments.state_dict())
    assert torch.equal(other.squares, moments.squares)
    with pytest.raises(MergeError, match="squares"):
        GroupMeans(3).load_state_dict(moments.state_dict())


def test_nothing_seen_is_an_error_and_a_batch_of_ignored_rows_is_nothing():
    moments = GroupMoments(2)
    moments.update(torch.ones(3, 2), torch.full((3,), -1))
    with pytest.raises(EmptyStateError):
        _ = moments.squares


def test_rows_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match="expected"):
        GroupMoments(2).update(torch.ones(3, 4), torch.zeros(3, dtype=torch.long))
