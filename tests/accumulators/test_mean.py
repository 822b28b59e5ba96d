import torch
from hypothesis import given
from references import statistics as reference
from strategies import offset_rows, repeatable

from torchprobe.accumulators import Mean


@repeatable
@given(rows=offset_rows())
def test_mean_is_that_of_the_values_as_delivered(rows):
    mean = Mean(3)
    for batch in rows.split(7):
        mean.update(batch)
    expected = torch.from_numpy(reference.mean(rows).astype("float64"))
    largest = rows.double().abs().max()
    torch.testing.assert_close(mean.value, expected, rtol=1e-12, atol=float(1e-15 * largest))


def test_half_precision_sums_are_not_biased():
    mean = Mean(1)
    for _ in range(50):
        mean.update(torch.full((1000, 1), 0.1, dtype=torch.bfloat16))
    assert mean.value == torch.tensor(0.1, dtype=torch.bfloat16).double()


def test_booleans_give_fractions():
    mean = Mean(2)
    mean.update(torch.tensor([[True, False], [True, True]]))
    assert mean.value.tolist() == [1.0, 0.5]


def test_counts_go_beyond_what_floats_can_count():
    mean = Mean(1)
    mean.load_state_dict({"count": torch.tensor(2**53), "sum": torch.zeros(1).double()})
    mean.update(torch.zeros(1, 1))
    assert int(mean.count) == 2**53 + 1


def test_rows_may_be_single_numbers():
    loss = Mean(())
    loss.update(torch.tensor([1.0, 2, 6]))
    assert float(loss.value) == 3.0
