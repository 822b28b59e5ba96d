import pytest
import torch

from torchprobe.accumulators.products import add_product_, product, symmetric


@pytest.mark.parametrize("shape", [(5, 3), (1, 4), (0, 3), (2, 5, 3), (2, 0, 3), (7, 1)])
def test_products_add_up_in_the_lower_triangle(shape):
    rows = torch.randn(shape, dtype=torch.float64)
    matrix = torch.zeros(*shape[:-2], shape[-1], shape[-1], dtype=torch.float64)
    add_product_(matrix, rows)
    add_product_(matrix, rows)
    torch.testing.assert_close(symmetric(matrix), 2 * rows.mT @ rows)


def test_symmetric_reads_only_the_lower_triangle():
    matrix = torch.tensor([[1.0, 99], [2, 3]])
    assert symmetric(matrix).tolist() == [[1.0, 2.0], [2.0, 3.0]]


def test_product_is_exactly_symmetric():
    rows = torch.randn(30, 7, dtype=torch.float64)
    got = product(rows.T.contiguous().T)
    assert torch.equal(got, got.T)
    torch.testing.assert_close(got, rows.T @ rows)
