import pytest
import torch

from torchprobe.accumulators.slots import any_dtype, check, float64, int64
from torchprobe.errors import MergeError

SLOTS = {"groups": int64("group"), "sums": float64("group", 3), "rows": any_dtype("item", 2)}
STATE = {
    "groups": torch.arange(4),
    "sums": torch.zeros(4, 3, dtype=torch.float64),
    "rows": torch.zeros(9, 2, dtype=torch.float16),
}


def test_a_state_that_fits_passes():
    check(SLOTS, STATE, "statistic")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sums": torch.zeros(5, 3).double()}, r"'sums' .* float64 \[group=4, 3\] .* \[5, 3\]"),
        ({"sums": torch.zeros(4, 3)}, r"float64 \[group=4, 3\] but is float32 \[4, 3\]"),
        ({"rows": torch.zeros(9, 3)}, r"'rows' .* numbers \[item=9, 2\] but is"),
        ({"groups": torch.tensor(4)}, r"'groups' .* int64 \[group\] but is int64 \[\]"),
        ({"more": torch.zeros(1)}, r"holds 'groups', 'sums', 'rows' but this .* 'more'"),
    ],
)
def test_a_state_that_does_not_fit_is_named(change, message):
    with pytest.raises(MergeError, match=message):
        check(SLOTS, STATE | change, "statistic")


def test_bytes_are_known_where_all_sizes_are():
    assert float64(3, 4).nbytes == 96
    assert int64().nbytes == 8
    assert float64("group", 4).nbytes == 0
