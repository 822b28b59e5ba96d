"""What is solved once the data to fit has been seen: the discriminant space and its control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
import torch

from torchprobe.errors import InsufficientDataError, SettingError
from torchprobe.numerics import solve_lda
from torchprobe_lda.control import Control, class_of_bin, class_statistics
from torchprobe_lda.discriminant import Discriminant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from torchprobe import LayerBatch
    from torchprobe.accumulators import GroupMeans, Mean, WithinScatter
    from torchprobe.numerics import LdaSolution
    from torchprobe.numerics.lda import Dof

    Array = NDArray[np.float64]

__all__ = ["Fit", "Priors", "fit", "fourth_powers", "with_control"]

Priors: TypeAlias = "Literal['data', 'uniform'] | Mapping[str, float]"


@dataclass(frozen=True, eq=False)
class Fit:
    """A solved discriminant space, ready for batches."""

    solution: LdaSolution
    discriminant: Discriminant
    control: Control | None = None
    no_control: str = ""
    """Why there is none though it was asked for."""

    @property
    def labels(self) -> Tensor:
        """The labels of its classes, ascending: int64 [class], on the CPU."""
        return self.discriminant.classes.cpu()

    def to(self, device: torch.device) -> Self:
        """The same where some rows are."""
        if self.discriminant.origin.device == device:
            return self
        control = None if self.control is None else self.control.to(device)
        return replace(self, discriminant=self.discriminant.to(device), control=control)


def fit(
    scatter: WithinScatter,
    names: Sequence[str],
    *,
    priors: Priors,
    dof: Dof,
    shrinkage: float | Literal["ledoit_wolf"] | None,
    fourth: Mean | None = None,
) -> Fit:
    """Solve for the space in which the classes of a scatter lie farthest apart.

    Args:
        scatter: class means and pooled scatter.
        names: the classes' names, in the order of their labels.
        priors: as for `torchprobe_lda.LDA`.
        dof: likewise.
        shrinkage: likewise.
        fourth: ‖x − m‖⁴ about the class means, where Ledoit-Wolf shrinkage needs it.

    Raises:
        EmptyStateError: the scatter has seen nothing.
        InsufficientDataError: fewer than two classes, no spread, class means that coincide.
        SettingError: priors that do not fit the classes.
        NonFiniteError: NaN or infinity among the statistics.
    """
    counts = _numpy(scatter.counts)  # before all else: it tells when nothing was seen
    solution = solve_lda(
        counts,
        _numpy(scatter.means),
        _numpy(scatter.within),
        priors=_priors(priors, names),
        dof=dof,
        shrinkage=shrinkage,
        fourth=None if fourth is None else _sum(fourth),
    )
    return Fit(solution, Discriminant.of(solution, scatter.groups))


def with_control(found: Fit, scatter: WithinScatter, bins: GroupMeans, dof: Dof) -> Fit:
    """The fit together with its control, or with the reason why there is none."""
    try:
        control = _control(scatter, bins, dof, found.solution.shrinkage)
    except InsufficientDataError as error:
        return replace(found, no_control=str(error))
    return replace(found, control=control)


def _control(scatter: WithinScatter, bins: GroupMeans, dof: Dof, shrinkage: float) -> Control:
    """The same for the control's classes, whose shares are those of the true classes.

    Their scatter within is what the total scatter leaves when the scatter between them is taken
    off. For the true classes that would lose digits; here next to nothing is taken off, as the
    means of classes that mean nothing are all alike.
    """
    classes = class_of_bin(_numpy(scatter.counts).astype(np.float64))
    counts, means = class_statistics(
        _numpy(bins.groups), _numpy(bins.counts).astype(np.float64), _numpy(bins.value), classes
    )
    within = _less(_numpy(scatter.total), counts, means)
    solution = solve_lda(counts, means, within, dof=dof, shrinkage=shrinkage or None)
    return Control(Discriminant.of(solution, torch.from_numpy(solution.classes)), classes)


def _less(total: Any, counts: Array, means: Array) -> Array:
    """A total scatter without the scatter between classes [channel, channel]."""
    offsets = (means - counts @ means / counts.sum()) * np.sqrt(counts)[:, np.newaxis]
    within = total - offsets.T @ offsets
    diagonal = np.diagonal(within)
    # rounding of a constant channel: what is left must not be negative
    within[np.diag_indices_from(within)] = np.where(np.diagonal(total) > 0, diagonal.clip(0), 0)
    return np.asarray(within)


def _priors(priors: Priors, names: Sequence[str]) -> Array | None:
    """Prior of each class, None for the classes' shares of the data."""
    if priors == "data":
        return None
    if priors == "uniform":
        return np.full(len(names), 1 / max(len(names), 1))
    assert isinstance(priors, Mapping)
    missing = [name for name in names if name not in priors]
    if missing:
        raise SettingError(
            f"priors= names {len(priors)} classes but not {missing[0]!r}, which the data has; give "
            "every class one"
        )
    given: Any = [priors[name] for name in names]
    return np.asarray(given, dtype=np.float64)


def _numpy(tensor: Tensor) -> Any:
    return tensor.numpy(force=True)


def fourth_powers(batch: LayerBatch, classes: Tensor, means: Tensor) -> Tensor:
    """‖x − m‖⁴ of each row that has one of the classes, about its mean: float64 [row]."""
    rows, labels = batch.rows(), batch.labels.cpu()
    known = torch.isin(labels, classes)
    at = torch.searchsorted(classes, labels[known]).to(rows.device)
    offsets = rows[known.to(rows.device)] - means.to(rows.device)[at]
    return offsets.square().sum(1).square()


def _sum(fourth: Mean) -> float:
    if not fourth.state:
        raise InsufficientDataError(
            "shrinkage='ledoit_wolf' needs to see the data of 'fit' twice, for the class means and "
            "for the spread about them; probe.run() does so, a loop of your own calls "
            "probe.next_pass() and shows the data again"
        )
    return float(fourth.value * fourth.count)
