"""Mutual information between two clouds of paired points, estimated from nearest neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from torchprobe.errors import SettingError
from torchprobe.numerics._arrays import Array, Indices, as_paired_points, choice
from torchprobe.numerics.distances import BlockDistances

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

Norm = Literal["chebyshev", "euclidean"]


def mutual_information(
    x: ArrayLike,
    y: ArrayLike,
    neighbours: int = 10,
    form: Literal["ksg1", "ksg2"] = "ksg1",
    norm: Norm = "chebyshev",
    scale: Literal["rms", "none"] = "rms",
    jitter: float = 0.0,
    seed: int = 0,
    clip: bool = False,
) -> float:
    """Mutual information, in nats, between paired rows of x [row, channel] and y [row, dimension].

    From the ``neighbours`` nearest under max(dx, dy), by Kraskov's first estimator (cubes) or his
    second (rectangles; all neighbours tied with the farthest count, so that row order does not
    matter). ``scale="rms"`` divides x and y by the root mean square of their values about the
    column means, since the estimate depends on relative scale and an embedding's origin means
    nothing. ``jitter`` adds seeded noise of that relative size (1e-10 unties repeats). Estimates
    may be negative; ``clip`` floors them at 0. Memory grows with rows, not pairs. Sources:
    Kraskov et al. 2004, Eq. 8 and 9; Grósz & Kurimo 2020, section 3 (k = 10).

    Raises:
        ShapeError, NonFiniteError: rows are not paired, or not finite.
        SettingError: an unknown option, or neighbours outside 1..rows − 1.

    >>> x, y = [0, 1, 3, 6, 10], [0, 2.5, 4, 8.5, 11]
    >>> round(mutual_information(x, y, neighbours=1, scale="none"), 6)
    0.683333
    """
    choice(form, "form", ("ksg1", "ksg2"))
    choice(scale, "scale", ("rms", "none"))
    a, b = as_paired_points(x, y)
    if not 1 <= neighbours < len(a):
        raise SettingError(f"neighbours={neighbours}; expected 1 to {len(a) - 1}")
    rng = np.random.default_rng(seed)
    dx, dy = (_distances(points, norm, scale == "rms", jitter, rng) for points in (a, b))
    near_x, near_y = _neighbour_counts(dx, dy, neighbours, form)
    estimate = _kraskov(near_x, near_y, neighbours, form)
    return max(0.0, estimate) if clip else estimate


def _distances(
    points: Array, norm: Norm, scaled: bool, jitter: float, rng: np.random.Generator
) -> Iterator[Array]:
    """Distances of every point to all others [row, all], in units of the points' spread."""
    if jitter < 0:
        raise SettingError(f"jitter={jitter}; expected the size of the noise, at least 0")
    unit = np.sqrt(points.var(axis=0, dtype=np.float64).mean()) if scaled else 1.0
    unit = unit or 1.0  # points that are all equal have no spread
    if jitter:
        points = points + jitter * unit * rng.standard_normal(points.shape)
    # distances are divided, not points: those that are equal remain so
    return (block / unit for block in BlockDistances(points, norm, direct=True).to_others())


def _neighbour_counts(
    blocks_x: Iterator[Array], blocks_y: Iterator[Array], neighbours: int, form: str
) -> tuple[Indices, Indices]:
    """Points inside the marginal neighbourhood of each point, in x and in y [row]."""
    inside = _in_cube if form == "ksg1" else _in_rectangle
    pairs = zip(blocks_x, blocks_y, strict=True)
    near_x, near_y = np.concatenate([inside(dx, dy, neighbours) for dx, dy in pairs], axis=1)
    return near_x, near_y


def _in_cube(dx: Array, dy: Array, neighbours: int) -> Indices:
    """Points strictly closer than the k-th neighbour in x and in y [space, row]."""
    radius = _radius(np.maximum(dx, dy), neighbours)
    return np.stack([np.count_nonzero(d < radius, axis=1) for d in (dx, dy)])


def _in_rectangle(dx: Array, dy: Array, neighbours: int) -> Indices:
    """Points within the farthest marginal distance among the k neighbours [space, row]."""
    joint = np.maximum(dx, dy)
    nearest = joint <= _radius(joint, neighbours)
    return np.stack(
        [
            np.count_nonzero(d <= d.max(axis=1, where=nearest, initial=0.0, keepdims=True), axis=1)
            for d in (dx, dy)
        ]
    )


def _radius(joint: Array, neighbours: int) -> Array:
    """Distance of each row's k-th nearest point [row, 1]."""
    nearest = torch.from_numpy(joint).topk(neighbours, dim=1, largest=False, sorted=False).values
    return np.asarray(nearest.amax(dim=1, keepdim=True).numpy())


def _kraskov(near_x: Indices, near_y: Indices, neighbours: int, form: str) -> float:
    from scipy.special import digamma

    known = digamma(neighbours) + digamma(len(near_x))
    if form == "ksg1":
        return float(known - np.mean(digamma(near_x + 1) + digamma(near_y + 1)))
    return float(known - 1 / neighbours - np.mean(digamma(near_x) + digamma(near_y)))
