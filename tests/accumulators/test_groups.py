import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import repeatable

from torchprobe.accumulators import Groups
from torchprobe.accumulators.groups import align, relabelled, union

labels = st.lists(st.integers(-3, 5), max_size=20).map(lambda x: torch.tensor(x).long())


@repeatable
@given(labels=labels)
def test_groups_and_labels_say_the_same(labels):
    groups = Groups.of(labels)
    present = sorted({int(label) for label in labels if label >= 0})
    assert groups.values.tolist() == present
    assert groups.counts.tolist() == [int((labels == label).sum()) for label in present]
    assert torch.equal(groups.labels, labels.clamp(min=-1))
    assert torch.equal(groups.one_hot @ torch.ones(len(labels)).double(), groups.counts.double())


@repeatable
@given(labels=labels)
def test_members_are_the_rows_that_are_not_ignored(labels):
    groups = Groups.of(labels)
    kept = slice(None) if groups.kept is None else groups.kept
    assert torch.equal(labels[kept], labels[labels >= 0])
    assert torch.equal(groups.members.labels, labels[labels >= 0])
    assert torch.equal(groups.members.counts, groups.counts)


@repeatable
@given(mine=labels, other=labels)
def test_rows_move_to_where_their_group_stands(mine, other):
    mine, other = Groups.of(mine).values, Groups.of(other).values
    both = union(mine, other)
    assert both.tolist() == sorted({*mine.tolist(), *other.tolist()})
    moved = align(mine + 1, mine, both)
    assert moved.tolist() == [label + 1 if label in mine else 0 for label in both.tolist()]


def test_relabelling_sorts_again():
    groups, order = relabelled(torch.tensor([0, 1, 5]), {0: 9, 1: 2})
    assert groups.tolist() == [2, 5, 9]
    assert order.tolist() == [1, 2, 0]
