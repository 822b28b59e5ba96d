"""Singular value spectra, their normalisation and the area under their curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from torchprobe.errors import SettingError, ShapeError
from torchprobe.numerics._arrays import Array, as_array, choice, require_finite

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike

AucForm = Literal["trapezoid", "mean", "literal"]


@dataclass(frozen=True)
class MeanSpectrum:
    """Average of normalised spectra [index] over ``used`` of them; ``skipped`` were all zero."""

    values: Array
    used: int
    skipped: int


def singular_values_from_gram(gram: ArrayLike) -> Array:
    """Singular values, descending, of any X from its Gram matrix X'X, one or a stack of them.

    gram [..., channel, channel] → [..., index]. Values below about 1.5e-8 of the largest are
    lost in the Gram matrix; eigenvalues that rounding made negative count as 0.

    Raises:
        ShapeError: the last two axes are not square.
        NonFiniteError: NaN or infinity.

    >>> singular_values_from_gram([[8.0, 0.0], [0.0, 6.0]]).round(6)
    array([2.828427, 2.44949 ])
    """
    matrices = np.asarray(gram, dtype=np.float64)
    if matrices.ndim < 2 or matrices.shape[-1] != matrices.shape[-2]:
        raise ShapeError(f"gram has shape {matrices.shape}; expected [..., channel, channel]")
    require_finite(matrices, "gram")
    eigenvalues = np.linalg.eigvalsh(matrices)[..., ::-1]
    return np.asarray(np.sqrt(np.maximum(eigenvalues, 0.0)))


def singular_values(matrix: ArrayLike) -> Array:
    """Singular values, descending, of a matrix [row, channel].

    Raises:
        ShapeError: not a matrix of real numbers.
        NonFiniteError: NaN or infinity.

    >>> singular_values([[2.0, -1.0], [0.0, 2.0], [2.0, 1.0]]).round(6)
    array([2.828427, 2.44949 ])
    """
    values = np.linalg.svd(as_array(matrix, "matrix", "row channel"), compute_uv=False)
    return np.asarray(values, dtype=np.float64)


def normalised(sigma: ArrayLike) -> Array:
    """Spectrum divided by its first value: 1 at the left, then falling; NaN if all are zero.

    Raises:
        ShapeError: not a vector of descending values ≥ 0.

    >>> normalised([4.0, 2.0, 1.0])
    array([1.  , 0.5 , 0.25])
    """
    spectrum = _as_spectrum(sigma)
    return spectrum / spectrum[0] if spectrum[0] > 0 else np.full_like(spectrum, np.nan)


def mean_spectrum(spectra: Iterable[ArrayLike], d: int) -> MeanSpectrum:
    """Average of normalised spectra, each cut or zero-padded to ``d`` values.

    Spectra whose first value is 0 have no shape: they are skipped and counted. With none left
    the average is NaN. Source: Nagamine & Mesgarani 2017, Fig. 3B and 7A.

    Raises:
        SettingError: d < 1.
        ShapeError: a spectrum is not a vector of descending values ≥ 0.

    >>> mean_spectrum([[2.0, 1.0], [4.0], [0.0, 0.0]], d=2)
    MeanSpectrum(values=array([1.  , 0.25]), used=2, skipped=1)
    """
    fitted = [_fit(_as_spectrum(sigma), d) for sigma in spectra]
    shapes = [sigma / sigma[0] for sigma in fitted if sigma[0] > 0]
    values = np.mean(shapes, axis=0) if shapes else np.full(_length(d, 1), np.nan)
    return MeanSpectrum(np.asarray(values), len(shapes), len(fitted) - len(shapes))


def auc(sigma: ArrayLike, d: int, form: AucForm = "trapezoid") -> float:
    """Area under the normalised spectrum: how even, and so how complex, a map or layer is.

    ``trapezoid``: Σ_{i<d} (s_i + s_{i+1})/2 with s = σ/σ1, cut or zero-padded to d values; from
    0.5 (rank one) to d − 1 (flat). ``mean`` divides by d − 1. ``literal`` is the printed formula
    (σ_d − σ_1)/(2d)·Σ_{i<d}(s_i + s_{i+1}), negative and not scale-free. Compare layers only at
    the same d. NaN for a spectrum of zeros. Source: Nagamine & Mesgarani 2017, Eq. 5; the
    default replaces its prefactor, which puts ordinates where abscissae belong.

    Raises:
        SettingError: d < 2, or an unknown form.
        ShapeError: sigma is not a vector of descending values ≥ 0.

    >>> auc([4, 2, 1, 1], d=4), auc([4, 2, 1, 1], d=4, form="literal")
    (1.375, -1.03125)
    """
    choice(form, "form", ("trapezoid", "mean", "literal"))
    fitted = _fit(_as_spectrum(sigma), _length(d, 2))
    if fitted[0] == 0:
        return float("nan")
    shape = fitted / fitted[0]
    area = float(shape.sum() - (shape[0] + shape[-1]) / 2)
    if form == "mean":
        return area / (d - 1)
    return area if form == "trapezoid" else area * float(fitted[-1] - fitted[0]) / d


def evr_auc(evr: Sequence[float] | Array, d: int, root: bool = False) -> float:
    """Area under explained variance ratios normalised by the first.

    The ratios are powers; ``root=True`` takes their square roots first, as the axis of the
    figure says "singular value". Range as for :func:`auc`. Source: Nagamine & Mesgarani 2017,
    Fig. 3A and 3C.

    Raises:
        SettingError: d < 2.
        ShapeError: evr is not a vector of descending values ≥ 0.

    >>> round(evr_auc([27 / 31, 4 / 31], d=2), 6)
    0.574074
    """
    ratios = _as_spectrum(evr, "evr")
    return auc(np.sqrt(ratios) if root else ratios, d)


def _as_spectrum(sigma: ArrayLike, name: str = "sigma") -> Array:
    spectrum = as_array(sigma, name, "index")
    if spectrum.size == 0:
        raise ShapeError(f"{name} is empty; a spectrum has at least one value")
    if spectrum[-1] < 0 or np.any(np.diff(spectrum) > 0):
        raise ShapeError(f"{name} must hold values ≥ 0 in descending order; sort it first")
    return spectrum


def _fit(spectrum: Array, d: int) -> Array:
    """Cut or zero-pad to d values: [index]."""
    return np.pad(spectrum[: _length(d, 1)], (0, max(0, d - len(spectrum))))


def _length(d: int, least: int) -> int:
    if d < least:
        raise SettingError(f"d={d}; expected at least {least} values of the spectrum")
    return d
