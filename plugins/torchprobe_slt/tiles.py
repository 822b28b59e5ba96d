"""A tile of a matrix product whose sums stay in registers, for compiled loops."""

from __future__ import annotations

import functools
from typing import Any

from torchprobe.vectors import fused, given, nothing, spread

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
        return nothing((weights, slopes, units, chosen, values, out), (first, n))

    return returned


def _emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Write `tile` for LLVM: a loop over the chosen columns, in which the rows are unrolled."""
    from numba.core import cgutils

    weights, slopes, units, first, chosen, n, values, out = given(context, builder, signature, args)
    vector = values.vector(_REGISTER)
    at = [builder.add(first, first.type(row)) for row in range(ROWS)]
    tiled = [units.number(each) for each in at]
    rows = [weights.row(unit) for unit in tiled]
    sums = [cgutils.alloca_once_value(builder, vector(None)) for _ in rows]
    with cgutils.for_range(builder, n) as loop:
        column = chosen.number(loop.index)
        value = values.read(vector, values.row(loop.index))
        for total, row in zip(sums, rows, strict=True):
            weight = spread(builder, weights.number(column, row), vector)
            builder.store(fused(builder, weight, value, builder.load(total)), total)
    for each, unit, total in zip(at, tiled, sums, strict=True):
        slope = spread(builder, slopes.number(unit), vector)
        out.write(builder.fmul(builder.load(total), slope), out.row(each))
    return context.get_dummy_value()
