import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import statistics as reference
from strategies import repeatable, seeds

from torchprobe.accumulators import CrossScatter
from torchprobe.errors import ShapeError


@repeatable
@given(seed=seeds, size=st.sampled_from([1, 7, 100]), offset=st.sampled_from([0.0, 1e3, -1e6]))
def test_every_part_is_that_of_the_formula(seed, size, offset):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(40, 3, generator=generator, dtype=torch.float64) + offset
    y = x[:, :2] * 2 + torch.randn(40, 2, generator=generator, dtype=torch.float64)
    got = CrossScatter(3, 2)
    for pair in zip(x.split(size), y.split(size), strict=True):
        got.update(*pair)
    close = {"rtol": 1e-9, "atol": 1e-12 * max(1, abs(offset)) * 40}
    np.testing.assert_allclose(got.mean_x, reference.mean(x).astype(float), rtol=1e-13)
    np.testing.assert_allclose(got.mean_y, reference.mean(y).astype(float), rtol=1e-12)
    np.testing.assert_allclose(got.value, reference.cross_scatter(x, y).astype(float), **close)
    for squares, rows in ((got.squares_x, x), (got.squares_y, y)):
        np.testing.assert_allclose(squares, float(np.trace(reference.scatter(rows))), rtol=1e-9)


def test_rows_must_come_in_pairs():
    with pytest.raises(ShapeError, match="3 rows of x and 2 of y"):
        CrossScatter(1, 1).update(torch.ones(3, 1), torch.ones(2, 1))


def test_what_alignment_needs_is_there():
    x = torch.randn(30, 2, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(2, 2, dtype=torch.float64)).Q
    got = CrossScatter(2, 2)
    got.update(x, 3 * x @ rotation + 5)
    u, values, v = torch.linalg.svd(got.value)
    torch.testing.assert_close(u @ v, rotation)
    torch.testing.assert_close(values.sum() / got.squares_x, torch.tensor(3.0).double())
    torch.testing.assert_close(got.squares_y, 9 * got.squares_x)
