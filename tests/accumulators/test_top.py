import torch
from hypothesis import given
from hypothesis import strategies as st
from references import statistics as reference
from strategies import repeatable

from torchprobe.accumulators import Top

scores = st.sampled_from([-1.0, 0.0, 0.5, 2.0, float("inf"), float("-inf"), float("nan")])
items = st.lists(st.tuples(st.integers(-9, 9), scores), min_size=1, max_size=30)


def fed(top, ids, scores, size=4, labels=None):
    for at in torch.arange(len(ids)).split(size):
        top.update(ids[at, None], ids[at], scores[at], None if labels is None else labels[at])
    return top


@repeatable
@given(items=items, n=st.integers(1, 6), largest=st.booleans(), size=st.integers(1, 9))
def test_the_best_stay_and_ties_go_to_the_smaller_id(items, n, largest, size):
    ids, values = [i for i, _ in items], [score for _, score in items]
    top = fed(Top(n, 1, largest=largest), torch.tensor(ids), torch.tensor(values), size)
    expected = reference.top_ids(ids, values, n, largest=largest)
    assert (top.ids.tolist() if top.state else []) == expected
    if expected:
        assert top.rows[:, 0].tolist() == expected
        assert sorted(top.scores.tolist(), reverse=largest) == top.scores.tolist()


def test_each_group_has_its_own_best():
    labels = torch.tensor([1, 1, 1, 0, 0, -1])
    values = torch.tensor([3.0, 9, 5, 1, 2, 99])
    top = fed(Top(2, 1, per_group=True), torch.arange(6), values, labels=labels)
    assert top.ids.tolist() == [4, 3, 1, 2]
    assert top.labels.tolist() == [0, 0, 1, 1]
    assert top.scores.tolist() == [2.0, 1.0, 9.0, 5.0]


def test_scores_in_half_precision_are_compared_as_delivered():
    values = torch.tensor([0.1, 0.2, 0.3], dtype=torch.bfloat16)
    top = fed(Top(1, 1, largest=False), torch.arange(3), values)
    assert top.scores.item() == values[0].double().item()
