"""Distance correlation of two clouds of paired points, in blocks of the distance matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from torchprobe.numerics._arrays import Array, as_paired_points, choice
from torchprobe.numerics.distances import BlockDistances, slices

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Form = Literal["v", "u", "pearson"]

TILE = 1024
LEAST_ROWS = {"v": 2, "u": 4, "pearson": 3}
# A variance below this share of the squared mean distance is what rounding leaves of 0.
NEGLIGIBLE = 1e-14


@dataclass(frozen=True)
class DistanceCovariance:
    """Squared distance covariance of x and y, and the squared distance variance of each."""

    covariance: float
    variance_x: float
    variance_y: float

    @property
    def ratio(self) -> float:
        """Covariance over the geometric mean of the variances; 0 where one does not vary."""
        scale = np.sqrt(self.variance_x) * np.sqrt(self.variance_y)
        return float(np.clip(self.covariance / scale, -1.0, 1.0)) if scale > 0 else 0.0


@dataclass
class _PairSums:
    """Sums over ordered pairs i ≠ j of distances, each less a constant of about their mean.

    Every form is blind to that constant, which keeps digits when distances are nearly equal.
    """

    rows: Array  # Σ_j (distance_ij − shift) [space, row]
    products: Array  # [space, space]
    shift: Array  # [space]

    @property
    def count(self) -> int:
        return int(self.rows.shape[1])

    def v_form(self) -> Array:
        """Mean product of doubly centred distances, self-distances included [space, space]."""
        n = self.count
        means = (self.rows - self.shift[:, np.newaxis]) / n
        raw = (self.products + n * np.outer(self.shift, self.shift)) / n**2
        grand = means.mean(axis=1)
        return np.asarray(raw + np.outer(grand, grand) - 2 * (means @ means.T) / n)

    def u_form(self) -> Array:
        """Unbiased estimate of the same, self-distances left out [space, space]."""
        n, totals = self.count, self.rows.sum(axis=1)
        inner = self.products - 2 / (n - 2) * (self.rows @ self.rows.T)
        inner += np.outer(totals, totals) / ((n - 1) * (n - 2))
        return np.asarray(inner / (n * (n - 3)))

    def pearson_form(self) -> Array:
        """Plain covariance over pairs of distances [space, space]."""
        pairs = self.count * (self.count - 1)
        means = self.rows.sum(axis=1) / pairs
        return np.asarray(self.products / pairs - np.outer(means, means))


def distance_covariance(x: ArrayLike, y: ArrayLike, form: Form = "v") -> DistanceCovariance:
    """Squared distance covariance and variances of paired rows of x and y.

    ``v`` is Székely's statistic, ``u`` its bias-corrected form, ``pearson`` the plain covariance
    of the pairwise Euclidean distances. Memory grows with rows, not with pairs.

    Raises:
        ShapeError: rows are not paired.
        NonFiniteError: NaN or infinity.
        InsufficientDataError: fewer than 2 (v), 4 (u) or 3 (pearson) rows.

    >>> round(distance_covariance([0, 1, 2, 4, 7], [0, 1, 4, 2, 9]).covariance, 6)
    3.6992
    """
    choice(form, "form", ("v", "u", "pearson"))
    a, b = as_paired_points(x, y, LEAST_ROWS[form])
    sums = _pair_sums(BlockDistances(a), BlockDistances(b))
    moments = {"v": sums.v_form, "u": sums.u_form, "pearson": sums.pearson_form}[form]()
    variances = np.diagonal(moments)
    variances = np.where(variances > NEGLIGIBLE * sums.shift**2, variances, 0.0)
    return DistanceCovariance(float(moments[0, 1]), float(variances[0]), float(variances[1]))


def distance_correlation(x: ArrayLike, y: ArrayLike, form: Form = "v") -> float:
    """How far distances between rows of x go along with those between rows of y.

    ``v`` (0..1): root of Székely's ratio, 0 in the limit only if x and y are independent, 1 if
    one is a shifted, scaled or rotated copy of the other. ``u`` (−1..1): the bias-corrected
    ratio, signed and without root. ``pearson`` (−1..1): correlation of the pairwise distances.
    0 where the distances of x or y do not vary. Sources: Székely, Rizzo & Bakirov 2007; Székely
    & Rizzo 2014 (u); Grósz & Kurimo 2020, section 3 (its wording also fits pearson).

    Raises:
        ShapeError: rows are not paired.
        NonFiniteError: NaN or infinity.
        InsufficientDataError: fewer than 2 (v), 4 (u) or 3 (pearson) rows.

    >>> round(distance_correlation([0, 1, 2, 4, 7], [0, 1, 4, 2, 9]), 6)
    0.890103
    """
    ratio = distance_covariance(x, y, form).ratio
    return float(np.sqrt(max(ratio, 0.0))) if form == "v" else ratio


def _pair_sums(x: BlockDistances, y: BlockDistances) -> _PairSums:
    spaces = (x, y)
    shift = np.array([_typical(space) for space in spaces])
    sums = _PairSums(np.zeros((2, len(x))), np.zeros((2, 2)), shift)
    parts = slices(len(x), TILE)
    for i, rows in enumerate(parts):
        for columns in parts[i:]:
            _add_tile(sums, spaces, rows, columns)
    return sums


def _typical(space: BlockDistances) -> float:
    """Mean distance among the first points."""
    few = slice(0, min(len(space), 256))
    return float(space.block(few, few).sum()) / (few.stop * (few.stop - 1))


def _add_tile(
    sums: _PairSums, spaces: tuple[BlockDistances, ...], rows: slice, columns: slice
) -> None:
    """Add one tile on or above the diagonal; above it, its mirror image as well."""
    tiles = [space.block(rows, columns) for space in spaces]
    mirrored = rows != columns
    for k, tile in enumerate(tiles):
        np.subtract(tile, sums.shift[k], out=tile)
        if mirrored:
            sums.rows[k, columns] += tile.sum(axis=0)
        else:
            np.fill_diagonal(tile, 0.0)
        sums.rows[k, rows] += tile.sum(axis=1)
    flat = np.stack([tile.ravel() for tile in tiles])
    sums.products += (1 + mirrored) * (flat @ flat.T)
