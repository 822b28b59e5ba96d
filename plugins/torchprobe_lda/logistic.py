"""Multinomial logistic regression on a sample that fits memory."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from torchprobe.errors import InsufficientDataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["Logistic", "logistic"]

TOLERANCE = 1e-3
"""Largest entry of the gradient of the mean loss at which to stop: accuracies no longer change."""
ROUNDING = 1e-12
"""Spread below this share of a channel's size is what rounding leaves of a constant."""


@dataclass(frozen=True, eq=False)
class Logistic:
    """A fitted regression: scores are x·weights' + intercepts, for activations x as they come."""

    weights: Tensor
    """float64 [class, channel]"""
    intercepts: Tensor
    """float64 [class]"""
    classes: Tensor
    """What the classes are, as they were given: int64 [class]"""
    converged: bool

    def predicted(self, rows: Tensor) -> Tensor:
        """The likeliest class of each row: int64 [row]."""
        scores = torch.addmm(self.intercepts, rows, self.weights.mT)
        return self.classes[scores.argmax(1)]

    def to(self, device: torch.device) -> Self:
        """The same where some rows are."""
        if self.weights.device == device:
            return self
        weights, intercepts = self.weights.to(device), self.intercepts.to(device)
        return replace(
            self, weights=weights, intercepts=intercepts, classes=self.classes.to(device)
        )


def logistic(rows: NDArray[Any], classes: NDArray[np.int64], l2: float, max_steps: int) -> Logistic:
    """Fit by L-BFGS, with standardised channels and a penalty on the weights.

    Minimises mean cross-entropy + l2/2·‖weights‖², where the weights are those of channels with
    unit variance; channels that do not vary get none. Source: scikit-learn's
    ``LogisticRegression(C=1 / (l2 * rows))``.

    Raises:
        InsufficientDataError: fewer than two classes, or no channel varies.

    Example:
        >>> rows = np.array([[0.0, 9], [1, 9], [4, 9], [5, 9]])
        >>> fitted = logistic(rows, np.array([3, 3, 7, 7]), l2=0.01, max_steps=100)
        >>> fitted.predicted(torch.tensor([[2.0, 9], [3, 9]], dtype=torch.float64)).tolist()
        [3, 7]
    """
    mean, std = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    varying = std > ROUNDING * np.abs(mean)
    if len(np.unique(classes)) < 2 or not varying.any():  # noqa: PLR2004
        raise InsufficientDataError(
            f"{len(rows):,} rows of {len(np.unique(classes))} classes with {varying.sum():,} "
            "channels that vary; a probe needs two classes and something that varies"
        )
    inputs = (rows[:, varying] - mean[varying]) / std[varying]
    model, converged = _fitted(inputs.astype(np.float32), classes, l2, max_steps)
    weights = np.zeros((len(model.coef_), len(std)))
    weights[:, varying] = model.coef_ / std[varying]
    intercepts = model.intercept_ - weights @ mean
    if len(weights) == 1:  # two classes: the score of the second against the first
        weights, intercepts = (np.concatenate([-part, part]) / 2 for part in (weights, intercepts))
    known = torch.from_numpy(model.classes_)
    return Logistic(torch.from_numpy(weights), torch.from_numpy(intercepts), known, converged)


def _fitted(
    inputs: NDArray[np.float32], classes: NDArray[np.int64], l2: float, max_steps: int
) -> tuple[Any, bool]:
    """scikit-learn's model, and whether it converged."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1 / (l2 * len(inputs)), tol=TOLERANCE, max_iter=max_steps)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model.fit(inputs, classes)
    for each in told:  # that it did not converge is said with the result
        if not issubclass(each.category, ConvergenceWarning):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return model, not any(issubclass(each.category, ConvergenceWarning) for each in told)
