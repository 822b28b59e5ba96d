"""Ledoit-Wolf shrinkage of a pooled within-class scatter, from streamed statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from torchprobe.errors import InsufficientDataError, SettingError, ShapeError
from torchprobe.numerics._arrays import Array, as_array, as_square

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class NormMoments(NamedTuple):
    """Higher moments of the rows c = x − m of one class about a point m.

    third [channel] is Σ‖c‖²·c and fourth is Σ‖c‖⁴.
    """

    third: Array
    fourth: float


def norm_moments(rows: ArrayLike, point: ArrayLike) -> NormMoments:
    """Higher moments of rows [row, channel] of one class about a point [channel].

    Raises:
        ShapeError: the point does not have one value per channel.

    >>> norm_moments([[0.0], [2.0]], [1.0])
    NormMoments(third=array([0.]), fourth=2.0)
    """
    values = as_array(rows, "rows", "row channel")
    centred = values - _vector(point, values.shape[1], "point")
    squares = np.einsum("rc,rc->r", centred, centred)
    return NormMoments(squares @ centred, float(squares @ squares))


def recentred(
    moments: NormMoments, scatter: ArrayLike, count: int, shift: ArrayLike
) -> NormMoments:
    """The same moments about m + shift, when m is the rows' own mean; exact.

    With S the class's scatter about m and δ the shift,
    Σ‖c−δ‖⁴ = q + 4δ'Sδ + n‖δ‖⁴ + 2‖δ‖²·tr S − 4δ't and
    Σ‖c−δ‖²(c−δ) = t − tr(S)·δ − 2Sδ − n‖δ‖²·δ.
    Two parts of a class merge by moving both to the common mean and adding. This needs one
    scatter a class: with the pooled scatter alone no exact one-pass form exists, and the fourth
    moment takes a second look at the data.

    Raises:
        ShapeError: scatter or shift do not match the moments.

    >>> rows = [[0.0, 0.0], [2.0, 0.0]]
    >>> about_mean = norm_moments(rows, [1.0, 0.0])
    >>> recentred(about_mean, [[2.0, 0.0], [0.0, 0.0]], 2, [-1.0, 0.0]).fourth
    16.0
    """
    spread = as_square(scatter, "scatter")
    delta = _vector(shift, len(spread), "shift")
    third = _vector(moments.third, len(spread), "third")
    length, trace, pushed = float(delta @ delta), float(np.trace(spread)), spread @ delta
    fourth = moments.fourth + 4.0 * float(delta @ pushed) + count * length**2
    return NormMoments(
        third=third - (trace + count * length) * delta - 2.0 * pushed,
        fourth=fourth + 2.0 * length * trace - 4.0 * float(delta @ third),
    )


def ledoit_wolf_intensity(within: ArrayLike, count: int, fourth: float) -> float:
    """Ledoit-Wolf intensity (0..1) for the pooled within-class covariance.

    within [channel, channel] is the pooled scatter S_W and fourth is Σ_i ‖x_i − m_{y_i}‖⁴ about
    the final class means. The result equals
    ``sklearn.covariance.ledoit_wolf_shrinkage(residuals, assume_centered=True)`` with the N
    residuals x_i − m_{y_i}. It is not what scikit-learn's LDA calls ``shrinkage="auto"``, which
    standardises and shrinks every class by itself from its n_k rows, and so shrinks roughly K
    times harder than the pooled estimate needs. Source: Ledoit & Wolf 2004, section 3.

    Raises:
        InsufficientDataError: count < 1.
        SettingError: fourth is negative or not finite.

    >>> round(ledoit_wolf_intensity([[4.0, 0.0], [0.0, 1.0]], 4, 12.5), 6)
    1.0
    """
    scatter = as_square(within, "within")
    if count < 1:
        raise InsufficientDataError(f"count={count}; Ledoit-Wolf shrinkage needs rows")
    if not 0 <= fourth < np.inf:
        raise SettingError(f"fourth={fourth}; expected the sum of squared squared norms, ≥ 0")
    covariance = scatter / count
    size = float(np.vdot(covariance, covariance))
    error = max((fourth / count - size) / count, 0.0)
    distance = size - float(np.trace(covariance)) ** 2 / len(covariance)
    # an error beyond the distance to the target would shrink past it
    return 1.0 if error >= distance > 0 else error / distance if distance > 0 else 0.0


def shrunk(scatter: Array, intensity: float) -> Array:
    """(1 − α)·S + α·(tr S / channels)·I, the trace kept."""
    if not 0 <= intensity <= 1:
        raise SettingError(f"shrinkage={intensity}; expected a number from 0 to 1")
    blended = (1.0 - intensity) * scatter
    blended[np.diag_indices_from(blended)] += intensity * np.trace(scatter) / len(scatter)
    return np.asarray(blended)


def _vector(values: ArrayLike, length: int, name: str) -> Array:
    vector = as_array(values, name, "channel")
    if len(vector) != length:
        raise ShapeError(f"{name} has {len(vector)} values; expected one per channel, {length}")
    return vector
