"""Two sums of rows that have rows in common, side by side, for compiled loops."""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["ALONE", "SHARED", "add_to_two", "use_side_by_side"]

ALONE, SHARED = 3, 6
"""Rows that only one sum has, and rows that both have: those of a 3 x 3 neighbourhood."""

_LINE = 64
"""Bytes that are read of a row at once: a line of the cache."""


def add_to_two(columns: Any, values: Any, filters: Any, into: Any, one: int, other: int) -> None:
    """Add to two rows others times values: 9 each, of which they share 6.

    In compiled code (`use_side_by_side`) each of the 12 rows is read once, a whole line of the
    cache at a time. LLVM reads halves from a loop. Where a row is a power of two long, all rows
    compete for a few places in the fastest cache, and a line would be gone before its second half
    is read.

    Args:
        columns: rows of the filters: 3 for the first sum, 6 for both, 3 for the second: int64.
        values: what they are multiplied by: 9 for the first sum, 9 for the second.
        filters: [row, feature].
        into: where the sums are added: [row, feature].
        one: the row of the first sum.
        other: that of the second, another one.
    """
    each = ALONE + SHARED
    into[one] += values[:each] @ filters[columns[:each]]
    into[other] += values[each:] @ filters[columns[ALONE:]]


@functools.cache
def use_side_by_side() -> None:
    """Tell numba what `add_to_two` is in machine code."""
    from numba import types
    from numba.extending import lower_builtin, type_callable

    type_callable(add_to_two)(_type)
    lower_builtin(add_to_two, types.VarArg(types.Any))(_emit)


def _type(_: Any) -> Any:
    """What `add_to_two` takes: arrays that lie in memory without gaps, and two numbers."""
    from numba import types

    def returned(columns: Any, values: Any, filters: Any, into: Any, one: Any, other: Any) -> Any:
        arrays = columns, values, filters, into
        whole = all(isinstance(each, types.Array) and each.layout == "C" for each in arrays)
        counted = all(isinstance(each, types.Integer) for each in (one, other))
        return types.none if whole and counted else None

    return returned


def _emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Write `add_to_two` for LLVM: a loop over lines, and one over the features that are left."""
    from llvmlite import ir
    from numba.core import cgutils

    columns, values, filters, into = (
        context.make_array(kind)(context, builder, arg)
        for kind, arg in zip(signature.args[:4], args[:4], strict=True)
    )
    features = builder.extract_value(filters.shape, 1)

    def at(start: Any, index: Any) -> Any:
        return builder.gep(start, [index])

    def row(array: Any, index: Any) -> Any:
        return at(array.data, builder.mul(index, features))

    index = features.type
    rows = [
        row(filters, builder.load(at(columns.data, index(k)))) for k in range(2 * ALONE + SHARED)
    ]
    by = [builder.load(at(values.data, index(k))) for k in range(2 * (ALONE + SHARED))]
    sums = [row(into, each) for each in args[4:]]
    number = by[0].type
    lanes = _LINE // (signature.args[2].dtype.bitwidth // 8)

    def add(first: Any, kind: Any, by: Any) -> None:
        """Add to both sums at some features."""
        align = signature.args[2].dtype.bitwidth // 8

        def place(start: Any) -> Any:
            return builder.bitcast(at(start, first), kind.as_pointer())

        found = [builder.load(place(each), align=align) for each in sums]
        for k, start in enumerate(rows):
            line = builder.load(place(start), align=align)
            for which in (0, 1):
                mine = k - which * ALONE
                if 0 <= mine < ALONE + SHARED:
                    product = builder.fmul(line, by[which * (ALONE + SHARED) + mine], flags=_FUSED)
                    found[which] = builder.fadd(found[which], product, flags=_FUSED)
        for each, total in zip(sums, found, strict=True):
            builder.store(total, place(each), align=align)

    vector = ir.VectorType(number, lanes)
    whole = builder.sub(features, builder.urem(features, index(lanes)))
    everywhere = [_everywhere(builder, vector, each) for each in by]
    with cgutils.for_range_slice(builder, index(0), whole, index(lanes)) as (first, _):
        add(first, vector, everywhere)
    with cgutils.for_range_slice(builder, whole, features, index(1)) as (first, _):
        add(first, number, by)
    return context.get_dummy_value()


_FUSED = ("contract",)
"""A product and the addition after it may be one instruction."""


def _everywhere(builder: Any, vector: Any, value: Any) -> Any:
    """A number in all lanes of a vector."""
    from llvmlite import ir

    index = ir.IntType(32)
    alone = builder.insert_element(vector(ir.Undefined), value, index(0))
    first = ir.VectorType(index, vector.count)(None)
    return builder.shuffle_vector(alone, alone, first)
