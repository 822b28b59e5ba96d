"""A tile of a matrix product whose sums stay in registers, for compiled loops."""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["ROWS", "lanes", "tile", "use_tiles"]

ROWS = 8
"""Rows of a tile: as many sums at once hide how long an addition takes."""

_REGISTER = 32
"""Bytes of a row of a tile: a vector register of AVX."""


def lanes(itemsize: int) -> int:
    """Columns of a tile of numbers of so many bytes."""
    return _REGISTER // itemsize


def tile(
    weights: Any,
    slopes: Any,
    units: Any,
    first: int,
    chosen: Any,
    n: int,
    values: Any,
    out: Any,
) -> None:
    """Some rows of a product, for units that are on: slope_u · Σ_k weights[u, chosen_k] · values_k.

    In compiled code (`use_tiles`) the sums stay in registers, as in BLAS. LLVM does not get there
    from a loop: it keeps small arrays in memory. Unlike in BLAS no weights need to be copied to
    where they lie side by side.

    Args:
        weights: [unit, unit above].
        slopes: what the sums are multiplied by: [unit].
        units: rows of the weights; the `ROWS` from ``first`` on are taken: int64.
        first: where in ``units`` and in ``out`` the tile begins.
        chosen: columns of the weights: int64.
        n: how many of these are taken.
        values: those of each chosen column: [column, lane].
        out: `ROWS` are written from ``first`` on: [row, lane].
    """
    for row in range(first, first + ROWS):
        unit = units[row]
        out[row] = slopes[unit] * (weights[unit, chosen[:n]] @ values[:n])


@functools.cache
def use_tiles() -> None:
    """Tell numba what `tile` is in machine code."""
    from numba import types
    from numba.extending import lower_builtin, type_callable

    type_callable(tile)(_type)
    lower_builtin(tile, types.VarArg(types.Any))(_emit)


def _type(_: Any) -> Any:
    """What `tile` takes: arrays that lie in memory without gaps, and two numbers."""
    from numba import types

    def returned(
        weights: Any,
        slopes: Any,
        units: Any,
        first: Any,
        chosen: Any,
        n: Any,
        values: Any,
        out: Any,
    ) -> Any:
        arrays = (weights, slopes, units, chosen, values, out)
        whole = all(isinstance(each, types.Array) and each.layout == "C" for each in arrays)
        counted = all(isinstance(each, types.Integer) for each in (first, n))
        return types.none if whole and counted else None

    return returned


def _emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Write `tile` for LLVM: a loop over the chosen columns, in which the rows are unrolled."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils

    given: list[Any] = [
        _Array(builder, context.make_array(kind)(context, builder, arg), kind.dtype.bitwidth // 8)
        if isinstance(kind, types.Array)
        else arg
        for kind, arg in zip(signature.args, args, strict=True)
    ]
    weights, slopes, units, first, chosen, n, values, out = given
    at = [builder.add(first, ir.Constant(first.type, row)) for row in range(ROWS)]
    rows = [units[each] for each in at]
    sums = [cgutils.alloca_once_value(builder, values.zeros()) for _ in rows]
    with cgutils.for_range(builder, n) as loop:
        column, value = chosen[loop.index], values.row(loop.index)
        for total, unit in zip(sums, rows, strict=True):
            product = builder.fmul(values.everywhere(weights[unit, column]), value, flags=_FUSED)
            builder.store(builder.fadd(builder.load(total), product, flags=_FUSED), total)
    for each, unit, total in zip(at, rows, sums, strict=True):
        slope = values.everywhere(slopes[unit])
        out.write_row(each, builder.fmul(builder.load(total), slope))
    return context.get_dummy_value()


_FUSED = ("contract",)
"""A product and the addition after it may be one instruction."""


class _Array:
    """An array in code that is being written; its rows may be vectors of `lanes` numbers."""

    def __init__(self, builder: Any, array: Any, itemsize: int) -> None:
        from llvmlite import ir

        self.builder, self.array, self.itemsize = builder, array, itemsize
        self.vector = ir.VectorType(array.data.type.pointee, lanes(itemsize))

    def __getitem__(self, at: Any) -> Any:
        """The number at an index, or at two."""
        if isinstance(at, tuple):
            width = self.builder.extract_value(self.array.shape, 1)
            at = self.builder.add(self.builder.mul(at[0], width), at[1])
        return self.builder.load(self.builder.gep(self.array.data, [at]))

    def row(self, at: Any) -> Any:
        """All lanes of a row."""
        return self.builder.load(self._place(at), align=self.itemsize)

    def write_row(self, at: Any, value: Any) -> None:
        """Replace a row."""
        self.builder.store(value, self._place(at), align=self.itemsize)

    def _place(self, at: Any) -> Any:
        begins = self.builder.mul(at, at.type(self.vector.count))
        pointer = self.builder.gep(self.array.data, [begins])
        return self.builder.bitcast(pointer, self.vector.as_pointer())

    def zeros(self) -> Any:
        """A row of zeros."""
        return self.vector(None)

    def everywhere(self, value: Any) -> Any:
        """A number in all lanes."""
        from llvmlite import ir

        index = ir.IntType(32)
        alone = self.builder.insert_element(self.vector(ir.Undefined), value, index(0))
        first = ir.VectorType(index, self.vector.count)(None)
        return self.builder.shuffle_vector(alone, alone, first)
