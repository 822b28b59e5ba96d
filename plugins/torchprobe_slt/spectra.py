"""Singular values of many transforms, from whichever Gram matrix is the smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from torchprobe.accumulators.rows import float64_rows
from torchprobe.numerics import auc, mean_spectrum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["areas", "curve", "from_grams", "of_rows"]

_ROUNDING = 1e-14
"""Of the largest eigenvalue of a Gram matrix; what is smaller is rounding and counts as 0."""


def from_grams(grams: Tensor) -> Array:
    """Singular values, descending, from Gram matrices [..., feature, feature]: [..., order].

    Those below 1e-7 of the largest are lost in the Gram matrix and count as 0. torch's solver is
    taken because it keeps to torch's number of threads.

    >>> from_grams(torch.diag(torch.tensor([8.0, 6.0])))
    array([2.82842712, 2.44948974])
    """
    values = torch.linalg.eigvalsh(grams.double().cpu()).flip(-1)
    largest = values[..., :1].clamp(min=0)
    return torch.where(values > _ROUNDING * largest, values, 0).clamp(min=0).sqrt().numpy()


def of_rows(rows: Tensor) -> Array:
    """Singular values, descending, of matrices [..., row, feature]: [..., order].

    >>> of_rows(torch.tensor([[2.0, -1.0], [0.0, 2.0], [2.0, 1.0]]))
    array([2.82842712, 2.44948974])
    """
    rows = float64_rows(rows)
    wide = rows.shape[-2] < rows.shape[-1]
    return from_grams(rows @ rows.mT if wide else rows.mT @ rows)


def areas(sigmas: Array, d: int) -> Array:
    """The area under each normalised spectrum [item, order], NaN where all values are 0: [item]."""
    return np.array([auc(sigma, d) for sigma in sigmas], dtype=np.float64)


def curve(sigmas: Sequence[Array] | Array, d: int) -> Array:
    """The average of normalised spectra, cut or zero-padded to ``d``: [rank]; NaN where none."""
    return mean_spectrum(sigmas, d).values
