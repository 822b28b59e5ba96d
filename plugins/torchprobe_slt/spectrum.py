"""Spectra of many matrices at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from torchprobe.numerics import auc, mean_spectrum, normalised, singular_values_from_gram

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from torch import Tensor

    from torchprobe.numerics.spectra import AucForm

    Array = NDArray[np.float64]

__all__ = ["Spectra", "known_mean", "resolved"]

_RANK_ONE = 1e-6  # σ2/σ1: float32 Jacobians of one function differ by their rounding


@dataclass(frozen=True, eq=False)
class Spectra:
    """Spectra of many nodes or inputs."""

    each: Array
    """Divided by their first value; NaN for those that are all zero: [node, index]."""
    auc: Array
    """Area under each of them; NaN likewise: [node]."""
    mean: Array
    """Mean of those that are not all zero: [index]."""
    mean_auc: float
    """Area under that mean."""

    @classmethod
    def of(cls, grams: Tensor, d: int, form: AucForm) -> Spectra:
        """The first d singular values behind Gram matrices [node, feature, feature].

        Only their lower triangles are read.
        """
        sigma = resolved(singular_values_from_gram(grams.cpu().numpy()))
        sigma = np.pad(sigma[:, :d], ((0, 0), (0, max(0, d - sigma.shape[1]))))
        mean = mean_spectrum(sigma, d).values
        return cls(
            np.array([normalised(one) for one in sigma]),
            np.array([auc(one, d, form) for one in sigma]),
            mean,
            float("nan") if np.isnan(mean).any() else auc(mean, d, form),
        )

    @classmethod
    def none(cls, nodes: int, d: int) -> Spectra:
        """No spectra at all: NaN throughout."""
        nothing = np.full((nodes, d), np.nan)
        return cls(nothing, nothing[:, 0], np.full(d, np.nan), float("nan"))

    @property
    def zero(self) -> int:
        """How many are all zero."""
        return int(np.isnan(self.auc).sum())

    @property
    def rank_one(self) -> int:
        """How many have rank one."""
        return int((self.each[:, 1] < _RANK_ONE).sum())


def resolved(sigma: Array) -> Array:
    """Singular values from Gram matrices, those that rounding made set to 0: [..., index]."""
    resolution = 4 * np.sqrt(sigma.shape[-1] * np.finfo(np.float64).eps)
    return np.where(sigma > resolution * sigma[..., :1], sigma, 0.0)


def known_mean(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN where there are none.

    >>> known_mean([1.0, float("nan"), 2.0])
    1.5
    """
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
