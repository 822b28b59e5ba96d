"""Conversion at the door: every public function turns its arguments into checked arrays once."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchprobe.errors import (
    InsufficientDataError,
    NonFiniteError,
    SettingError,
    ShapeError,
)

Array: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]

# A column whose spread is below this share of its size holds rounding noise, not signal: sums of
# a constant in float64 differ in the last digits, while float32 data cannot resolve below 6e-8.
ROUNDING = 1e-12


def as_array(values: ArrayLike, name: str, axes: str, keep_dtype: bool = False) -> Array:
    """Finite real array with the named axes ("row channel"), as float64 unless told otherwise."""
    array = np.asarray(values)
    wanted = axes.split()
    if array.ndim != len(wanted):
        raise ShapeError(f"{name} has shape {array.shape}; expected axes [{', '.join(wanted)}]")
    if array.dtype.kind not in "fiub":
        raise ShapeError(f"{name} has dtype {array.dtype}; expected real numbers")
    if not (keep_dtype and array.dtype.kind == "f"):
        array = array.astype(np.float64, copy=False)
    require_finite(array, name)
    return array


def as_points(values: ArrayLike, name: str, keep_dtype: bool = False) -> Array:
    """Matrix [row, channel]; a vector counts as one channel."""
    array = np.asarray(values)
    matrix = array[:, np.newaxis] if array.ndim == 1 else array
    points = as_array(matrix, name, "row channel", keep_dtype)
    if points.size == 0:
        raise InsufficientDataError(f"{name} is empty: shape {points.shape}")
    return points


def as_paired_points(x: ArrayLike, y: ArrayLike, least: int = 2) -> tuple[Array, Array]:
    """Two matrices whose rows describe the same observations; floats keep their precision."""
    a, b = as_points(x, "x", keep_dtype=True), as_points(y, "y", keep_dtype=True)
    if len(a) != len(b):
        raise ShapeError(f"x has {len(a)} rows and y has {len(b)}; they must be paired")
    if len(a) < least:
        raise InsufficientDataError(f"got {len(a)} paired rows; at least {least} are needed")
    return a, b


def as_square(values: ArrayLike, name: str) -> Array:
    """Finite square matrix, such as a scatter or a Gram matrix."""
    matrix = as_array(values, name, "channel channel")
    if matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise ShapeError(f"{name} has shape {matrix.shape}; expected a square matrix")
    return matrix


def as_square_distances(values: ArrayLike, name: str = "distances") -> Array:
    """Square symmetric distance matrix, from either that or the condensed form."""
    array = np.asarray(values)
    if array.ndim == 1:
        return _from_condensed(as_array(array, name, "pair"), name)
    matrix = as_square(array, name)
    _require_distances(matrix, name)
    if np.abs(matrix - matrix.T).max() > ROUNDING * np.abs(matrix).max():
        raise ShapeError(f"{name} is not symmetric")
    if np.any(np.diagonal(matrix) != 0):
        raise ShapeError(f"{name} has a non-zero diagonal; an item is at distance 0 from itself")
    return matrix


def choice(value: str, name: str, allowed: tuple[str, ...]) -> str:
    """The setting itself when it is one of those allowed."""
    if value not in allowed:
        raise SettingError(f"{name}={value!r}; choose one of {', '.join(map(repr, allowed))}")
    return value


def require_finite(array: Array, name: str) -> None:
    """Raise when an array holds NaN or infinity, saying how many and where the first is."""
    bad = array.size - np.count_nonzero(np.isfinite(array))
    if bad:
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise NonFiniteError(
            f"{name} holds {bad} of {array.size} values that are not finite, the first at "
            f"{first}; drop or replace them before this step"
        )


def fix_signs(columns: Array) -> Array:
    """Flip each column so that its largest entry in size is positive: [row, column]."""
    if columns.size == 0:
        return columns
    largest = np.abs(columns).argmax(axis=0)
    flip = np.sign(columns[largest, np.arange(columns.shape[1])])
    return np.asarray(columns * np.where(flip == 0, 1.0, flip))


def _from_condensed(condensed: Array, name: str) -> Array:
    from scipy.spatial.distance import is_valid_y, squareform

    _require_distances(condensed, name)
    if not is_valid_y(condensed):
        raise ShapeError(f"{name} has {len(condensed)} entries; n items have n(n-1)/2 pairs")
    return np.asarray(squareform(condensed, checks=False))


def _require_distances(values: Array, name: str) -> None:
    if np.any(values < 0):
        raise ShapeError(f"{name} holds negative values; smallest {values.min():g}")
