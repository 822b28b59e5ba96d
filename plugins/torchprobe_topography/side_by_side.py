"""Sums and products of two units side by side that have neighbours in common, for compiled loops.

In compiled code (`use_side_by_side`) each row is read once for both units, a whole line of the
cache at a time. LLVM reads halves from a loop. Where a row is a power of two long, all rows compete
for a few places in the fastest cache, and a line would be gone before its second half is read.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from torchprobe.vectors import Array, fused, given, nothing, spread, sum_of_lanes

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ADDED", "MULTIPLIED", "Rows", "add_to_two", "products_of_two", "use_side_by_side"]


class Rows(NamedTuple):
    """How many rows are read at once beside the two units."""

    first: int
    """Which only the first unit has."""
    shared: int
    second: int

    @property
    def all(self) -> int:
        """For both."""
        return sum(self)


ADDED = Rows(3, 6, 3)
"""Those of a 3 x 3 neighbourhood, the units among them."""
MULTIPLIED = Rows(1, 2, 2)
"""Half of those, without the units."""

_LINE = 64
"""Bytes that are read of a row at once: a line of the cache."""


def add_to_two(columns: Any, values: Any, filters: Any, into: Any, one: int, other: int) -> None:
    """Add to two rows others times values: 9 each, of which they share 6.

    Args:
        columns: rows of the filters: 3 for the first sum, 6 for both, 3 for the second: int64.
        values: what they are multiplied by: 9 for the first sum, 9 for the second.
        filters: [row, feature].
        into: where the sums are added: [row, feature].
        one: the row of the first sum.
        other: that of the second, another one.
    """
    into[one] += values[:9] @ filters[columns[:9]]
    into[other] += values[9:] @ filters[columns[3:]]


def products_of_two(columns: Any, filters: Any, one: int, other: int, found: Any) -> None:
    """Products of two rows with others: 5 each, of which they share 2, one with the other.

    Args:
        columns: rows of the filters: 1 for the first, 2 for both, 2 for the second: int64.
        filters: [row, feature].
        one: the first row.
        other: the second.
        found: is overwritten: of the first with itself, the second and its columns, of the second
            with itself and its columns: [10].
    """
    found[:2] = filters[one] @ filters[one], filters[one] @ filters[other]
    found[2:5] = filters[columns[:3]] @ filters[one]
    found[5] = filters[other] @ filters[other]
    found[6:] = filters[columns[1:]] @ filters[other]


@functools.cache
def use_side_by_side() -> None:
    """Tell numba what these functions are in machine code."""
    from numba import types
    from numba.extending import lower_builtin, type_callable

    type_callable(add_to_two)(_type_sums)
    lower_builtin(add_to_two, types.VarArg(types.Any))(_emit_sums)
    type_callable(products_of_two)(_type_products)
    lower_builtin(products_of_two, types.VarArg(types.Any))(_emit_products)


def _type_sums(_: Any) -> Any:
    def returned(columns: Any, values: Any, filters: Any, into: Any, one: Any, other: Any) -> Any:
        return nothing((columns, values, filters, into), (one, other))

    return returned


def _type_products(_: Any) -> Any:
    def returned(columns: Any, filters: Any, one: Any, other: Any, found: Any) -> Any:
        return nothing((columns, filters, found), (one, other))

    return returned


def _emit_sums(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Write `add_to_two` for LLVM."""
    columns, values, filters, into, one, other = given(context, builder, signature, args)
    rows = [filters.row(columns.number(k)) for k in range(ADDED.all)]
    own = [into.row(each) for each in (one, other)]
    by = [values.number(k) for k in range(18)]
    for kind in (filters.vector(_LINE), filters.kind):
        with _features(filters, kind) as first:
            read = [filters.read(kind, row, first) for row in rows]
            sums = [into.read(kind, row, first) for row in own]
            factors = [spread(builder, each, kind) for each in by]
            for which, of_it in enumerate((read[:9], read[3:])):
                for each, factor in zip(of_it, factors[9 * which : 9 * which + 9], strict=True):
                    sums[which] = fused(builder, each, factor, sums[which])
            for row, total in zip(own, sums, strict=True):
                into.write(total, row, first)
    return context.get_dummy_value()


def _emit_products(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Write `products_of_two` for LLVM."""
    columns, filters, one, other, found = given(context, builder, signature, args)
    rows = [filters.row(each) for each in (one, other)]
    rows += [filters.row(columns.number(k)) for k in range(MULTIPLIED.all)]
    lines = _products(filters, filters.vector(_LINE), rows)
    left = _products(filters, filters.kind, rows)
    for k, (line, number) in enumerate(zip(lines, left, strict=True)):
        total = builder.fadd(sum_of_lanes(builder, line), number)
        found.write(total, found.data, found.length.type(k))
    return context.get_dummy_value()


_MULTIPLIED = (*((0, k) for k in range(5)), *((1, k) for k in (1, 3, 4, 5, 6)))
"""Which rows `products_of_two` multiplies: the two units are rows 0 and 1."""


def _products(filters: Array, kind: Any, rows: list[Any]) -> list[Any]:
    """Products of rows over the features that are read as one of the kinds, lane by lane."""
    from numba.core import cgutils

    builder, zero = filters.builder, kind(None) if kind is not filters.kind else kind(0)
    sums = [cgutils.alloca_once_value(builder, zero) for _ in _MULTIPLIED]
    with _features(filters, kind) as first:
        read = [filters.read(kind, row, first) for row in rows]
        for total, (one, other) in zip(sums, _MULTIPLIED, strict=True):
            builder.store(fused(builder, read[one], read[other], builder.load(total)), total)
    return [builder.load(total) for total in sums]


@contextlib.contextmanager
def _features(filters: Array, kind: Any) -> Iterator[Any]:
    """A loop over the features that are read as lines, or over the numbers that are left."""
    from numba.core import cgutils

    builder, index, lanes = filters.builder, filters.length.type, filters.vector(_LINE).count
    whole = builder.sub(filters.length, builder.urem(filters.length, index(lanes)))
    bounds = (index(0), whole, index(lanes))
    if kind is filters.kind:
        bounds = (whole, filters.length, index(1))
    with cgutils.for_range_slice(builder, *bounds) as (first, _):
        yield first
