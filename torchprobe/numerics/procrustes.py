"""How much of a cloud of points a low-dimensional embedding loses, up to a simple map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchprobe.errors import InsufficientDataError, SettingError, ShapeError
from torchprobe.numerics._arrays import Array, as_array, as_paired_points, as_points, as_square

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def procrustes_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Share of the variance of x [row, channel] that y [row, dimension] misses (0..1).

    y is shifted, rotated, reflected and scaled to fit best: 1 − (‖X'Y‖_*)²/(‖X‖²‖Y‖²) with
    centred X and Y. Equals ``scipy.spatial.procrustes`` with y padded by zeros. Source: Grósz &
    Kurimo 2020, section 3 (PD).

    Raises:
        ShapeError: rows are not paired, or not finite.
        InsufficientDataError: fewer than two rows, or all rows of x or of y equal.

    >>> x = [[0, 0, 0], [2, 0, 0], [0, 1, 0], [2, 1, 1]]
    >>> round(procrustes_distance(x, [[0, 0], [0, 2], [1, 0], [1, 2]]), 7)
    0.0464295
    """
    a, b = _centred_pair(x, y)
    return procrustes_from_moments(a.T @ b, _size(a), _size(b))


def procrustes_from_moments(cross: ArrayLike, total_x: float, total_y: float) -> float:
    """Procrustes distance (0..1) from streamed sums about the means.

    cross [channel, dimension] = Σ(x − x̄)(y − ȳ)', total_x = Σ‖x − x̄‖² and total_y likewise.

    Raises:
        ShapeError: cross is not a matrix of finite numbers.
        InsufficientDataError: x or y does not vary.

    >>> procrustes_from_moments([[1.0], [0.0]], total_x=2.0, total_y=1.0)
    0.5
    """
    product = as_array(cross, "cross", "channel dimension")
    nuclear = np.linalg.svd(product, compute_uv=False).sum()
    return _share(1.0 - nuclear**2 / (_varying(total_x, "x") * _varying(total_y, "y")))


def linear_residual(x: ArrayLike, y: ArrayLike) -> float:
    """Share of the variance of x that no linear map of y recovers, 1 − R² (0..1).

    The option of :func:`procrustes_distance` in which y may also be sheared and stretched.
    Source: Grósz & Kurimo 2020, section 3, read as "any linear map".

    Raises:
        ShapeError: rows are not paired, or not finite.
        InsufficientDataError: fewer than two rows, or all rows of x equal.

    >>> round(linear_residual([[0, 0], [2, 0], [0, 1], [2, 1]], [0, 9, 0, 9]), 6)
    0.2
    """
    a, b = _centred_pair(x, y)
    return linear_residual_from_moments(a.T @ b, _size(a), b.T @ b)


def linear_residual_from_moments(cross: ArrayLike, total_x: float, scatter_y: ArrayLike) -> float:
    """1 − R² (0..1) from streamed sums; scatter_y [dimension, dimension] = Σ(y − ȳ)(y − ȳ)'.

    Raises:
        ShapeError: cross and scatter_y do not fit.
        InsufficientDataError: x does not vary.

    >>> linear_residual_from_moments([[1.0], [0.0]], total_x=2.0, scatter_y=[[1.0]])
    0.5
    """
    product = as_array(cross, "cross", "channel dimension")
    spread = as_square(scatter_y, "scatter_y")
    if product.shape[1] != len(spread):
        raise ShapeError(f"cross {product.shape} does not fit scatter_y {spread.shape}")
    # least norm: a constant or repeated dimension of y adds nothing
    maps = np.linalg.pinv(spread, hermitian=True, rcond=1e-14) @ product.T
    return _share(1.0 - float(np.vdot(product.T, maps)) / _varying(total_x, "x"))


def pca_bound(x: ArrayLike, dimensions: int = 2) -> float:
    """Least Procrustes distance any embedding with so many dimensions can have (0..1).

    1 − the variance share of the first principal components, which reach it.

    Raises:
        InsufficientDataError: fewer than two rows, or all of them equal.
        SettingError: dimensions < 1.

    >>> round(pca_bound([[0, 0, 0], [2, 0, 0], [0, 1, 0], [2, 1, 1]]), 7)
    0.0317076
    """
    a = _centred(as_points(x, "x", keep_dtype=True))
    wide = a.shape[1] > a.shape[0]
    return pca_bound_from_scatter(a @ a.T if wide else a.T @ a, dimensions)


def pca_bound_from_scatter(scatter: ArrayLike, dimensions: int = 2) -> float:
    """The bound of :func:`pca_bound` from a scatter matrix [channel, channel].

    Raises:
        ShapeError: the scatter is not square.
        InsufficientDataError: nothing varies.
        SettingError: dimensions < 1.

    >>> pca_bound_from_scatter([[3.0, 0.0], [0.0, 1.0]], dimensions=1)
    0.25
    """
    if dimensions < 1:
        raise SettingError(f"dimensions={dimensions}; expected at least 1")
    spread = as_square(scatter, "scatter")
    total = _varying(float(np.trace(spread)), "x")
    # the discarded values are summed, so that a bound near 0 keeps its digits
    left_out = np.maximum(np.linalg.eigvalsh(spread)[:-dimensions], 0.0)
    return _share(left_out.sum() / total)


def _centred_pair(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    a, b = as_paired_points(x, y)
    return _centred(a), _centred(b)


def _centred(points: Array) -> Array:
    return np.asarray(points - points.mean(axis=0, dtype=np.float64))


def _size(centred: Array) -> float:
    return float(np.vdot(centred, centred))


def _varying(total: float, name: str) -> float:
    if not total > 0:
        raise InsufficientDataError(f"all rows of {name} are equal; there is nothing to match")
    return float(total)


def _share(value: float) -> float:
    return float(min(max(value, 0.0), 1.0))  # rounding may leave 0..1
