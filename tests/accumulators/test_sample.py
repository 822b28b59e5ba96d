import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import statistics as reference
from scipy.stats import chisquare
from strategies import repeatable

from torchprobe.accumulators import BoundedSample
from torchprobe.accumulators.sample import hash_order
from torchprobe.errors import LabelError, MergeError, SettingError

ids_of_any_size = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30)


def unsigned(order):
    return [(value + 2**63) for value in order.tolist()]


def fed(sample, ids, labels=None, size=5):
    ids = torch.tensor(ids, dtype=torch.int64)
    for at in torch.arange(len(ids)).split(size):
        rows = ids[at, None].double()
        sample.update(rows, ids[at], None if labels is None else labels[at])
    return sample


def test_worked_example():
    hashes = unsigned(hash_order(torch.arange(8), seed=0))
    assert hashes[0] == 0xE220A8397B1DCDAF
    assert hashes[3] == 0x1D0B14E4DB018FED
    assert sorted(fed(BoundedSample(1, n=3), range(8)).ids.tolist()) == [3, 5, 7]


@repeatable
@given(ids=ids_of_any_size, seed=st.integers(-(2**63), 2**64 - 1))
def test_hashes_are_those_of_whole_numbers(ids, seed):
    got = unsigned(hash_order(torch.tensor(ids, dtype=torch.int64), seed))
    assert got == [reference.splitmix64((i ^ seed) & reference.MASK) for i in ids]


@repeatable
@given(ids=ids_of_any_size, n=st.integers(1, 8), seed=st.integers(0, 99), size=st.integers(1, 9))
def test_the_rows_with_the_smallest_hashes_stay(ids, n, seed, size):
    ids += ids[:4]  # what a distributed sampler repeats
    sample = fed(BoundedSample(1, n, seed), ids, size=size)
    if ids:
        assert sample.ids.tolist() == reference.sample_ids(ids, n, seed)
        assert torch.equal(sample.rows[:, 0], sample.ids.double())


@repeatable
@given(labels=st.lists(st.integers(-1, 3), min_size=1, max_size=40), n=st.integers(1, 4))
def test_every_group_has_a_sample_of_its_own(labels, n):
    sample = fed(BoundedSample(1, n, per_group=True), range(len(labels)), torch.tensor(labels))
    expected = [
        i
        for group in sorted({label for label in labels if label >= 0})
        for i in reference.sample_ids([i for i, k in enumerate(labels) if k == group], n, 0)
    ]
    got = sample.ids.tolist() if sample.state else []
    assert got == expected
    assert [labels[i] for i in got] == (sample.labels.tolist() if got else [])


def test_every_id_is_as_likely_to_stay():
    hits = np.zeros(20)
    for seed in range(400):
        hits[fed(BoundedSample(1, n=5, seed=seed), range(20), size=20).ids.numpy()] += 1
    assert chisquare(hits).pvalue > 1e-3


def test_rows_keep_their_dtype_or_the_wider_one():
    sample = BoundedSample(2, n=3)
    sample.update(torch.ones(2, 2, dtype=torch.bfloat16), torch.arange(2))
    assert sample.rows.dtype == torch.bfloat16
    sample.update(torch.full((6, 2), 0.1), torch.arange(2, 8))
    assert sample.rows.dtype == torch.float32
    assert sample.rows.max() == torch.tensor(0.1)


def test_a_row_that_cannot_enter_is_not_copied():
    sample = fed(BoundedSample(1, n=3), range(8))
    late = torch.tensor([0, 1, 2, 4, 6])
    assert sample.reduce(torch.ones(5, 1), late) == {}


def test_ignored_rows_are_left_out_and_unlabelled_ones_are_not():
    assert fed(BoundedSample(1), range(3), torch.tensor([-1, 4, -1])).ids.tolist() == [1]
    assert fed(BoundedSample(1), range(3)).labels.tolist() == [-1, -1, -1]


def test_samples_of_different_seeds_do_not_mix():
    state = fed(BoundedSample(1, n=3, seed=1), range(8)).state_dict()
    with pytest.raises(MergeError, match="drawn with another seed than 0"):
        BoundedSample(1, n=3).load_state_dict(state)


def test_planned_memory_is_kept():
    sample = BoundedSample(4, n=10)
    assert sample.nbytes == 10 * (24 + 4 * 8)
    sample.update(torch.ones(50, 4).double(), torch.arange(50))
    assert sample.nbytes == 10 * (24 + 4 * 8)


def test_arguments_are_checked():
    with pytest.raises(LabelError, match=r"ids are torch\.int32"):
        BoundedSample(1).update(torch.ones(2, 1), torch.arange(2).int())
    with pytest.raises(LabelError, match="per_group=True needs labels"):
        BoundedSample(1, per_group=True).update(torch.ones(2, 1), torch.arange(2))
    with pytest.raises(SettingError, match="at least 1"):
        BoundedSample(1, n=0)
