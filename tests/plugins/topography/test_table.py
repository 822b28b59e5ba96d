"""Products of neighbouring filters: all kernels against the matrices that they stand for."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchprobe_topography import Grid, Neighbourhood, TopographicLoss, loops, similarity, table
from torchprobe_topography.neighbourhood import Pairs
from torchprobe_topography.patterns import Jobs, _paired
from torchprobe_topography.side_by_side import ADDED, use_side_by_side
from torchprobe_topography.similarity import cosines_of
from torchprobe_topography.table import Table, _entries, kernel_for

from torchprobe.compiled import compiled

KERNELS = ["loops", "sparse", "gather"]


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def table_of(pairs, kernel, dtype=torch.float64):
    return Table(pairs, torch.device("cpu"), dtype, kernel)


def gram_of(found, filters):
    jobs = Jobs()
    gram = found.gram(filters, jobs)
    jobs.run()
    return gram()


def gradient_of(found, filters, gradient=None, dead=()):
    """What a table adds to a gradient for some coefficients: [unit, feature]."""
    gradient = torch.zeros_like(filters) if gradient is None else gradient
    own = random(len(filters), seed=1, dtype=filters.dtype)
    across = random(len(found.first), seed=2, dtype=filters.dtype)
    alive = torch.ones(len(filters)).bool()
    alive[list(dead)] = False
    jobs, sides = Jobs(), (across * alive[found.first], across * alive[found.second])
    found.add_product_(gradient, filters, torch.cat([own * alive, *sides]), jobs)
    jobs.run()
    matrix = own.diag()
    matrix[found.first, found.second] = matrix[found.second, found.first] = across
    return gradient, (matrix * alive[:, None]) @ filters


@st.composite
def neighbours(draw):
    """Pairs of a grid, with cells left empty where the border allows it."""
    size, border = draw(st.sampled_from([3, 5, 7])), draw(st.sampled_from(["truncate", "wrap"]))
    least = size if border == "wrap" else 1
    rows, columns = draw(st.integers(least, 9)), draw(st.integers(least, 9))
    empty = draw(st.integers(0, columns - 1)) if border == "truncate" and rows > 1 else 0
    return Neighbourhood(size, border).pairs(Grid(rows, columns, rows * columns - empty))


@pytest.mark.parametrize("kernel", KERNELS)
@settings(deadline=None, max_examples=25)
@given(pairs=neighbours(), features=st.integers(1, 40), dead=st.booleans())
def test_they_equal_the_matrices(kernel, pairs, features, dead):
    filters, found = random(pairs.units, features), table_of(pairs, kernel)
    gram = filters @ filters.T
    expected = torch.cat([gram.diagonal(), gram[pairs.first, pairs.second]])
    assert torch.allclose(gram_of(found, filters), expected, atol=1e-12)
    before = random(pairs.units, features, seed=3)
    gradient, added = gradient_of(found, filters, before.clone(), [0] if dead else [])
    assert torch.allclose(gradient, before + added, atol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_single_precision_is_good_for_six_digits_in_long_rows(kernel):
    pairs, filters = Neighbourhood().pairs(Grid(4, 4)), random(16, 20_000, dtype=torch.float32)
    exact, found = table_of(pairs, "gather"), table_of(pairs, kernel, torch.float32)
    error = (gram_of(found, filters) - gram_of(exact, filters.double())).abs().max()
    assert error < 20_000 * 1e-6
    gradient, expected = gradient_of(found, filters)
    assert torch.allclose(gradient, expected, atol=1e-4)


@pytest.mark.parametrize("kernel", KERNELS)
def test_units_without_neighbours_have_only_themselves(kernel):
    nobody = np.empty(0, np.int64)
    pairs = Pairs(nobody, nobody, nobody.astype(float), nobody.astype(float), 4)
    filters, found = random(4, 3), table_of(pairs, kernel)
    assert torch.allclose(gram_of(found, filters), filters.square().sum(1))
    gradient, expected = gradient_of(found, filters)
    assert torch.allclose(gradient, expected)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
@pytest.mark.parametrize("shape", [(5, 5), (4, 6)])
@pytest.mark.parametrize("unit", [0, 3, 8, 12, 23])
def test_a_unit_that_is_not_finite_spoils_none_but_its_neighbours(kernel, odd, shape, unit):
    rows, columns = shape
    pairs, filters = Neighbourhood().pairs(Grid(*shape)), random(rows * columns, 6)
    filters[unit, 2] = odd
    found = table_of(pairs, kernel)
    near = (found.first == unit) | (found.second == unit)
    assert gram_of(found, filters)[len(filters) :].isfinite().equal(~near)
    finite = gradient_of(found, filters)[0].isfinite().all(1).reshape(shape)
    expected, (row, column) = torch.ones(shape).bool(), divmod(unit, columns)
    expected[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = False
    assert finite.equal(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("features", [1, 7, 16, 45])
def test_two_sums_side_by_side_are_the_products_that_they_stand_for(dtype, features):
    filters, before = random(13, features, dtype=dtype), random(4, features, dtype=dtype)
    given = np.array([[[3, 0, 12, 5, 5, 1, 2, 11, 7, 4, 4, 8]]]), random(1, 1, 18, dtype=dtype)
    results = [before.clone().numpy() for _ in "12"]
    use_side_by_side()
    for add, into in zip(
        (loops.add_product_to_pairs, compiled(loops.add_product_to_pairs)), results, strict=True
    ):
        add(np.array([1]), given[0], given[1].numpy(), filters.numpy(), into)
    assert np.allclose(*results, rtol=1e-4)
    assert not np.allclose(results[0][1:3], before[1:3])
    assert np.array_equal(results[1][[0, 3]], before[[0, 3]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("features", [1, 7, 16, 45])
@pytest.mark.parametrize("second", [1, 2])
def test_products_side_by_side_are_those_that_they_stand_for(dtype, features, second):
    filters, columns = random(13, features, dtype=dtype).numpy(), np.array([[[3, 0, 12, 5, 8]]])
    results = [np.full((1, 1, 10), np.nan, filters.dtype) for _ in "12"]
    use_side_by_side()
    for multiply, found in zip(
        (loops.products_of_pairs, compiled(loops.products_of_pairs)), results, strict=True
    ):
        multiply(np.array([1]), np.array([second]), columns, filters, found)
    assert np.allclose(*results, rtol=1e-4, atol=1e-5)


def test_units_are_paired_with_the_next_in_their_row():
    for shape, n, single in (((4, 6), 24, []), ((3, 5), 15, [4, 9, 14]), ((4, 4), 13, [12])):
        rows, columns = _entries(Neighbourhood().pairs(Grid(*shape, n)))[1]
        first, alone = _paired(rows[order := np.lexsort((columns, rows))], columns[order], ADDED)
        assert alone.tolist() == single
        assert sorted([*first, *(first + 1), *alone]) == list(range(n))


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradients_that_are_not_contiguous_are_added_to_in_place(kernel):
    found, filters = table_of(Neighbourhood().pairs(Grid(4, 3)), kernel), random(12, 5)
    gradient = torch.zeros(5, 12, dtype=torch.float64).T
    added, expected = gradient_of(found, filters, gradient)
    assert added is gradient
    assert torch.allclose(gradient, expected, atol=1e-12)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("interpreted", [False, True])
@pytest.mark.parametrize("odd", [1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("scale", [0.5, torch.tensor(-2.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cosines_by_loops_are_those_of_torch(interpreted, odd, scale, dtype, monkeypatch):
    if interpreted:
        monkeypatch.setattr(similarity, "compiled", lambda function: function)
    pairs, filters = Neighbourhood().pairs(Grid(5, 6, 28)), random(28, 6, dtype=dtype)
    filters[3], filters[10], filters[20, 2] = 0, 1e-9, odd
    gram = gram_of(table_of(pairs, "gather", dtype), filters)
    by_loops, by_torch = (
        cosines_of(table_of(pairs, kernel, dtype), gram) for kernel in ("loops", "gather")
    )
    compare = {"rtol": 1e-5, "equal_nan": True}
    assert torch.allclose(by_loops.total, by_torch.total, **compare)
    entries = by_loops.coefficients(scale)
    assert entries.dtype == by_loops.total.dtype == dtype
    assert torch.allclose(entries, by_torch.coefficients(scale), **compare)


def test_loops_give_the_same_bits_on_any_number_of_threads():
    pairs, filters = Neighbourhood(5).pairs(Grid(64, 32)), random(2048, 2048, dtype=torch.float32)
    found, results, before = table_of(pairs, "loops", torch.float32), [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append((gram_of(found, filters), gradient_of(found, filters)[0]))
    finally:
        torch.set_num_threads(before)
    for gram, gradient in results[1:]:
        assert gram.equal(results[0][0])
        assert gradient.equal(results[0][1])


def test_loops_need_contiguous_filters_on_the_cpu_and_numba(monkeypatch):
    filters = torch.zeros(512, 512)
    assert kernel_for(filters, loops=True) == kernel_for(filters.double(), loops=True) == "loops"
    for other in (filters[:, :100], filters[:, ::2], filters.to("meta")):
        assert kernel_for(other, loops=True) != "loops"
    library = "sparse" if torch.backends.mkl.is_available() else "gather"
    assert kernel_for(filters, loops=False) == library
    monkeypatch.setattr(table, "can_compile", lambda: False)
    assert kernel_for(filters, loops=True) == library


def test_loops_are_worth_compiling_for_a_million_weights_in_all():
    model = nn.Sequential(nn.Linear(1000, 512), nn.Linear(512, 1000), nn.Linear(1000, 64))
    for layers, worth in (("*", True), (["0", "1"], False)):
        terms = TopographicLoss(layers).terms(model).values()
        assert {term.loops for term in terms} == {worth}
