"""How alike two representations of the same observations are, whatever their axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchprobe.errors import InsufficientDataError
from torchprobe.numerics._arrays import Array, as_paired_points

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_LEAST_DEBIASED = 4


def linear_cka(x: ArrayLike, y: ArrayLike, *, debiased: bool = False) -> float:
    """Linear centred kernel alignment of x [row, channel] and y [row, other channel].

    1 where one is a rotation of the other times a number, 0 where no direction of the one
    varies with any of the other: ‖Y'X‖²_F / (‖X'X‖_F ‖Y'Y‖_F) with centred X and Y. Source:
    Kornblith, Norouzi, Lee & Hinton 2019, section 3, equation (3) and table 1.

    Args:
        x: one representation.
        y: the other, of the same observations.
        debiased: whether to use the unbiased estimate of each product, of which that of unrelated
            representations is 0 on average however few rows there are; it may fall below 0.
            Source: Song et al. 2012 (JMLR 13), equation (5); Nguyen, Raghu & Kornblith 2021.

    Raises:
        ShapeError: rows are not paired, or not finite.
        InsufficientDataError: fewer than two rows (four, debiased), or one does not vary.

    >>> x = [[0, 0], [2, 0], [0, 1], [2, 1]]
    >>> round(linear_cka(x, [[0], [1], [0], [1]]), 6)
    0.970143
    >>> round(linear_cka(x, [[0, 0], [0, 4], [2, 0], [2, 4]]), 6)
    1.0
    """
    a, b = as_paired_points(x, y, least=_LEAST_DEBIASED if debiased else 2)
    product = _debiased if debiased else _product
    own = _varying(product(a, a), "x") * _varying(product(b, b), "y")
    return float(product(a, b) / np.sqrt(own))


def _product(a: Array, b: Array) -> float:
    """‖B'A‖²_F, centred: through channels or rows, whichever are fewer."""
    a, b = _centred(a), _centred(b)
    if a.shape[1] * b.shape[1] <= len(a) ** 2:
        return float(np.square(b.T @ a).sum())
    return float(np.vdot(a @ a.T, b @ b.T))


def _debiased(a: Array, b: Array) -> float:
    """The unbiased estimate of HSIC, times n(n − 3): products of rows with themselves left out."""
    n = len(a)
    k, m = _off_diagonal(a), _off_diagonal(b)
    sums_k, sums_m = k.sum(1), m.sum(1)
    mixed = sums_k.sum() * sums_m.sum() / ((n - 1) * (n - 2))
    return float(np.vdot(k, m) + mixed - 2 / (n - 2) * np.vdot(sums_k, sums_m))


def _off_diagonal(points: Array) -> Array:
    centred = _centred(points)  # changes nothing, but keeps the digits of points far from 0
    gram = centred @ centred.T
    np.fill_diagonal(gram, 0.0)
    return gram


def _centred(points: Array) -> Array:
    return np.asarray(points - points.mean(axis=0, dtype=np.float64), dtype=np.float64)


def _varying(own: float, name: str) -> float:
    if not own > 0:
        raise InsufficientDataError(f"the rows of {name} do not vary; there is nothing to align")
    return own
