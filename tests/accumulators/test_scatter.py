import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import statistics as reference
from strategies import offset_rows, repeatable

from torchprobe.accumulators import Scatter


def scatter_of(rows, size):
    scatter = Scatter(rows.shape[1])
    for batch in rows.split(size):
        scatter.update(batch)
    return scatter


def test_worked_example():
    scatter = Scatter(2)
    scatter.update(torch.tensor([[0.0, 0], [2, 0]]))
    scatter.update(torch.tensor([[4.0, 2], [6, 4], [8, 6]]))
    assert int(scatter.count) == 5
    torch.testing.assert_close(scatter.mean, torch.tensor([4, 2.4]).double())
    torch.testing.assert_close(scatter.value, torch.tensor([[40, 32], [32, 27.2]]).double())


@repeatable
@given(rows=offset_rows(), size=st.sampled_from([1, 2, 7, 100]))
def test_scatter_keeps_its_digits_whatever_the_offset(rows, size):
    got, expected = scatter_of(rows, size).value.numpy(), reference.scatter(rows)
    spread = np.sqrt(np.diag(expected).astype(float))
    kappa = np.abs(rows.double().numpy()).max() / max((spread / np.sqrt(len(rows))).min(), 1e-300)
    assert (np.abs(got - expected) <= (1e-12 + 2.0**-50 * kappa) * np.outer(spread, spread)).all()


@repeatable
@given(rows=offset_rows(channels=5), size=st.sampled_from([2, 100]))
def test_scatter_is_symmetric_and_positive_semidefinite(rows, size):
    value = scatter_of(rows, size).value
    assert torch.equal(value, value.T)
    assert torch.linalg.eigvalsh(value).min() >= -1e-12 * value.trace()


def test_constant_columns_scatter_exactly_nothing():
    rows = torch.randn(20, 3, dtype=torch.float64)
    rows[:, 1] = 0.1
    value = scatter_of(rows, 7).value
    assert value[1].tolist() == [0.0, 0.0, 0.0]


def test_one_row_scatters_nothing():
    assert scatter_of(torch.ones(1, 2), 1).value.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_it_says_what_numpy_says():
    rows = torch.randn(50, 4) + 100
    expected = np.cov(rows.double().numpy().T) * 49
    np.testing.assert_allclose(scatter_of(rows, 9).value, expected, rtol=1e-11)
