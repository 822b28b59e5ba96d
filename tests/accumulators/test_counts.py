import pytest
import torch

from torchprobe.accumulators import Counts
from torchprobe.errors import SettingError


def test_counts_and_fractions():
    counts = Counts((1, 2))
    counts.update(torch.tensor([[[True, False]], [[True, True]]]))
    counts.update(torch.tensor([[[False, False]], [[True, False]]]))
    assert counts.value.tolist() == [[3, 1]]
    assert counts.fraction.tolist() == [[0.75, 0.25]]


def test_small_integers_do_not_overflow():
    counts = Counts(1)
    counts.update(torch.full((1000, 1), 200, dtype=torch.uint8))
    assert counts.value.item() == 200_000


def test_large_integers_are_added_exactly():
    counts = Counts(1)
    counts.update(torch.tensor([[2**60], [1]]))
    assert counts.value.item() == 2**60 + 1


def test_counts_go_beyond_what_floats_can_count():
    for large in (2**24, 2**53):
        counts = Counts(1)
        counts.load_state_dict({"count": torch.tensor(large), "sum": torch.tensor([large])})
        counts.update(torch.ones(1, 1).bool())
        assert counts.value.item() == int(counts.count) == large + 1


def test_fractions_of_numbers_are_refused():
    with pytest.raises(SettingError, match=r"rows are torch.float32; compare them first"):
        Counts(1).update(torch.ones(2, 1))
