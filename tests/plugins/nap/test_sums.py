"""Sums made at once, as on an accelerator, and sums made when a batch is absorbed are the same."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchprobe_nap.profile_sums import ProfileSums
from torchprobe_nap.sums import Maps, WindowedRows, sum_maps, sum_windows, with_rest

from torchprobe.accumulators import Groups
from torchprobe.errors import EmptyStateError, ShapeError

some = settings(derandomize=True, deadline=None, max_examples=40)


def same(one, two):
    assert one.state.keys() == two.state.keys()
    for name, tensor in one.state.items():
        assert torch.allclose(tensor, two.state[name], rtol=1e-12, atol=1e-12), name


def labels(n, seed):
    return torch.randint(-1, 3, (n,), generator=torch.Generator().manual_seed(seed))


@some
@given(
    n=st.integers(1, 90), width=st.integers(1, 5), every=st.integers(1, 9), seed=st.integers(0, 9)
)
def test_windows(n, width, every, seed):
    """Also where some windows are left out, so that they do not begin one after the other."""
    rows = torch.randn(n + width, 3, dtype=torch.float64)
    starts = torch.arange(n)[torch.arange(n) % every != every - 1] if every > 1 else torch.arange(n)
    groups = with_rest(Groups.of(labels(len(starts), seed)))
    once, later = ProfileSums(3), ProfileSums(3)
    for _ in range(2):
        once.update(sum_windows(rows, starts, groups, width))
        later.update(WindowedRows(groups, rows, starts, width))
    same(once, later)


def test_windows_are_the_same_where_torch_has_no_sparse_kernels(monkeypatch):
    rows, starts = torch.randn(40, 3, dtype=torch.float64), torch.arange(35)
    cut = WindowedRows(with_rest(Groups.of(labels(35, 0))), rows, starts, width=5)
    with_kernels = cut.sums_at(range(1, 4))
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    torch.testing.assert_close(cut.sums_at(range(1, 4)), with_kernels, rtol=1e-14, atol=1e-14)


@some
@given(n=st.integers(1, 9), seed=st.integers(0, 9), channels_first=st.booleans())
def test_maps(n, seed, channels_first):
    groups = with_rest(Groups.of(labels(n, seed)))
    once, later = ProfileSums(3), ProfileSums(3)
    for step in range(2):
        maps = torch.randn(n, 4, 3, generator=torch.Generator().manual_seed(step))
        once.update(sum_maps(maps.double().flatten(0, 1), groups, 4))
        if channels_first:  # as batches come
            held = later.scratch(n, 3, 4, dtype=torch.float32).transpose(1, 2)
        else:
            held = later.scratch(n, 4, 3, dtype=torch.float32)
        later.update(Maps(groups, held.copy_(maps)))
    same(once, later)


def test_memory_is_used_again():
    sums, groups = ProfileSums(3), Groups.of(torch.tensor([0, 1]))
    places = set()
    for _ in range(4):
        maps = sums.scratch(2, 3, 4, dtype=torch.float32).fill_(1.0)
        places.add(maps.data_ptr())
        sums.update(Maps(groups, maps.transpose(1, 2)))
    assert len(places) == 1
    assert sums.scratch(1, 3, 4, dtype=torch.float32).shape == (1, 3, 4)
    assert sums.mean.tolist() == [[[1.0] * 3] * 4] * 2


def test_what_has_no_label_is_in_the_mean_of_everything_alone():
    sums = ProfileSums(1)
    rows = torch.tensor([[1.0], [3], [8]], dtype=torch.float64)
    sums.update(sum_maps(rows, Groups.of(torch.tensor([5, 5, -1])), 1))
    assert (sums.groups.tolist(), sums.counts.tolist()) == ([5], [2])
    assert (sums.mean.tolist(), sums.overall.tolist()) == ([[[2.0]]], [[4.0]])
    sums.relabel({5: 0})
    assert (sums.groups.tolist(), sums.overall.tolist()) == ([0], [[4.0]])


def test_maps_of_another_width_are_refused_and_no_label_is_told():
    sums, rows = ProfileSums(1), torch.ones(4, 1, dtype=torch.float64)
    sums.update(sum_maps(rows, Groups.of(torch.tensor([-1, -1])), 2))
    with pytest.raises(EmptyStateError, match="none was complete"):
        _ = sums.groups
    with pytest.raises(ShapeError, match="maps of 4 positions follow maps of 2"):
        sums.update(sum_maps(rows, Groups.of(torch.tensor([0])), 4))
