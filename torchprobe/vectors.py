"""Vectors of numbers, for steps of compiled loops that are written in LLVM's terms.

LLVM makes vectors of a loop by itself, but keeps small arrays in memory and reads rows in pieces of
its own choosing. A step that needs its sums in registers, or whole lines of the cache, is a
function that numba is told to replace by what is written here.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Array", "fused", "given", "nothing", "spread", "sum_of_lanes"]

_FUSED = ("contract",)
"""A product and the addition after it may be one instruction."""


class Array:
    """An array, in memory without gaps, in code that is being written.

    Args:
        builder: writes the code.
        array: numba's description of the array.
        itemsize: bytes of a number.
    """

    def __init__(self, builder: Any, array: Any, itemsize: int) -> None:
        self.builder, self.data, self.itemsize = builder, array.data, itemsize
        self.length = builder.extract_value(array.shape, len(array.shape.type) - 1)
        """Of a row."""
        self.kind = array.data.type.pointee
        """Of its numbers."""

    def vector(self, size: int) -> Any:
        """The kind of a vector of so many bytes."""
        from llvmlite import ir

        return ir.VectorType(self.kind, size // self.itemsize)

    def row(self, at: Any) -> Any:
        """Where a row begins."""
        return self.builder.gep(self.data, [self.builder.mul(at, self.length)])

    def number(self, at: Any, row: Any = None) -> Any:
        """The number at a place in the whole array, or in a row."""
        at = self.length.type(at) if isinstance(at, int) else at
        return self.builder.load(self.builder.gep(self.data if row is None else row, [at]))

    def read(self, kind: Any, row: Any, first: Any = None) -> Any:
        """A vector or number of a row, from a place on."""
        return self.builder.load(self._place(kind, row, first), align=self.itemsize)

    def write(self, value: Any, row: Any, first: Any = None) -> None:
        """Replace a vector or number of a row, from a place on."""
        self.builder.store(value, self._place(value.type, row, first), align=self.itemsize)

    def _place(self, kind: Any, row: Any, first: Any) -> Any:
        begins = row if first is None else self.builder.gep(row, [first])
        return self.builder.bitcast(begins, kind.as_pointer())


def given(context: Any, builder: Any, signature: Any, args: Any) -> list[Any]:
    """What a function is called with: arrays as `Array`, numbers as they are."""
    from numba import types

    return [
        Array(builder, context.make_array(kind)(context, builder, arg), kind.dtype.bitwidth // 8)
        if isinstance(kind, types.Array)
        else arg
        for kind, arg in zip(signature.args, args, strict=True)
    ]


def nothing(arrays: tuple[Any, ...], counts: tuple[Any, ...]) -> Any:
    """The type of a function that returns nothing; None, which numba refuses, for other arguments.

    Args:
        arrays: types of arguments that must be arrays without gaps.
        counts: of arguments that must be integers.
    """
    from numba import types

    whole = all(isinstance(each, types.Array) and each.layout == "C" for each in arrays)
    return types.none if whole and all(isinstance(each, types.Integer) for each in counts) else None


def fused(builder: Any, one: Any, other: Any, total: Any) -> Any:
    """The sum of a product and a total."""
    return builder.fadd(builder.fmul(one, other, flags=_FUSED), total, flags=_FUSED)


def spread(builder: Any, number: Any, kind: Any) -> Any:
    """A number in all lanes of a kind of vector; of the kind of numbers, as it is."""
    from llvmlite import ir

    if number.type == kind:
        return number
    alone = builder.insert_element(kind(ir.Undefined), number, ir.IntType(32)(0))
    return builder.shuffle_vector(alone, alone, ir.VectorType(ir.IntType(32), kind.count)(None))


def sum_of_lanes(builder: Any, vector: Any) -> Any:
    """The sum of a vector's numbers, halves first."""
    from llvmlite import ir

    lanes = width = vector.type.count
    while width > 1:
        width //= 2
        order = [(lane + width) % lanes for lane in range(lanes)]
        moved = ir.Constant(ir.VectorType(ir.IntType(32), lanes), order)
        vector = builder.fadd(vector, builder.shuffle_vector(vector, vector, moved))
    return builder.extract_element(vector, ir.IntType(32)(0))
