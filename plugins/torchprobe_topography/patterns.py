"""Sparse matrices of units, multiplied by kernels of torch's or by loops of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from torchprobe import compat
from torchprobe.compiled import compiled
from torchprobe.threads import in_threads
from torchprobe_topography import loops
from torchprobe_topography.side_by_side import ADDED, MULTIPLIED, Rows, use_side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    Indices = NDArray[np.int64]

__all__ = ["Jobs", "PairedProducts", "PairedSums", "Pattern", "numbers"]

_PART = 1 << 18
"""Weights that a thread takes at once: a tenth of a millisecond."""
_WORTH_A_THREAD = 4
"""Parts: to begin threads takes as long as two or three."""


class Work(NamedTuple):
    """A loop over items, each as good on another thread."""

    loop: Callable[[slice], None]
    items: int
    weights: int
    """Of each item."""


class Jobs:
    """Loops over the units of several layers, to be shared out over threads together.

    Layers of a usual size are over sooner than threads have begun. Units are computed apart, so
    that the number of threads changes nothing.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[Callable[[slice], None], slice]] = []
        self._written: set[int] = set()

    def add(self, into: Tensor, *works: Work) -> None:
        """Add loops that write to the same tensor, but not to the same of its units."""
        if into.data_ptr() in self._written:  # a weight that two layers share
            self.run()
        self._written.add(into.data_ptr())
        for work in works:
            step = max(1, _PART // max(1, work.weights))
            self._parts += [
                (work.loop, slice(start, min(start + step, work.items)))
                for start in range(0, work.items, step)
            ]

    def run(self) -> None:
        """Do and forget them."""
        parts, self._parts, self._written = self._parts, [], set()

        def some(which: slice) -> None:
            for loop, units in parts[which]:
                loop(units)

        in_threads(some, len(parts), _WORTH_A_THREAD)


class Pattern:
    """Where the entries of a sparse matrix [unit, unit] stand, multiplied by torch's kernels.

    Args:
        rows: of the entries, in any order: [entry].
        columns: [entry].
        device: where the filters are.
    """

    def __init__(self, rows: Indices, columns: Indices, device: torch.device) -> None:
        units = int(rows.max()) + 1
        order = np.lexsort((columns, rows))
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=units))])
        self._shape = units, units
        self._starts, self._columns = (
            torch.as_tensor(each, dtype=torch.int32, device=device)
            for each in (starts, columns[order])
        )
        self._order = torch.as_tensor(order, device=device)
        self._place = torch.as_tensor(np.argsort(order), device=device)

    def products(self, filters: Tensor) -> Tensor:
        """The entries of filters · filtersᵀ, in the order in which they were given."""
        zeros = self._matrix(filters.new_zeros(len(self._order)))
        found = torch.sparse.sampled_addmm(zeros, filters, filters.T, beta=0.0)
        entries: Tensor = found.values().index_select(0, self._place)
        return entries

    def add_product_(self, gradient: Tensor, filters: Tensor, entries: Tensor) -> None:
        """Add the matrix of these entries, in the order of their places, times the filters."""
        gradient.addmm_(self._matrix(entries.index_select(0, self._order)), filters)

    def _matrix(self, values: Tensor) -> Tensor:
        return compat.sparse_rows(self._starts, self._columns, values, self._shape)


class PairedProducts:
    """The same, for products only, by compiled loops over pairs of consecutive units.

    Args:
        rows: of the entries, in any order, each unit at least with itself: [entry].
        columns: [entry].
    """

    def __init__(self, rows: Indices, columns: Indices) -> None:
        order = np.lexsort((columns, rows))
        rows, columns = rows[order], columns[order]
        groups = max(1, -(-int(np.bincount(rows).max() - 1) // MULTIPLIED.all))
        room = Rows(*(groups * each for each in MULTIPLIED))
        first, single = _paired(rows, columns, Rows(room.first + 1, room.shared + 1, room.second))
        pair, after = _numbered(first, single)
        self._first, self._second = (np.concatenate([each, single]) for each in (first, first + 1))
        pair, after = pair[rows], after[rows]  # of each entry
        paired, itself = pair < len(first), columns == rows
        place = np.where(itself, 5 * after, 1)  # as `products_of_two` gives them
        rest = ~itself & ~(paired & (after == 0) & (columns == rows + 1))
        rows, columns, after, paired = (each[rest] for each in (rows, columns, after, paired))
        group, slot, rank = _slots(rows, columns, after, paired, MULTIPLIED, groups)
        group, slot = (
            np.where(paired, *each) for each in zip((group, slot), np.divmod(rank, 5), strict=True)
        )
        self._columns = np.repeat(self._first, groups * 5).reshape(-1, groups, 5)
        self._columns[pair[rest], group, slot] = columns
        of_first = np.where(paired, after == 0, slot < 3)  # noqa: PLR2004 - of its columns
        place[rest] = 10 * group + slot + np.where(of_first, 2, 5)
        place += 10 * groups * pair
        self._place = torch.as_tensor(place[np.argsort(order)])

    def products(self, filters: Tensor, jobs: Jobs) -> Callable[[], Tensor]:
        """What gives the entries of filters · filtersᵀ, as they were given, after the jobs."""
        use_side_by_side()
        pairs, groups, _ = self._columns.shape
        found = filters.new_empty(pairs, groups, 10)
        work, units, sums = compiled(loops.products_of_pairs), numbers(filters), numbers(found)

        def some(part: slice) -> None:
            work(self._first[part], self._second[part], self._columns[part], units, sums[part])

        jobs.add(found, Work(some, pairs, 2 * filters.shape[1]))
        return lambda: found.view(-1).index_select(0, self._place)


class PairedSums:
    """The same, for adding only, by compiled loops over pairs of consecutive units.

    Units are paired that are neighbours, so that what stands in an empty place spoils none that it
    would not spoil anyway: the first unit times 0 where both units read it, else the unit itself.
    Others are left alone.

    Args:
        rows: of the entries, in any order, each unit at least with itself: [entry].
        columns: [entry].
    """

    def __init__(self, rows: Indices, columns: Indices) -> None:
        order = np.lexsort((columns, rows))
        rows, columns = rows[order], columns[order]
        groups = -(-int(np.bincount(rows).max()) // _OF_ONE)
        first, single = _paired(rows, columns, Rows(*(groups * each for each in ADDED)))
        pair, after = _numbered(first, single)
        pair, after = pair[rows], after[rows]  # of each entry
        paired = pair < len(first)
        group, slot, rank = _slots(rows, columns, after, paired, ADDED, groups)
        self._first, self._single = first, single
        self._columns = np.repeat(first, groups * ADDED.all).reshape(-1, groups, ADDED.all)
        self._columns[:, :, _OF_ONE:] += 1
        self._columns[pair[paired], group[paired], slot[paired]] = columns[paired]
        width = groups * _OF_ONE
        alone, rank = pair[~paired] - len(first), rank[~paired]
        self._single_columns = np.repeat(single[:, None], width, axis=1)
        self._single_columns[alone, rank] = columns[~paired]
        place = (pair * groups + group) * 2 * _OF_ONE + slot + ADDED.shared * after
        place[~paired] = (2 * len(first) + alone) * width + rank
        self._place = torch.as_tensor(place[np.argsort(order)])

    def add_product_(self, gradient: Tensor, filters: Tensor, entries: Tensor, jobs: Jobs) -> None:
        """Add the matrix of these entries, in the order of their places, times the filters.

        Args:
            gradient: contiguous: [unit, feature].
            filters: [unit, feature].
            entries: [entry].
            jobs: which will do it.
        """
        use_side_by_side()
        paired, single = compiled(loops.add_product_to_pairs), compiled(loops.add_product)
        groups, pairs = self._columns.shape[1], len(self._first)
        size = pairs * groups * 2 * _OF_ONE
        values = entries.new_zeros(size + self._single_columns.size)
        table = numbers(values.scatter_(0, self._place, entries))
        of_pairs = table[:size].reshape(pairs, groups, 2 * _OF_ONE)
        of_single = table[size:].reshape(self._single_columns.shape)
        units, sums = numbers(filters), numbers(gradient)

        def to_pairs(part: slice) -> None:
            paired(self._first[part], self._columns[part], of_pairs[part], units, sums)

        def to_single(part: slice) -> None:
            single(self._single[part], self._single_columns[part], of_single[part], units, sums)

        features = filters.shape[1]
        works = Work(to_pairs, pairs, 2 * features), Work(to_single, len(self._single), features)
        jobs.add(gradient, *works)


_OF_ONE = ADDED.first + ADDED.shared
"""Rows that are read at once for one unit of two."""


def _paired(rows: Indices, columns: Indices, room: Rows) -> tuple[Indices, Indices]:
    """Units that make a pair with the one after them, a neighbour, and those that are in none.

    Args:
        rows: of the entries, sorted: [entry].
        columns: [entry].
        room: for the entries of a pair; what is shared can also be read twice.
    """
    counts = np.bincount(rows)
    shared = np.bincount(rows[_has(rows, columns, rows + 1)], minlength=len(counts))
    twice = np.maximum(shared - room.shared, 0) - shared
    fits = (counts + twice <= room.first) & (np.append(counts[1:], 0) + twice <= room.second)
    near = np.zeros(len(counts), bool)
    near[rows[columns == rows + 1]] = True
    first, unit = [], 0
    while unit < len(counts):
        if near[unit] and fits[unit]:
            first.append(unit)
            unit += 1
        unit += 1
    found = np.asarray(first, np.int64)
    return found, np.setdiff1d(np.arange(len(counts)), np.concatenate([found, found + 1]))


def _numbered(first: Indices, single: Indices) -> tuple[Indices, Indices]:
    """Of each unit the number of its pair, singles after them; and 1 for the second of a pair."""
    pair, after = np.zeros((2, 2 * len(first) + len(single)), np.int64)
    pair[first] = pair[first + 1] = np.arange(len(first))
    pair[single] = len(first) + np.arange(len(single))
    after[first + 1] = 1
    return pair, after


def _slots(
    rows: Indices,
    columns: Indices,
    after: Indices,
    paired: NDArray[np.bool_],
    at_once: Rows,
    groups: int,
) -> tuple[Indices, Indices, Indices]:
    """Where entries of pairs stand: which group, which of its columns; where those of singles do.

    Args:
        rows: of the entries, sorted: [entry].
        columns: [entry].
        after: 1 where the row is the second of a pair: [entry].
        paired: whether it is in one: [entry].
        at_once: columns of a group.
        groups: how many there are.
    """
    shared = paired & _has(rows, columns, rows + 1 - 2 * after)
    rank = np.zeros_like(rows)
    rank[shared] = _ranks(rows[shared])
    shared &= rank < at_once.shared * groups  # the others are read twice
    rank[~shared] = _ranks(rows[~shared])
    alone = np.where(after, at_once.second, at_once.first)
    group, slot = np.divmod(rank, np.where(shared, at_once.shared, alone))
    begin = np.where(after, at_once.first + at_once.shared, 0)
    return group, slot + np.where(shared, at_once.first, begin), rank


def _has(rows: Indices, columns: Indices, others: Indices) -> NDArray[np.bool_]:
    """Whether other rows have an entry in the same column: [entry]."""
    size = int(columns.max(initial=0)) + 1
    return np.isin(others * size + columns, rows * size + columns)


def _ranks(rows: Indices) -> Indices:
    """How many entries of the same row stand before each, where rows are sorted."""
    ranks: Indices = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return ranks


def numbers(tensor: Tensor) -> NDArray[Any]:
    """A tensor's numbers, where they are."""
    array: NDArray[Any] = tensor.detach().numpy()
    return array
