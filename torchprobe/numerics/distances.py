"""Distances between rows, a block at a time, so that memory does not grow with pairs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from torchprobe.numerics._arrays import ROUNDING, Array, Indices, as_points, choice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

Metric = Literal["euclidean", "chebyshev"]

# Below this width the matrix product saves nothing over plain differences.
NARROW = 16
# Squared distances under this share of the two squared norms are recomputed from differences:
# the product form then keeps a relative error of about 1e-13 or better everywhere.
CANCELLATION = 1e-3
BLOCK_BYTES = 16 * 2**20


class BlockDistances:
    """Distances between the rows of one array, any rectangle of the matrix on demand.

    Wide Euclidean distances come from a matrix product of centred rows, and pairs close enough
    for cancellation to bite are recomputed from differences; identical rows are exactly 0 apart.
    With ``direct=True`` all come from differences, so that equal distances compare equal.

    >>> BlockDistances([[0.0, 0.0], [3.0, 4.0]]).block(slice(0, 1), slice(0, 2))
    array([[0., 5.]])
    """

    def __init__(
        self, points: ArrayLike, metric: Metric = "euclidean", direct: bool = False
    ) -> None:
        self.points = as_points(points, "points", keep_dtype=True)  # [row, channel]
        choice(metric, "metric", ("euclidean", "chebyshev"))
        self.metric: Metric = metric
        self.by_product = metric == "euclidean" and not direct and self.points.shape[1] > NARROW
        if self.by_product:
            self.centre = self.points.mean(axis=0, dtype=np.float64)  # [channel]

    def __len__(self) -> int:
        return len(self.points)

    def block(self, rows: slice, columns: slice) -> Array:
        """Distances [row, column] between two runs of points."""
        a, b = (self.points[part].astype(np.float64, copy=False) for part in (rows, columns))
        if self.by_product:
            return product_distances(a, b, self.centre)
        return direct_distances(a, b, self.metric)

    def to_others(self) -> Iterator[Array]:
        """Distances of every point to all others [row, all] in blocks; to itself infinite."""
        for rows in slices(len(self), BLOCK_BYTES // (8 * len(self))):
            block = self.block(rows, slice(None))
            block[np.arange(len(block)), np.arange(rows.start, rows.stop)] = np.inf
            yield block


def slices(length: int, size: int) -> list[slice]:
    """Consecutive slices of at most ``size`` (at least 1) that cover ``range(length)``."""
    size = max(1, size)
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def direct_distances(a: Array, b: Array, metric: Metric) -> Array:
    """Distances [row of a, row of b] from differences, rows shared among torch's threads."""
    from scipy.spatial.distance import cdist

    out = np.empty((len(a), len(b)))
    edges = np.linspace(0, len(a), torch.get_num_threads() + 1).astype(int)

    def fill(edge: tuple[int, int]) -> None:
        part = slice(*edge)
        cdist(a[part], b, metric, out=out[part])  # releases the GIL

    with ThreadPoolExecutor(len(edges) - 1) as pool:
        list(pool.map(fill, pairwise(edges.tolist())))
    return out


def product_distances(a: Array, b: Array, centre: Array) -> Array:
    """Euclidean distances [row of a, row of b] through |a|² + |b|² − 2ab of centred rows."""
    from scipy.spatial.distance import cdist

    squared, close = _squared_products(a - centre, b - centre)
    distances = np.sqrt(squared, out=squared)
    for row in np.flatnonzero(close.any(axis=1)):
        near = close[row]
        distances[row, near] = cdist(a[row : row + 1], b[near])[0]
    return np.asarray(distances)


def _squared_products(a: Array, b: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Squared distances [row, column], and where too few of their digits are right."""
    norms = np.add.outer(_squared_norms(a), _squared_norms(b))  # [row, column]
    squared = a @ b.T
    squared *= -2.0
    squared += norms
    norms *= CANCELLATION
    return np.maximum(squared, 0.0, out=squared), squared <= norms


def condensed_euclidean(rows: Array) -> Array:
    """Euclidean distance of every pair of rows, in scipy's condensed order [pair]."""
    source = BlockDistances(rows)
    n = len(source)
    condensed = np.empty(n * (n - 1) // 2)
    start = 0
    for part in slices(n, BLOCK_BYTES // (8 * n)):
        block = source.block(part, slice(part.start, None))
        for offset, row in enumerate(block):
            beyond = row[offset + 1 :]
            condensed[start : start + len(beyond)] = beyond
            start += len(beyond)
    return condensed


def condensed_correlation(rows: Array) -> Array:
    """1 − Pearson r of every pair of rows [pair], each within [0, 2]; no row may be constant."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    centred /= np.abs(centred).max(axis=1, keepdims=True)  # so that tiny rows do not underflow
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    # half the squared chord: no cancellation where r is close to 1
    return np.asarray(np.minimum(condensed_euclidean(unit) ** 2 / 2, 2.0))


def constant_rows(rows: Array) -> Indices:
    """Indices of rows that do not vary beyond rounding, for which r is undefined."""
    return np.flatnonzero(np.ptp(rows, axis=1) <= ROUNDING * np.abs(rows).max(axis=1))


def _squared_norms(rows: Array) -> Array:
    return np.asarray(np.einsum("rc,rc->r", rows, rows))
