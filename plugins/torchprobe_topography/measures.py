"""How far a grid is a map: whether neighbours are alike, and values vary smoothly over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from torchprobe.errors import InsufficientDataError, NonFiniteError, ShapeError
from torchprobe_topography.neighbourhood import Neighbourhood

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from torchprobe_topography.grid import Grid
    from torchprobe_topography.neighbourhood import Pairs

    Array = NDArray[np.float64]

__all__ = ["Alikeness", "alikeness", "morans_i", "smoothness"]

_ROUNDING = 1e-12
"""Spread below this share of the values' size is what rounding leaves of a constant."""


@dataclass(frozen=True)
class Alikeness:
    """How alike the vectors of neighbours are, beside any two units."""

    neighbours: float
    """Mean cosine of neighbours, −1..1; nearer ones count more."""
    random: float
    """Mean cosine of all pairs of units: what random pairs are expected to have."""

    @property
    def excess(self) -> float:
        """By how much neighbours are more alike."""
        return self.neighbours - self.random


def alikeness(
    vectors: ArrayLike, grid: Grid, neighbourhood: Neighbourhood | None = None
) -> Alikeness:
    """How alike units are to their neighbours: cosines of vectors [unit, feature].

    Units whose vector is 0 have no direction and are left out of both means; NaN where no pair is
    left. The mean over all pairs is exact, not drawn.

    Args:
        vectors: filters, or the units' responses to groups.
        grid: where units lie.
        neighbourhood: 3 × 3, cut off at the border, by default.

    Raises:
        ShapeError: not one vector for each unit of the grid.
        NonFiniteError: NaN or infinity.

    Source: the claim that the topographic loss makes neighbours alike (Krug & Stober 2019).

    >>> from torchprobe_topography import Grid
    >>> alikeness([[1, 0], [1, 0], [0, 1], [0, 1]], Grid(2, 2))
    Alikeness(neighbours=0.3693980625181293, random=0.3333333333333333)
    """
    matrix = _vectors(vectors, grid)
    norms = np.linalg.norm(matrix, axis=1)
    alive = norms > 0
    directions = matrix / np.where(alive, norms, 1.0)[:, np.newaxis]
    pairs = (neighbourhood or Neighbourhood()).pairs(grid)
    both = alive[pairs.first] & alive[pairs.second]
    cosines = _dots(directions, pairs.first[both], pairs.second[both])
    weight, n = pairs.weight[both], int(alive.sum())
    together = np.square(directions.sum(0)).sum() - n
    return Alikeness(
        float((weight * cosines).sum() / weight.sum()) if both.any() else float("nan"),
        float(together / (n * (n - 1))) if n > 1 else float("nan"),
    )


def morans_i(
    values: ArrayLike, grid: Grid, neighbourhood: Neighbourhood | None = None
) -> tuple[Array, Array]:
    """Moran's I of maps: how far neighbouring cells deviate from the mean together.

    I = n / Σ ω · Σ_ij ω_ij z_i z_j / Σ z_i², with z the deviations from the map's mean and the
    weights of `Neighbourhood`. Of values in random places I is −1 / (n − 1) in the mean; 1 would be
    the smoothest.

    Args:
        values: [..., unit].
        grid: where units lie.
        neighbourhood: 3 × 3, cut off at the border, by default.

    Returns:
        I [...], and how many standard deviations it lies above what random places give, z [...]
        (under randomisation). NaN for constant maps.

    Raises:
        ShapeError: not one value for each unit.
        InsufficientDataError: fewer than four units.
        NonFiniteError: NaN or infinity.

    Source: Moran 1950; variance under randomisation: Cliff & Ord 1981, section 1.5.

    >>> from torchprobe_topography import Grid
    >>> i, z = morans_i([[0, 0, 1, 1, 0, 0, 1, 1], [0, 1, 0, 1, 1, 0, 1, 0]], Grid(2, 4))
    >>> i.round(3).tolist()
    [0.613, -0.418]
    """
    flat, shape = _values(values, grid)
    pairs = (neighbourhood or Neighbourhood()).pairs(grid)
    z, squares = _deviations(flat)
    products = (z[:, pairs.first] * z[:, pairs.second]) @ pairs.weight
    found = grid.units / pairs.weight.sum() * products / squares
    kurtosis = grid.units * (z**4).sum(1) / squares**2
    expected, spread = _under_randomisation(pairs, kurtosis)
    return found.reshape(shape), ((found - expected) / spread).reshape(shape)


def smoothness(values: ArrayLike, grid: Grid, neighbourhood: Neighbourhood | None = None) -> Array:
    """How little neighbouring cells of maps differ: 1 − Geary's C.

    C = (n − 1) Σ_ij ω_ij (x_i − x_j)² / (2 Σ ω Σ z_i²). 0 is what values in random places give in
    the mean, 1 no difference at all, negative where neighbours differ more than others.

    Args:
        values: [..., unit].
        grid: where units lie.
        neighbourhood: 3 × 3, cut off at the border, by default.

    Returns:
        [...]; NaN for constant maps.

    Raises:
        ShapeError: not one value for each unit.
        InsufficientDataError: fewer than four units.
        NonFiniteError: NaN or infinity.

    Source: Geary 1954.

    >>> from torchprobe_topography import Grid
    >>> smoothness([0, 0, 1, 1, 0, 0, 1, 1], Grid(2, 4)).round(3).item()
    0.662
    """
    flat, shape = _values(values, grid)
    pairs = (neighbourhood or Neighbourhood()).pairs(grid)
    _, squares = _deviations(flat)
    differences = np.square(flat[:, pairs.first] - flat[:, pairs.second]) @ pairs.weight
    geary = (grid.units - 1) * differences / (2 * pairs.weight.sum() * squares)
    return np.asarray((1 - geary).reshape(shape))


def _under_randomisation(pairs: Pairs, kurtosis: Array) -> tuple[float, Array]:
    """Mean and standard deviation of I when values are put in places at random."""
    n, total = pairs.units, pairs.weight.sum()
    ways = np.bincount(pairs.first, pairs.of_first, n) + np.bincount(
        pairs.second, pairs.of_second, n
    )  # Σ_j ω_ij
    towards = np.bincount(pairs.second, pairs.of_first, n) + np.bincount(
        pairs.first, pairs.of_second, n
    )  # Σ_i ω_ij
    s1 = np.square(pairs.weight).sum()
    s2 = np.square(ways + towards).sum()
    first = n * ((n**2 - 3 * n + 3) * s1 - n * s2 + 3 * total**2)
    second = kurtosis * ((n**2 - n) * s1 - 2 * n * s2 + 6 * total**2)
    expected = -1 / (n - 1)
    variance = (first - second) / ((n - 1) * (n - 2) * (n - 3) * total**2) - expected**2
    return expected, np.sqrt(np.maximum(variance, 0))


def _dots(vectors: Array, first: NDArray[np.int64], second: NDArray[np.int64]) -> Array:
    """Products of pairs, some at a time: gathered vectors would be as many as pairs."""
    size = max(1, (1 << 22) // max(1, vectors.shape[1]))
    parts = [
        np.einsum("ij,ij->i", vectors[first[i : i + size]], vectors[second[i : i + size]])
        for i in range(0, len(first), size)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _vectors(vectors: ArrayLike, grid: Grid) -> Array:
    matrix = np.asarray(vectors, dtype=np.float64)
    if matrix.ndim < 2 or len(matrix) != grid.units:  # noqa: PLR2004
        raise ShapeError(f"vectors of shape {matrix.shape} do not fit {grid!r}: [unit, feature]")
    _require_finite(matrix)
    return matrix.reshape(len(matrix), -1)


def _values(values: ArrayLike, grid: Grid) -> tuple[Array, tuple[int, ...]]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != grid.units:
        raise ShapeError(f"values of shape {array.shape} do not fit {grid!r}: [..., unit]")
    if grid.units < 4:  # noqa: PLR2004 - the variance divides by n − 3
        raise InsufficientDataError(f"{grid!r} has {grid.units} units; four are needed")
    _require_finite(array)
    return array.reshape(-1, grid.units), array.shape[:-1]


def _deviations(flat: Array) -> tuple[Array, Array]:
    """Deviations from each map's mean, and their sum of squares; NaN where a map is constant."""
    z = flat - flat.mean(1, keepdims=True)
    squares = np.square(z).sum(1)
    constant = np.abs(z).max(1) <= _ROUNDING * np.abs(flat).max(1)
    return z, np.where(constant, np.nan, squares)


def _require_finite(array: Array) -> None:
    if not np.isfinite(array).all():
        raise NonFiniteError("values hold NaN or infinity; leave such groups or layers out")
