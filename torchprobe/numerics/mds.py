"""Multidimensional scaling, and how much pairwise distances expand between two layers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from torchprobe.errors import InsufficientDataError, SettingError, ShapeError
from torchprobe.numerics._arrays import (
    Array,
    Indices,
    as_points,
    as_square_distances,
    choice,
    fix_signs,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Scaling:
    """Points [item, dimension] that imitate distances.

    eigenvalues [dimension] belong to classical scaling (0 where it has no further dimension);
    stress, the sum of squared errors of the distances, to SMACOF.
    """

    points: Array
    eigenvalues: Array | None = None
    stress: float | None = None


def classical_mds(distances: ArrayLike, dimensions: int = 2) -> Scaling:
    """Classical scaling of distances, condensed [pair] or square [item, item].

    Eigenvectors of −½JD²J times the root of their eigenvalues, negative eigenvalues taken as 0;
    in each column the largest entry is positive. Source: Torgerson 1952; Nagamine & Mesgarani
    2017, Fig. 5 (which dimensions of "MDS" are plotted is all the paper says).

    Raises:
        ShapeError: no distance matrix.
        SettingError: dimensions < 1.

    >>> classical_mds([3.0, 4.0, 5.0]).eigenvalues.round(6)
    array([12.964148,  3.702519])
    """
    from scipy.linalg import eigh

    squared = as_square_distances(distances) ** 2
    kept = min(_dimensions(dimensions), len(squared))
    inner = -(squared - squared.mean(axis=0) - squared.mean(axis=1, keepdims=True)) / 2
    inner -= squared.mean() / 2  # [item, item]
    values, vectors = eigh(inner, subset_by_index=[len(inner) - kept, len(inner) - 1])
    return _scaling(vectors[:, ::-1], values[::-1], dimensions)


def classical_mds_of_points(points: ArrayLike, dimensions: int = 2) -> Scaling:
    """Classical scaling of the Euclidean distances between points [item, channel].

    The same result as :func:`classical_mds` of those distances, without the [item, item] matrix.

    Raises:
        ShapeError: points is not a matrix.
        SettingError: dimensions < 1.

    >>> classical_mds_of_points([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]).eigenvalues.round(6)
    array([12.964148,  3.702519])
    """
    rows = as_points(points, "points")
    kept = _dimensions(dimensions)
    vectors, sizes, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    return _scaling(vectors[:, :kept], sizes[:kept] ** 2, dimensions)


def smacof_mds(
    distances: ArrayLike,
    dimensions: int = 2,
    init: Literal["classical", "random"] = "classical",
    seed: int = 0,
) -> Scaling:
    """Metric scaling that minimises stress by majorisation, from a classical or random start.

    The random start is the best of four drawn from ``seed``. Source: de Leeuw 1977, as
    implemented by ``sklearn.manifold.smacof``.

    Raises:
        ShapeError: no distance matrix.
        InsufficientDataError: fewer than two items.
        SettingError: dimensions < 1, or an unknown init.

    >>> smacof_mds([3.0, 4.0, 5.0]).stress < 1e-6
    True
    """
    from sklearn.manifold import smacof

    square = as_square_distances(distances)
    if len(square) < 2:
        raise InsufficientDataError("SMACOF needs at least two items")
    random = choice(init, "init", ("classical", "random")) == "random"
    start = None if random else classical_mds(square, dimensions).points
    points, stress = smacof(
        square,
        n_components=_dimensions(dimensions),
        init=start,
        n_init=4 if random else 1,
        random_state=seed,
        normalized_stress=False,
    )
    return Scaling(points, stress=float(stress))


def relative_expansion(
    centroids: ArrayLike,
    reference: ArrayLike,
    pairs: ArrayLike | None = None,
    form: Literal["mean_of_ratios", "ratio_of_means"] = "mean_of_ratios",
) -> float:
    """How many times farther apart centroids lie than in a reference space.

    centroids [class, component] and reference [class, reference component] may differ in width;
    pairs [pair, 2] are indices of classes, by default every two. ``mean_of_ratios`` averages
    d(a,b)/d₀(a,b); ``ratio_of_means`` divides the mean distances. Source: Nagamine & Mesgarani
    2017, Fig. 5E and 5F.

    Raises:
        ShapeError: centroids do not correspond, or pairs are not indices of them.
        InsufficientDataError: no pair, or a pair that coincides in the reference.

    >>> round(relative_expansion([[0, 0], [3, 0], [0, 2]], [[0, 0], [1, 0], [0, 1]]), 6)
    2.516503
    """
    choice(form, "form", ("mean_of_ratios", "ratio_of_means"))
    here, there = as_points(centroids, "centroids"), as_points(reference, "reference")
    if len(here) != len(there):
        raise ShapeError(f"{len(here)} centroids but {len(there)} in the reference")
    ends = _pairs(pairs, len(here))
    distances, base = _between(here, ends), _between(there, ends)
    if form == "ratio_of_means" and base.any():
        return float(distances.mean() / base.mean())
    if not base.all():
        first = ends[np.flatnonzero(base == 0)[0]].tolist()
        raise InsufficientDataError(f"classes {first} coincide in the reference: no ratio")
    return float((distances / base).mean())


def _scaling(vectors: Array, values: Array, dimensions: int) -> Scaling:
    """Points in as many dimensions as asked for, those without variance being 0."""
    lengths = np.maximum(values, 0.0)
    missing = dimensions - len(lengths)
    points = np.pad(fix_signs(vectors * np.sqrt(lengths)), ((0, 0), (0, missing)))
    return Scaling(points, np.pad(lengths, (0, missing)))


def _dimensions(dimensions: int) -> int:
    if dimensions < 1:
        raise SettingError(f"dimensions={dimensions}; expected at least 1")
    return dimensions


def _pairs(pairs: ArrayLike | None, items: int) -> Indices:
    chosen = list(combinations(range(items), 2)) if pairs is None else pairs
    ends = np.asarray(chosen)
    if ends.size == 0:
        raise InsufficientDataError("relative expansion needs at least one pair of classes")
    if ends.ndim != 2 or ends.shape[1] != 2 or ends.dtype.kind not in "iu":
        raise ShapeError(f"pairs have shape {ends.shape}; expected integers [pair, 2]")
    if ends.min() < 0 or ends.max() >= items:
        raise ShapeError(f"pairs name class {ends.max()}; there are {items} centroids")
    return ends.astype(np.intp)


def _between(points: Array, ends: Indices) -> Array:
    """Distance between the two ends of each pair [pair]."""
    return np.asarray(np.linalg.norm(points[ends[:, 0]] - points[ends[:, 1]], axis=1))
