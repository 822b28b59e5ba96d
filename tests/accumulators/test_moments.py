import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import statistics as reference
from strategies import offset_rows, repeatable

from torchprobe.accumulators import Moments


def moments_of(rows, size=None):
    moments = Moments(rows.shape[1:])
    for batch in rows.split(size or len(rows)):
        moments.update(batch)
    return moments


@repeatable
@given(rows=offset_rows(), size=st.sampled_from([1, 2, 7, 100]))
def test_variance_keeps_its_digits_whatever_the_offset(rows, size):
    got = moments_of(rows, size).variance().numpy()
    expected = reference.variance(rows)
    kappa = np.abs(reference.mean(rows)) / np.sqrt(np.maximum(expected, np.finfo(float).tiny))
    assert (np.abs(got - expected) <= (1e-12 + 2.0**-52 * kappa) * expected).all()


def test_variance_at_a_million_deviations_from_zero():
    rows = torch.randn(20_000, 2, dtype=torch.float64) + 1e6
    got, expected = moments_of(rows, 64).variance().numpy(), reference.variance(rows)
    assert np.abs(got / expected - 1).max() < 1e-10
    naive = rows.square().sum(0) / len(rows) - rows.mean(0).square()
    assert np.abs(naive.numpy() / expected - 1).max() > 1e-5  # what this is for


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 995.0, 0.1, -1e-3, 3e4])
def test_a_constant_column_has_variance_exactly_zero(dtype, value):
    rows = torch.full((17, 1), value, dtype=dtype)
    for size in (1, 5, 17):
        moments = moments_of(rows, size)
        assert moments.variance().item() == 0.0
        assert moments.mean.item() == rows[0].double().item()


def test_no_constant_is_too_odd_to_have_variance_zero():
    values = torch.randn(200, dtype=torch.float64)
    rows = values.expand(1000, 200)
    assert (rows - rows.mean(0)).any()  # means of equal numbers are not those numbers
    moments = moments_of(rows, 300)
    assert torch.equal(moments.mean, values)
    assert not moments.variance().any()


@repeatable
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20), size=st.integers(1, 5))
def test_variance_is_never_negative(values, size):
    assert moments_of(torch.tensor(values).double()[:, None], size).variance().item() >= 0.0


def test_too_few_rows_have_no_variance():
    one, two = torch.ones(1, 2), torch.tensor([[0.0, 1], [2, 1]])
    assert moments_of(one).variance() is None
    assert moments_of(one).std(ddof=0) is None
    assert moments_of(two).variance(ddof=2) is None
    assert moments_of(two).variance().tolist() == [2.0, 0.0]
    assert moments_of(two).std(ddof=0).tolist() == [1.0, 0.0]


def test_worked_example():
    moments = Moments(2)
    moments.update(torch.tensor([[0.0, 0], [2, 0]]))
    moments.update(torch.tensor([[4.0, 2], [6, 4], [8, 6]]))
    assert int(moments.count) == 5
    torch.testing.assert_close(moments.mean, torch.tensor([4, 2.4]).double())
    torch.testing.assert_close(moments.variance(0) * 5, torch.tensor([40, 27.2]).double())


def test_it_says_what_numpy_says():
    rows = torch.randn(50, 4)
    np.testing.assert_allclose(moments_of(rows, 7).std(), rows.double().numpy().std(0, ddof=1))


def test_huge_counts_do_not_overflow():
    moments = Moments(1)
    n = 2**60
    state = {"count": torch.tensor(n), "mean": torch.zeros(1).double()}
    moments.load_state_dict({**state, "squares": torch.full((1,), float(n)).double()})
    moments.merge(moments)
    assert int(moments.count) == 2 * n
    assert moments.variance(0).item() == 1.0


def test_maps_keep_their_shape():
    rows = torch.randn(5, 2, 3)
    moments = moments_of(rows, 2)
    assert moments.mean.shape == moments.variance().shape == (2, 3)
    torch.testing.assert_close(moments.mean, rows.double().mean(0))
