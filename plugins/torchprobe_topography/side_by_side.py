"""Sums and products of two units side by side that have neighbours in common, for compiled loops.

In compiled code (`use_side_by_side`) each row is read once for both units, a whole line of the
cache at a time. LLVM reads halves from a loop. Where a row is a power of two long, all rows compete
for a few places in the fastest cache, and a line would be gone before its second half is read.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, NamedTuple

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
        return _nothing((columns, values, filters, into), (one, other))

    return returned


def _type_products(_: Any) -> Any:
    def returned(columns: Any, filters: Any, one: Any, other: Any, found: Any) -> Any:
        return _nothing((columns, filters, found), (one, other))

    return returned


def _nothing(arrays: Any, numbers: Any) -> Any:
    """What is returned for arrays that lie in memory without gaps, and numbers."""
    from numba import types

    whole = all(isinstance(each, types.Array) and each.layout == "C" for each in arrays)
    return types.none if whole and all(isinstance(n, types.Integer) for n in numbers) else None


def _emit_sums(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Write `add_to_two` for LLVM."""
    columns, values, filters, into, one, other = _given(context, builder, signature, args)
    rows = [filters.row(columns.number(k)) for k in range(ADDED.all)]
    own = [into.row(each) for each in (one, other)]
    by = [values.number(k) for k in range(18)]
    for kind in filters.kinds:
        with filters.part(kind) as part:
            lines, sums = [part.read(each) for each in rows], [part.read(each) for each in own]
            factors = [part.fill(each) for each in by]
            for which, of_it in enumerate((lines[:9], lines[3:])):
                for line, factor in zip(of_it, factors[9 * which : 9 * which + 9], strict=True):
                    sums[which] = _fused(builder, line, factor, sums[which])
            for each, total in zip(own, sums, strict=True):
                part.write(each, total)
    return context.get_dummy_value()


def _emit_products(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Write `products_of_two` for LLVM."""
    from numba.core import cgutils

    columns, filters, one, other, found = _given(context, builder, signature, args)
    rows = [filters.row(each) for each in (one, other)]
    rows += [filters.row(columns.number(k)) for k in range(MULTIPLIED.all)]
    multiplied = [(0, k) for k in range(5)] + [(1, k) for k in (1, 3, 4, 5, 6)]
    totals = []
    for kind in filters.kinds:
        sums = [
            cgutils.alloca_once_value(builder, kind(None) if kind is filters.kinds[0] else kind(0))
            for _ in multiplied
        ]
        with filters.part(kind) as part:
            lines = [part.read(each) for each in rows]
            for total, (first, second) in zip(sums, multiplied, strict=True):
                product = _fused(builder, lines[first], lines[second], builder.load(total))
                builder.store(product, total)
        totals.append(sums)
    for k, (lines, left) in enumerate(zip(*totals, strict=True)):
        found.write(k, _sum(builder, builder.load(lines), builder.load(left)))
    return context.get_dummy_value()


_FUSED = ("contract",)
"""A product and the addition after it may be one instruction."""


def _fused(builder: Any, one: Any, other: Any, total: Any) -> Any:
    return builder.fadd(builder.fmul(one, other, flags=_FUSED), total, flags=_FUSED)


def _sum(builder: Any, vector: Any, number: Any) -> Any:
    """A number and all lanes of a vector."""
    from llvmlite import ir

    lanes = width = vector.type.count
    while width > 1:
        width //= 2
        order = [(lane + width) % lanes for lane in range(lanes)]
        moved = ir.Constant(ir.VectorType(ir.IntType(32), lanes), order)
        vector = builder.fadd(vector, builder.shuffle_vector(vector, vector, moved))
    return builder.fadd(builder.extract_element(vector, _index(0)), number)


def _index(at: int) -> Any:
    from llvmlite import ir

    return ir.IntType(32)(at)


def _given(context: Any, builder: Any, signature: Any, args: Any) -> list[Any]:
    from numba import types

    return [
        _Array(builder, context.make_array(kind)(context, builder, arg), kind.dtype.bitwidth // 8)
        if isinstance(kind, types.Array)
        else arg
        for kind, arg in zip(signature.args, args, strict=True)
    ]


class _Array:
    """An array in code that is being written."""

    def __init__(self, builder: Any, array: Any, itemsize: int) -> None:
        from llvmlite import ir

        self.builder, self.data, self.itemsize = builder, array.data, itemsize
        self.length = builder.extract_value(array.shape, len(array.shape.type) - 1)
        """Of a row."""
        number = array.data.type.pointee
        self.kinds = ir.VectorType(number, _LINE // itemsize), number
        """What rows are read as: lines, and numbers at their end."""

    def number(self, at: int) -> Any:
        return self.builder.load(self.builder.gep(self.data, [self.length.type(at)]))

    def write(self, at: int, value: Any) -> None:
        self.builder.store(value, self.builder.gep(self.data, [self.length.type(at)]))

    def row(self, at: Any) -> Any:
        """Where a row begins."""
        return self.builder.gep(self.data, [self.builder.mul(at, self.length)])

    @contextlib.contextmanager
    def part(self, kind: Any) -> Iterator[_Part]:
        """A loop over those features of all rows that are read as one of the kinds."""
        from numba.core import cgutils

        vector, builder, index = self.kinds[0], self.builder, self.length.type
        whole = builder.sub(self.length, builder.urem(self.length, index(vector.count)))
        bounds = (index(0), whole, index(vector.count))
        if kind is not vector:
            bounds = (whole, self.length, index(1))
        with cgutils.for_range_slice(builder, *bounds) as (first, _):
            yield _Part(builder, kind, first, self.itemsize)


class _Part(NamedTuple):
    """Some features of all rows, as a vector or as a number."""

    builder: Any
    kind: Any
    first: Any
    align: int

    def _place(self, row: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(row, [self.first]), self.kind.as_pointer())

    def read(self, row: Any) -> Any:
        return self.builder.load(self._place(row), align=self.align)

    def write(self, row: Any, value: Any) -> None:
        self.builder.store(value, self._place(row), align=self.align)

    def fill(self, value: Any) -> Any:
        """A number in all lanes."""
        if value.type == self.kind:
            return value
        from llvmlite import ir

        alone = self.builder.insert_element(self.kind(ir.Undefined), value, _index(0))
        first = ir.VectorType(ir.IntType(32), self.kind.count)(None)
        return self.builder.shuffle_vector(alone, alone, first)
