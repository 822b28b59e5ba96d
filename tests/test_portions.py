"""Shares of loaders: disjoint, complete, from any batch on."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from torchprobe.errors import SettingError
from torchprobe.portions import portion

PROPERTY = settings(max_examples=60, derandomize=True, deadline=None, database=None)


class Stream(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return iter(range(self.n))


KINDS = {
    "data set": lambda n, size: DataLoader(range(n), batch_size=size),
    "stream": lambda n, size: DataLoader(Stream(n), batch_size=size),
    "list": lambda n, size: [*DataLoader(range(n), batch_size=size)],
    "generator": lambda n, size: (each for each in DataLoader(range(n), batch_size=size)),
}


def seen(kind, n, size, share, **options):
    found = portion(KINDS[kind](n, size), share, size_of=len, **options)
    return [(item.place, item.raw.tolist()) for item in found.items]


@PROPERTY
@given(
    st.sampled_from([*KINDS]),
    st.integers(0, 30),
    st.integers(1, 5),
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(1, 8)),
)
def test_shares_are_disjoint_and_complete_and_know_their_places(kind, n, size, many, most):
    whole = [batch.tolist() for batch in DataLoader(range(n), batch_size=size)][:most]
    shares = [seen(kind, n, size, (rank, many), most=most) for rank in range(many)]
    everything = [pair for share in shares for pair in share]
    assert sorted(batch for _, batch in everything) == whole
    for place, batch in everything:
        assert place in (None, batch[0])
        assert place is not None or (many == 1 and kind != "data set")


@PROPERTY
@given(st.sampled_from([*KINDS]), st.integers(1, 3), st.integers(0, 9))
def test_what_was_seen_is_skipped_and_the_rest_is_the_same(kind, many, skip):
    for rank in range(many):
        whole = seen(kind, 21, 2, (rank, many))
        assert seen(kind, 21, 2, (rank, many), skip=skip) == whole[skip:]


@PROPERTY
@given(st.integers(1, 23), st.integers(1, 4), st.booleans(), st.booleans())
def test_repeats_of_a_distributed_sampler_are_left_out(n, many, shuffle, drop):
    ids = []
    for rank in range(many):
        sampler = DistributedSampler(range(n), many, rank, shuffle=shuffle, drop_last=drop)
        loader = DataLoader(range(n), batch_size=3, sampler=sampler)
        for item in portion(loader, (rank, many)).items:
            assert item.raw.tolist() == item.ids
            ids += item.ids
    assert len(set(ids)) == len(ids)
    assert drop or len(ids) == n


def test_a_sampler_for_another_process_is_refused():
    loader = DataLoader(range(8), sampler=DistributedSampler(range(8), 2, 0))
    with pytest.raises(SettingError, match="for process 0 of 2, this is 1 of 2"):
        portion(loader, (1, 2))


def test_orders_tell_loaders_apart():
    loaders = [
        DataLoader(range(20), batch_size=4),
        DataLoader(range(21), batch_size=4),
        DataLoader(range(20), batch_size=5),
        DataLoader(range(20), batch_size=4, sampler=range(19, -1, -1)),
        DataLoader(range(1, 21), batch_size=4),
        DataLoader(range(20), sampler=DistributedSampler(range(20), 1, 0)),
        [torch.arange(4)],
        [torch.arange(5)],
    ]
    orders = [portion(loader).order for loader in loaders]
    assert len(set(orders)) == len(orders)
    assert portion(loaders[0]).order == orders[0]
    assert portion(loaders[0], (1, 2)).order == orders[0]


def test_samples_that_are_random_tell_nothing():
    class Noise(list):
        def __getitem__(self, at):
            return torch.rand(())

    loader = DataLoader(Noise(range(6)), batch_size=2)
    assert portion(loader).order == portion(loader).order
