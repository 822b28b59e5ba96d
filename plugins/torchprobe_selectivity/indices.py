"""Selectivity in one number: Morcos's index of a unit, d' of a unit for a class.

"Selectivity" means different things to different people. These are functions of class means and
spreads; the accuracy of a probe minus that of a control task, which goes by the same name, is not
among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["dprime", "morcos"]

Array: TypeAlias = "NDArray[np.float64]"

# Spread below this share of a feature's size is what rounding leaves of a constant.
ROUNDING = 1e-12


def morcos(csv: Array) -> Array:
    """Morcos's class selectivity index of each unit from its class means [class, channel].

    (μ_max − μ_−max) / (μ_max + μ_−max), where μ_max is a unit's largest class mean and μ_−max the
    mean of its other class means (each class counts once, however many rows it has): 0 if all
    classes excite the unit alike, 1 if only one does. The index was made for activations that are
    never negative. On signed ones it is unbounded and means nothing, hence NaN where μ_−max is
    negative; also where μ_max is 0 (dead units) and where there is only one class.

    Returns:
        float64 [channel], 0..1 or NaN.

    Source: Morcos, Barrett, Rabinowitz & Botvinick, "On the importance of single directions for
    generalization", ICLR 2018, section 2.3.

    >>> morcos(np.array([[2.0, 1, 0, -1], [0, 1, 0, 2], [1, 1, 0, -3]]))
    array([0.6, 0. , nan, nan])
    """
    if len(csv) < 2:  # noqa: PLR2004 - "the other classes" need another class
        return np.full(csv.shape[1], np.nan)
    largest = csv.max(axis=0)  # [channel]
    # a sum without the largest, not the difference of two sums: that would cancel
    others = np.sort(csv, axis=0)[:-1].mean(axis=0)
    defined = (others >= 0) & (largest > 0)
    index = np.full(csv.shape[1], np.nan)
    np.divide(largest - others, largest + others, out=index, where=defined)
    return index


def dprime(counts: Array, means: Array, squares: Array) -> Array:
    """How well each unit tells each class from the rest: d', in standard deviations.

    The rest are all other classes' rows taken together:
    d' = (μ_k − μ_rest) / sqrt((s²_k + s²_rest) / 2), s² being the unbiased variance of the rows.
    The two variances weigh the same, so that d' does not depend on how common a class is (Cohen's
    d, which weighs by rows, does). Positive where the class excites the unit more than the rest do,
    negative where less; ±1 is a distance of one standard deviation. NaN where the class or the rest
    has fewer than two rows, and where the unit does not vary within either.

    Args:
        counts: rows of each class [class].
        means: class means [class, channel].
        squares: sums of squared deviations from them [class, channel].

    Returns:
        float64 [class, channel], unbounded or NaN.

    Source: Simpson & Fitter, "What is the best index of detectability?", Psychological Bulletin 80,
    1973: d_a, the form of d' (Green & Swets 1966) for unequal variances.

    >>> counts, means = np.array([3, 3]), np.array([[2.0], [5.0]])
    >>> dprime(counts, means, squares=np.array([[2.0], [2.0]])).tolist()
    [[-3.0], [3.0]]
    """
    rest_counts, rest_means, rest_squares = _rest(counts, means, squares)
    n, n_rest = counts[:, np.newaxis], rest_counts[:, np.newaxis]
    enough = (n > 1) & (n_rest > 1)
    variance = squares / np.maximum(n - 1, 1) + rest_squares / np.maximum(n_rest - 1, 1)
    pooled = np.sqrt(variance / 2)
    size = np.maximum(np.abs(means), np.abs(rest_means))
    defined = enough & (pooled > ROUNDING * size)
    index = np.full(means.shape, np.nan)
    np.divide(means - rest_means, pooled, out=index, where=defined)
    return index


def _rest(counts: Array, means: Array, squares: Array) -> tuple[Array, Array, Array]:
    """Count, mean and squared deviations of all classes but each.

    Those before a class are combined with those behind it: taking a class off the total would
    leave rounding noise where that class holds most of the rows.
    """
    classes = list(zip(counts.astype(np.float64), means, squares, strict=True))
    nothing = (np.float64(0), np.zeros_like(means[0]), np.zeros_like(means[0]))
    before, behind = [nothing], [nothing]
    for each in classes[:-1]:
        before.append(_combined(before[-1], each))
    for each in classes[:0:-1]:
        behind.append(_combined(behind[-1], each))
    rest = [_combined(*pair) for pair in zip(before, reversed(behind), strict=True)]
    count, mean, squared = zip(*rest, strict=True)
    return np.array(count), np.array(mean), np.array(squared)


Moments: TypeAlias = "tuple[np.float64, Array, Array]"


def _combined(a: Moments, b: Moments) -> Moments:
    """Chan's update: the moments of two sets of rows taken together."""
    (n_a, mean_a, squares_a), (n_b, mean_b, squares_b) = a, b
    n = n_a + n_b
    if n == 0:
        return a
    delta = mean_b - mean_a
    return n, mean_a + delta * (n_b / n), squares_a + squares_b + delta**2 * (n_a * n_b / n)
