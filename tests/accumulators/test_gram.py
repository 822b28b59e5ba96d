import torch

from torchprobe.accumulators import Gram, QRFactor


def fed(accumulator, rows, size=7):
    for batch in rows.split(size):
        accumulator.update(batch)
    return accumulator


def test_gram_matrix_is_that_of_all_rows():
    rows = torch.randn(50, 9)
    got = fed(Gram(9), rows)
    torch.testing.assert_close(got.value, rows.double().T @ rows.double())
    assert torch.equal(got.value, got.value.T)
    assert int(got.count) == 50


def test_every_node_has_its_own_gram_matrix():
    jacobians = torch.randn(20, 4, 3)  # [sample, node, input]
    for size in (2, 20):
        got = fed(Gram(3, leading=4), jacobians, size)
        expected = torch.einsum("imf,img->mfg", jacobians.double(), jacobians.double())
        torch.testing.assert_close(got.value, expected)


def test_worked_example_of_the_sample_dependent_transform():
    jacobians = torch.tensor([[2.0, -1], [0, 2], [2, 1]])
    assert fed(Gram(2), jacobians, 2).value.tolist() == [[8.0, 0.0], [0.0, 6.0]]


def test_few_rows_wait_as_rows():
    assert Gram(4).reduce(torch.randn(3, 4))["factor"].shape == (3, 4)
    assert Gram(4, 2).reduce(torch.randn(3, 2, 4))["factor"].shape == (2, 3, 4)
    assert Gram(4).reduce(torch.randn(4, 4))["gram"].shape == (4, 4)


def test_factor_has_the_singular_values_of_all_rows():
    rows = torch.randn(50, 4, dtype=torch.float64)
    got = fed(QRFactor(4), rows).value
    assert got.shape == (4, 4)
    torch.testing.assert_close(torch.linalg.svdvals(got), torch.linalg.svdvals(rows))


def test_factor_keeps_singular_values_that_a_gram_matrix_loses():
    scales = torch.tensor([1.0, 1e-6, 1e-12], dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    rows = torch.linalg.qr(torch.randn(60, 3, dtype=torch.float64)).Q * scales @ rotation
    got = torch.linalg.svdvals(fed(QRFactor(3), rows).value)
    torch.testing.assert_close(got, scales, rtol=1e-3, atol=0)
    lost = torch.linalg.eigvalsh(fed(Gram(3), rows).value)[0].clamp(min=0).sqrt()
    assert not 0.5e-12 < lost < 2e-12


def test_factor_of_few_rows_is_as_small_as_they_are():
    assert fed(QRFactor(5), torch.randn(3, 5), 1).value.shape == (3, 5)
