import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import statistics as reference
from strategies import offset_rows, repeatable, seeds

from torchprobe.accumulators import Groups, WithinScatter
from torchprobe.errors import LabelError, ShapeError


def scatter_of(rows, labels, size):
    scatter = WithinScatter(rows.shape[1])
    for part in zip(rows.split(size), labels.split(size), strict=True):
        scatter.update(*part)
    return scatter


def random_labels(n, seed):
    return torch.randint(-1, 3, (n,), generator=torch.Generator().manual_seed(seed))


@repeatable
@given(rows=offset_rows(), size=st.sampled_from([1, 2, 7, 100]), seed=seeds)
def test_every_part_is_that_of_the_formula(rows, size, seed):
    labels = random_labels(len(rows), seed)
    labels[0] = 0
    got = scatter_of(rows, labels, size)
    parts = reference.by_label(rows, labels)
    assert got.groups.tolist() == list(parts)
    assert got.counts.tolist() == [len(part) for part in parts.values()]
    largest = rows.double().abs().max().item()
    scale = np.abs(reference.scatter(rows)).max()
    close = {
        "rtol": 0,
        "atol": 1e-11 * scale + 1e-13 * largest * np.sqrt(scale) + 1e-25 * largest**2,
    }
    means = np.stack([reference.mean(part) for part in parts.values()])
    np.testing.assert_allclose(got.means, means.astype(float), rtol=1e-14)
    within, between = (
        reference.within_scatter(rows, labels),
        reference.between_scatter(rows, labels),
    )
    np.testing.assert_allclose(got.within, within.astype(float), **close)
    np.testing.assert_allclose(got.between, between.astype(float), **close)
    total = reference.scatter(rows[labels >= 0])
    np.testing.assert_allclose(got.total, total.astype(float), **close)


def test_noise_is_seen_beside_huge_differences_of_means():
    rows = torch.randn(3000, 3, dtype=torch.float64) * 1e-2
    labels = torch.arange(3000) % 3
    rows += labels[:, None] * 1e6
    got = scatter_of(rows, labels, 64)
    expected = reference.within_scatter(rows, labels).astype(float)
    np.testing.assert_allclose(got.within.diag(), np.diag(expected), rtol=1e-7)
    subtracted = got.total - got.between  # the other way to get it
    assert np.abs(subtracted.diag().numpy() / np.diag(expected) - 1).max() > 1e-2


def test_worked_example_of_discriminant_analysis():
    centres = torch.tensor([[-3.0, 0], [3, 0], [0, 4]])
    offsets = torch.tensor([[1.0, 0], [-1, 0], [0, 2], [0, -2]])
    rows = (centres[:, None] + offsets).flatten(0, 1)
    got = scatter_of(rows, torch.arange(3).repeat_interleave(4), 5)
    torch.testing.assert_close(got.grand_mean, torch.tensor([0, 4 / 3]).double())
    torch.testing.assert_close(got.within, torch.tensor([6.0, 24]).double().diag())
    torch.testing.assert_close(got.between, torch.tensor([72, 128 / 3]).double().diag())
    torch.testing.assert_close(got.total, torch.tensor([78, 200 / 3]).double().diag())


def test_rows_that_are_ignored_may_hold_anything():
    rows = torch.tensor([[torch.nan, 1], [1, 2], [3, 2], [torch.inf, 0]])
    got = scatter_of(rows, torch.tensor([-1, 4, 4, -1]), 4)
    assert got.within.tolist() == [[2.0, 0.0], [0.0, 0.0]]
    assert got.means.tolist() == [[2.0, 2.0]]


def test_a_bad_row_spoils_no_other_group():
    rows = torch.tensor([[torch.inf, 1], [1, 2], [3, 2]])
    got = scatter_of(rows, torch.tensor([0, 1, 1]), 3)
    assert got.means[1].tolist() == [2.0, 2.0]


def test_nothing_but_ignored_rows_is_nothing_seen():
    assert WithinScatter(2).reduce(torch.ones(3, 2), torch.full((3,), -1)) == {}


def test_few_rows_wait_as_rows_and_many_as_their_product():
    reduce = WithinScatter(4).reduce
    few = reduce(torch.randn(3, 4), torch.zeros(3).long())
    many = reduce(torch.randn(9, 4), torch.zeros(9).long())
    assert few["factor"].shape == (3, 4)
    assert many["scatter"].shape == (4, 4)


def test_groups_sorted_out_beforehand_are_taken():
    rows, labels = torch.randn(6, 2), torch.tensor([1, 1, -1, 5, 5, 5])
    got, expected = WithinScatter(2), WithinScatter(2)
    got.update(rows, Groups.of(labels))
    expected.update(rows, labels)
    assert torch.equal(got.within, expected.within)


def test_scatters_are_symmetric():
    got = scatter_of(torch.randn(40, 5), random_labels(40, 0), 3)
    for matrix in (got.within, got.between, got.total):
        assert torch.equal(matrix, matrix.T)
        assert torch.linalg.eigvalsh(matrix).min() >= -1e-12 * matrix.trace()


def test_labels_must_be_integers_one_per_row():
    with pytest.raises(LabelError, match="give integers"):
        WithinScatter(2).update(torch.ones(3, 2), torch.ones(3))
    with pytest.raises(ShapeError, match="3 rows have 4 labels"):
        WithinScatter(2).update(torch.ones(3, 2), torch.ones(4).long())


def test_counts_go_beyond_what_floats_can_count():
    got = scatter_of(torch.zeros(1, 1), torch.zeros(1).long(), 1)
    got.load_state_dict(got.state_dict() | {"counts": torch.tensor([2**53])})
    got.update(torch.zeros(1, 1), torch.zeros(1).long())
    assert got.counts.tolist() == [2**53 + 1]
