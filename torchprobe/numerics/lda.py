"""Linear discriminant analysis solved from class counts, class means and one pooled scatter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from torchprobe.errors import InsufficientDataError, SettingError, ShapeError
from torchprobe.numerics._arrays import (
    ROUNDING,
    Array,
    Indices,
    as_array,
    as_square,
    choice,
    fix_signs,
)
from torchprobe.numerics.shrinkage import ledoit_wolf_intensity, shrunk

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Dof = Literal["n-k", "n"]

# scikit-learn's ``tol``: directions of a smaller relative size are taken for rank deficiency.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class LdaSolution:
    """A fitted discriminant space, and what did not take part in it.

    scalings [channel, component] is W, unit-variance within classes: W'(S_W/c)W = I.
    evr [ratio] has min(class − 1, channel) explained variance ratios, summing to 1; components
    whose ratio is below 1e-8 of the first have no column in W. centroids [class, component] are
    class means in the space, around origin [channel]. classes holds the index of each class that
    had rows, absent the others; excluded lists channels without variance within classes, which
    have zero weight. rank counts directions of the within-class covariance.
    """

    scalings: Array
    evr: Array
    origin: Array
    centroids: Array
    priors: Array
    classes: Indices
    absent: Indices
    excluded: Indices
    rank: int
    divisor: float
    shrinkage: float

    def project(self, rows: ArrayLike, orthonormal: bool = False) -> Array:
        """Rows [row, channel] in the discriminant space: z [row, component]."""
        basis = self.orthonormal_basis() if orthonormal else self.scalings
        return np.asarray((self._rows(rows) - self.origin) @ basis)

    def scores(self, rows: ArrayLike) -> Array:
        """Score of each class that had rows [row, class]: z·μ_k − ½‖μ_k‖² + ln π_k."""
        lengths = np.einsum("kc,kc->k", self.centroids, self.centroids)
        return np.asarray(self.project(rows) @ self.centroids.T - lengths / 2 + np.log(self.priors))

    def predict(self, rows: ArrayLike) -> Indices:
        """Index of the class with the highest score [row]."""
        return np.asarray(self.classes[self.scores(rows).argmax(axis=1)])

    def orthonormal_basis(self) -> Array:
        """Orthonormal columns spanning the same space as W [channel, component], by QR."""
        return fix_signs(np.linalg.qr(self.scalings).Q)

    def _rows(self, rows: ArrayLike) -> Array:
        values = as_array(rows, "rows", "row channel")
        if values.shape[1] != len(self.origin):
            raise ShapeError(
                f"rows have {values.shape[1]} channels; the space was fitted on {len(self.origin)}"
            )
        return values


@dataclass(frozen=True)
class _Statistics:
    """Checked sufficient statistics of the classes that have rows."""

    counts: Array  # [class]
    means: Array  # [class, channel]
    within: Array  # [channel, channel]
    classes: Indices  # [class]
    absent: Indices

    @property
    def total(self) -> float:
        return float(self.counts.sum())


def solve_lda(
    counts: ArrayLike,
    means: ArrayLike,
    within: ArrayLike,
    *,
    priors: ArrayLike | None = None,
    dof: Dof = "n-k",
    shrinkage: float | Literal["ledoit_wolf"] | None = None,
    fourth: float | None = None,
) -> LdaSolution:
    """Discriminant space that spreads class means most against the spread within classes.

    counts [class], means [class, channel], within [channel, channel] = Σ_k Σ_{i∈k} cc' about the
    class means. The scatter is divided by N − K (``dof="n-k"``, scikit-learn until 2020) or by N
    (``"n"``, scikit-learn 1.9); explained variance ratios do not depend on it. Priors default to
    the class shares. ``shrinkage`` blends the scatter with the scaled identity: a number 0..1,
    or "ledoit_wolf", which needs ``fourth`` (see :func:`ledoit_wolf_intensity`). Each column's
    largest entry is positive. Source: Nagamine & Mesgarani 2017, section 3.2 (SVD solver).

    Raises:
        ShapeError: the arrays do not fit one another, or the scatter cannot be one.
        InsufficientDataError: fewer than two classes with rows, no more rows than classes, no
            channel that varies within classes, or class means that coincide.
        SettingError: an unknown dof, or priors, shrinkage or fourth that cannot be used.

    >>> means = [[-3, 0], [3, 0], [0, 4]]
    >>> lda = solve_lda([4, 4, 4], means, [[6, 0], [0, 24]])
    >>> lda.evr.round(6), lda.predict([[-2, 0], [0, 3]])
    (array([0.870968, 0.129032]), array([0, 2]))
    """
    data = _statistics(counts, means, within)
    intensity = _intensity(shrinkage, fourth, data)
    divisor = data.total - len(data.counts) * (choice(dof, "dof", ("n-k", "n")) == "n-k")
    return _solve(data, _priors(priors, data), intensity, divisor)


def class_scatter(
    solution: LdaSolution,
    counts: ArrayLike,
    means: ArrayLike,
    scatter: ArrayLike,
    center: bool = False,
) -> Array:
    """Scatter of each class in the discriminant space [class, component, component].

    T_k = W'(S_k + n_k·(m_k − xbar)(m_k − xbar)')W, whose eigenvalues are the squared singular
    values of the class's projected rows; ``center=True`` leaves out the mean. counts [class],
    means [class, channel] and scatter [class, channel, channel] (about the class means) may come
    from another split than the fit. Source: Nagamine & Mesgarani 2017, Fig. 3B.

    Raises:
        ShapeError: the arrays do not fit one another or the solution.

    >>> lda = solve_lda([4, 4, 4], [[-3, 0], [3, 0], [0, 4]], [[6, 0], [0, 24]])
    >>> class_scatter(lda, [4], [[-3, 0]], [[[2, 0], [0, 8]]]).round(3)
    array([[[57.   , 12.   ],
            [12.   ,  5.667]]])
    """
    sizes = as_array(counts, "counts", "class")
    offsets = as_array(means, "means", "class channel") - solution.origin
    spreads = as_array(scatter, "scatter", "class channel channel")
    expected = (len(sizes), *2 * [len(solution.origin)])
    if spreads.shape != expected or offsets.shape != expected[:2]:
        raise ShapeError(
            f"means {offsets.shape} and scatter {spreads.shape} must have one entry for each of "
            f"{len(sizes)} counts and {len(solution.origin)} channels"
        )
    projected = solution.scalings.T @ spreads @ solution.scalings
    if center:
        return np.asarray(projected)
    centroids = offsets @ solution.scalings  # [class, component]
    return np.asarray(projected + np.einsum("k,ki,kj->kij", sizes, centroids, centroids))


def _statistics(counts: ArrayLike, means: ArrayLike, within: ArrayLike) -> _Statistics:
    sizes = as_array(counts, "counts", "class")
    scatter = as_square(within, "within")
    centres = np.asarray(means)
    if centres.shape != (len(sizes), len(scatter)):
        raise ShapeError(
            f"means {centres.shape} must have one row for each of {len(sizes)} counts and one "
            f"column for each of {len(scatter)} channels of the scatter"
        )
    if np.any(sizes < 0) or np.any(np.diagonal(scatter) < 0):
        raise ShapeError("counts and the diagonal of within cannot be negative")
    present = np.flatnonzero(sizes > 0)
    _require_enough(sizes[present])
    centres = as_array(centres[present], "means", "class channel")  # absent ones may be NaN
    return _Statistics(sizes[present], centres, scatter, present, np.flatnonzero(sizes == 0))


def _require_enough(counts: Array) -> None:
    if len(counts) < 2:
        raise InsufficientDataError(f"{len(counts)} classes have rows; LDA needs at least two")
    if counts.sum() <= len(counts):
        raise InsufficientDataError(
            f"{counts.sum():g} rows in {len(counts)} classes leave no spread within classes; "
            "give more rows than classes"
        )


def _intensity(shrinkage: float | str | None, fourth: float | None, data: _Statistics) -> float:
    if shrinkage is None:
        return 0.0
    if not isinstance(shrinkage, str):
        return float(shrinkage)
    choice(shrinkage, "shrinkage", ("ledoit_wolf",))
    if fourth is None:
        raise SettingError(
            "shrinkage='ledoit_wolf' needs fourth, the sum over rows of the squared squared "
            "distance to the class mean; give it or a number as shrinkage"
        )
    return ledoit_wolf_intensity(data.within, int(data.total), fourth)


def _priors(priors: ArrayLike | None, data: _Statistics) -> Array:
    if priors is None:
        return data.counts / data.total
    everyone = as_array(priors, "priors", "class")
    if len(everyone) != len(data.classes) + len(data.absent):
        raise ShapeError(f"got {len(everyone)} priors for {len(data.classes)} classes")
    if np.any(everyone[data.absent] != 0) or np.any(everyone[data.classes] <= 0):
        raise SettingError("priors must be above 0 for each class with rows and 0 for the others")
    if abs(everyone.sum() - 1) > 1e-9:
        raise SettingError(f"priors sum to {everyone.sum():.12g}; they must sum to 1")
    return everyone[data.classes]


def _solve(data: _Statistics, priors: Array, intensity: float, divisor: float) -> LdaSolution:
    whitening, excluded = _whitening(shrunk(data.within, intensity), data, divisor)
    # relative to the first mean: nothing is lost when the means share a large offset
    origin = data.means[0] + priors @ (data.means - data.means[0])
    scalings, evr = _between(data, priors, origin, whitening)
    return LdaSolution(
        scalings=scalings,
        evr=evr,
        origin=origin,
        centroids=(data.means - origin) @ scalings,
        priors=priors,
        classes=data.classes,
        absent=data.absent,
        excluded=excluded,
        rank=whitening.shape[1],
        divisor=divisor,
        shrinkage=intensity,
    )


def _whitening(within: Array, data: _Statistics, divisor: float) -> tuple[Array, Indices]:
    """A [channel, direction] with A'(S_W/c)A = I, and the channels left out."""
    std = np.sqrt(np.diagonal(within) / data.total)  # [channel]
    varying = std > ROUNDING * np.abs(data.means).max(axis=0)
    if not varying.any():
        raise InsufficientDataError("no channel varies within classes; is the layer constant?")
    scaled = within[np.ix_(varying, varying)]
    scaled /= np.outer(std[varying], std[varying]) * divisor
    roots = _inverse_roots(scaled)
    whitening = np.zeros((len(std), roots.shape[1]))
    whitening[varying] = roots / std[varying, np.newaxis]
    return whitening, np.flatnonzero(~varying)


def _inverse_roots(covariance: Array) -> Array:
    """R with R'CR = I, for directions whose variance exceeds the tolerance [channel, direction].

    Any such R will do: the space does not change when the whitened directions are turned. That of
    Cholesky takes a ninth of the time of eigenvectors (2,048 channels), which tell what to leave
    out.
    """
    from scipy.linalg import lapack

    factor, failed = lapack.dpotrf(covariance, lower=1)
    if not failed:
        inverse, failed = lapack.dtrtri(factor, lower=1)
        # 1 / ‖L⁻¹‖² is no more than the smallest eigenvalue
        if not failed and np.vdot(inverse, inverse) * TOLERANCE**2 < 1:
            return np.asarray(inverse.T)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    kept = eigenvalues > TOLERANCE**2
    return np.asarray(vectors[:, kept] / np.sqrt(eigenvalues[kept]))


def _between(
    data: _Statistics, priors: Array, origin: Array, whitening: Array
) -> tuple[Array, Array]:
    """Scalings [channel, component] and explained variance ratios [ratio]."""
    weights = np.sqrt(data.total * priors / (len(priors) - 1))
    spread = (weights[:, np.newaxis] * (data.means - origin)) @ whitening  # [class, direction]
    _, sizes, axes = np.linalg.svd(spread, full_matrices=False)
    _require_separation(sizes[0], weights, data.means, whitening)
    most = min(len(priors) - 1, len(origin))
    kept = np.count_nonzero(sizes[:most] > TOLERANCE * sizes[0])
    power = sizes**2
    return fix_signs(whitening @ axes[:kept].T), power[:most] / power.sum()


def _require_separation(size: float, weights: Array, means: Array, whitening: Array) -> None:
    """Class means that differ by no more than their own rounding have no direction."""
    resolution = np.finfo(np.float64).eps * (weights.max() * np.abs(means).max(axis=0))
    if size <= np.linalg.norm(resolution @ np.abs(whitening)):
        raise InsufficientDataError("the class means coincide: no direction separates classes")
