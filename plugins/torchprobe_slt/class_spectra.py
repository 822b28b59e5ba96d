"""Spectra of the transforms of each class, and of points that the input tells right or wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe.numerics import auc, mean_spectrum
from torchprobe_slt.spectra import areas, of_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from torchprobe_slt.points import Points
    from torchprobe_slt.spectra import Array

__all__ = ["class_fields", "split_fields"]


def class_fields(transforms: Tensor, points: Points, d: int) -> dict[str, Any]:
    """Spectra of the matrix [sample, node·input] of each class.

    Args:
        transforms: of a layer: [node, sample, input].
        points: the samples.
        d: how many values a curve has.
    """
    rows = transforms.movedim(0, 1).flatten(1)  # [sample, node·input]
    each = [of_rows(rows[samples]) for samples in points.members()]
    longest = max(map(len, each))
    sigma = np.stack([np.pad(one, (0, longest - len(one))) for one in each])
    found = mean_spectrum(each, d)
    return {
        "class_sigma": ("class class_order", sigma),
        "class_spectrum": ("rank", found.values),
        "class_auc": ("class", areas(sigma, d)),
        "class_spectrum_auc": area(found.values, d),
    }


def split_fields(transforms: Tensor, points: Points, d: int) -> dict[str, Any]:
    """The nodes' spectra over points that the input tells right, and wrong."""
    correct, wrong = points.split()
    curves = {
        name: _curve(of_rows(transforms[:, samples]), d) if len(samples) else np.full(d, np.nan)
        for name, samples in (("cor", correct), ("inc", wrong))
    }
    found = {name: area(values, d) for name, values in curves.items()}
    return {
        "cor_spectrum": ("rank", curves["cor"]),
        "inc_spectrum": ("rank", curves["inc"]),
        "cor_auc": found["cor"],
        "inc_auc": found["inc"],
        "delta_auc": found["inc"] - found["cor"],
        "n_split": float(len(correct)),
    }


def _curve(sigmas: Sequence[Array] | Array, d: int) -> Array:
    return mean_spectrum(sigmas, d).values


def area(curve: Array, d: int) -> float:
    """The area under an averaged curve, NaN where there is none."""
    return auc(curve, d) if np.isfinite(curve).all() else math.nan
