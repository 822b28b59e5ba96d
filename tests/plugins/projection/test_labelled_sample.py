import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references.projection import sampled
from strategies import batches, orders, repeatable
from torchprobe_projection.labelled_sample import LabelledSample

from torchprobe.errors import MergeError

N = 40
ROWS = torch.arange(2.0 * N).view(N, 2)
IDS = torch.arange(N) * 7 + 3
LABELS = {"parity": IDS % 2, "third": torch.where(IDS % 3 == 0, -1, IDS % 3)}


def fed(parts, n=12, seed=0):
    sample = LabelledSample(2, n, seed)
    for part in parts:
        groupings = {name: each[part] for name, each in LABELS.items()}
        sample.update(ROWS[part], IDS[part], groupings=groupings)
    return sample


def assert_same(one, two):
    mine, theirs = one.state_dict(), two.state_dict()
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_rows_are_those_whose_ids_have_the_smallest_hashes(seed):
    sample = fed([slice(None)], seed=seed)
    assert sample.ids.tolist() == sampled(IDS.tolist(), 12, seed)


def test_each_row_keeps_its_own_labels():
    sample = fed([slice(0, 9), slice(9, None)])
    assert torch.equal(sample.groupings["parity"], sample.ids % 2)
    third = sample.groupings["third"]
    assert torch.equal(third, torch.where(sample.ids % 3 == 0, -1, sample.ids % 3))
    assert torch.equal(sample.rows[:, 0] * 7, 2.0 * (sample.ids - 3))


@repeatable
@given(batches(N), st.permutations(range(5)))
def test_neither_batches_nor_their_order_matter(parts, order):
    shuffled = [parts[place] for place in order if place < len(parts)]
    rest = [part for place, part in enumerate(parts) if place >= len(order)]
    assert_same(fed([slice(None)]), fed([*rest, *shuffled]))


@repeatable
@given(orders(N), st.integers(0, N))
def test_merging_two_halves_equals_one_pass(order, cut):
    halves = [fed([torch.tensor(part)]) for part in (order[:cut], order[cut:]) if part]
    whole = halves[0] if len(halves) == 1 else halves[0].merge(halves[1])
    assert_same(fed([slice(None)]), whole)


def test_a_grouping_that_comes_late_leaves_earlier_rows_without_label():
    sample = LabelledSample(2, N)
    sample.update(ROWS[:20], IDS[:20])
    sample.update(ROWS[20:], IDS[20:], groupings={"parity": IDS[20:] % 2})
    expected = torch.where(sample.ids >= IDS[20], sample.ids % 2, -1)
    assert torch.equal(sample.groupings["parity"], expected)


def test_a_row_that_comes_twice_keeps_the_labels_that_came_first():
    sample = LabelledSample(1, 4)
    for label in (5, 6):
        sample.update(torch.ones(1, 1), torch.tensor([9]), groupings={"a": torch.tensor([label])})
    assert sample.groupings["a"].tolist() == [5]
    assert sample.ids.tolist() == [9]


def test_a_saved_state_is_restored_with_its_labels():
    sample, other = fed([slice(None)]), LabelledSample(2, 12)
    other.load_state_dict(sample.state_dict())
    assert_same(sample, other)
    assert list(other.groupings) == ["parity", "third"]


@pytest.mark.parametrize("broken", [torch.zeros(12), torch.zeros(3, dtype=torch.int64)])
def test_labels_that_do_not_fit_a_saved_state_are_refused(broken):
    state = {**fed([slice(None)]).state_dict(), "grouping:parity": broken}
    with pytest.raises(MergeError, match="int64 labels"):
        LabelledSample(2, 12).load_state_dict(state)


def test_planned_memory_covers_what_is_kept():
    assert LabelledSample(2, 12).nbytes >= fed([slice(None)]).nbytes


def test_rows_without_any_grouping_are_kept_too():
    sample = LabelledSample(2, 3)
    sample.update(ROWS, IDS)
    assert sample.groupings == {}
    assert len(sample.rows) == 3
