"""From the state of an `LDA` to the fields of its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchprobe import Field
from torchprobe.numerics import (
    auc,
    evr_auc,
    mean_spectrum,
    singular_values_from_gram,
)
from torchprobe_lda.accuracies import Findings, count_accuracy, listed, scored
from torchprobe_lda.description import MARKS, spectra_fit
from torchprobe_lda.marks import ELSE, SUBSETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from torchprobe_lda.analyzer import LDA
    from torchprobe_lda.fit import Fit

    Array = NDArray[np.float64]

__all__ = ["findings"]


def findings(lda: LDA, fit: Fit) -> Findings:
    """Everything that the state of a fork says, given the space solved for."""
    names = lda.class_names(fit.labels)
    found = Findings({"class": names, "predicted": names})
    _space(found, lda, fit)
    for split in lda.scored:
        also = " with all that describes this split" if split == lda.described else ""
        count_accuracy(found, lda, fit.labels, split, fit.no_control, also)
    if lda.described is not None:
        _description(found, lda, fit)
    return found


# -- the space


def _space(found: Findings, lda: LDA, fit: Fit) -> None:
    solution, counts = fit.solution, lda.scatter.counts.numpy(force=True)
    channels, classes = len(solution.origin), len(fit.labels)
    constant = np.zeros(channels, dtype=bool)
    constant[solution.excluded] = True
    found.fields |= {
        "evr": Field("ratio", solution.evr, range=(0, 1)),
        "evr_auc": float(evr_auc(solution.evr, _points(classes))),
        "scalings": ("channel component", _basis(lda, fit)),
        "grand_mean": ("channel", solution.origin),
        "centroids": ("class component", solution.centroids @ _turn(lda, fit)),
        "priors": Field("class", solution.priors, range=(0, 1)),
        "counts": Field("class", counts, unit="rows"),
        "majority_share": Field("", counts.max() / counts.sum(), range=(0, 1)),
        "rank": int(solution.rank),
        "constant": ("channel", constant),
        "n_constant": int(constant.sum()),
        "shrinkage": Field("", solution.shrinkage, range=(0, 1)),
    }
    found.notes += _space_notes(found, counts, solution.rank)


def _space_notes(found: Findings, counts: NDArray[np.int64], rank: int) -> list[str]:
    notes = []
    varying = len(found.fields["constant"][1]) - found.fields["n_constant"]
    once = [name for name, n in zip(found.coords["class"], counts, strict=True) if n == 1]
    if varying < len(found.fields["constant"][1]):
        n = found.fields["n_constant"]
        what = "1 channel does" if n == 1 else f"{n:,} channels do"
        notes.append(f"{what} not vary within classes: left out")
    if rank < varying:
        notes.append(
            f"rows vary within classes along {rank:,} directions of {varying:,} ({counts.sum():,} "
            "rows); the others are left out. shrinkage='ledoit_wolf' would keep them"
        )
    if once:
        notes.append(f"'fit' has a single row of {listed(once)}, which stands for the class")
    return notes


def _points(classes: int) -> int:
    """How many values of a spectrum an area is taken over: the same for every layer."""
    return max(classes - 1, 2)


def _basis(lda: LDA, fit: Fit) -> Array:
    solution = fit.solution
    return solution.orthonormal_basis() if lda.orthonormal else solution.scalings


def _turn(lda: LDA, fit: Fit) -> Array:
    """From points by the solver's scalings to points in the basis asked for [component, basis]."""
    scalings = fit.solution.scalings
    if not lda.orthonormal:
        return np.eye(scalings.shape[1])
    return np.asarray(np.linalg.lstsq(scalings, fit.solution.orthonormal_basis())[0])


# -- the description


def _description(found: Findings, lda: LDA, fit: Fit) -> None:
    _spectra(found, lda, fit)
    _subsets(found, lda, fit)
    _network(found, lda, fit)
    _sample(found, lda, fit)
    if lda.described not in lda.scored and "points" not in found.fields:
        found.notes.append(f"no data of split {lda.described!r} was seen that could be described")


def _spectra(found: Findings, lda: LDA, fit: Fit) -> None:
    """Singular values of each class's points."""
    classes, components = fit.solution.centroids.shape
    spread = lda.description["spread"]
    if not spectra_fit(classes, components):
        found.notes.append(
            f"no class spectra: those of {classes:,} classes in {components:,} dimensions would "
            f"need {8 * classes * components**2:,} bytes"
        )
    if not spread.state:
        return
    at, seen = _places(spread.groups.numpy(), fit)
    turn = _turn(lda, fit)
    means = spread.means.numpy(force=True)[seen] @ turn
    inner = turn.T @ spread.scatter.numpy(force=True)[seen] @ turn
    rows = spread.counts.numpy(force=True)[seen]
    whole = inner + rows[:, None, None] * means[:, :, None] * means[:, None, :]
    spectra = singular_values_from_gram(whole)  # [class seen, component]
    d = _points(classes)
    average = mean_spectrum(spectra, d).values
    found.fields |= {
        "class_spectra": ("class component", _filled(spectra, at, classes)),
        "class_spectra_centered": (
            "class component",
            _filled(singular_values_from_gram(inner), at, classes),
        ),
        "class_spectrum": Field("order", average, range=(0, 1)),
        "class_auc": ("class", _filled(np.array([auc(s, d) for s in spectra]), at, classes)),
        "class_spectrum_auc": float(np.nan if np.isnan(average).any() else auc(average, d)),
    }


def _subsets(found: Findings, lda: LDA, fit: Fit) -> None:
    """Centroids of the separable and the inseparable rows of each class."""
    kept = (lda.description["separable"], lda.description["inseparable"])
    if not any(means.state for means in kept):
        return
    classes, turn = len(fit.labels), _basis(lda, fit)
    centroids = np.full((len(SUBSETS), classes, turn.shape[1]), np.nan)
    counts = np.zeros((len(SUBSETS), classes), dtype=np.int64)
    for subset, means in enumerate(kept):
        if means.state:
            at, seen = _places(means.groups.numpy(), fit)
            offsets = means.value.numpy(force=True)[seen] - fit.solution.origin
            centroids[subset, at] = offsets @ turn
            counts[subset, at] = means.counts.numpy(force=True)[seen]
    found.coords["subset"] = SUBSETS
    found.fields |= {
        "subset_centroids": ("subset class component", centroids),
        "subset_counts": Field("subset class", counts, unit="rows"),
    }


def _network(found: Findings, lda: LDA, fit: Fit) -> None:
    """How often the network itself is right, and what it takes for what."""
    counted = scored(lda.description["network"], fit.labels.numpy())
    if counted is not None:
        found.fields["network_accuracy"] = Field("", counted.accuracy, range=(0, 1))
        if ELSE not in lda.description["network"].labels:
            matrix = Field("class predicted", counted.matrix, unit="rows")
            found.fields["network_confusion"] = matrix


def _sample(found: Findings, lda: LDA, fit: Fit) -> None:
    """The sampled rows as points of the space."""
    kept = lda.description
    if "sample" not in kept or not kept["sample"].state:
        return
    at, seen = _places(kept["sample"].labels.numpy(), fit)
    rows, marks = kept["sample"].rows.double().cpu().split([len(fit.solution.origin), MARKS], 1)
    fit = fit.to(rows.device)
    points = fit.discriminant.points(rows)
    right = fit.discriminant.nearest(points) == kept["sample"].labels
    network, separable = marks.numpy().astype(np.int8)[seen].T
    found.fields |= {
        "points": ("point component", points.numpy()[seen] @ _turn(lda, fit)),
        "point_class": ("point", at),
        "point_id": ("point", kept["sample"].ids.numpy()[seen]),
        "point_right": ("point", right.numpy()[seen].astype(np.int8)),
        "point_network": ("point", network),
        "point_separable": ("point", separable),
    }


def _places(labels: NDArray[np.int64], fit: Fit) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Indices of the labels that are classes of the fit, and which these are."""
    classes = fit.labels.numpy()
    seen = np.isin(labels, classes)
    return np.searchsorted(classes, labels[seen]), seen


def _filled(values: Array, at: NDArray[np.intp], classes: int) -> Array:
    """Values of some classes as those of all, NaN for the others."""
    whole = np.full((classes, *values.shape[1:]), np.nan)
    whole[at] = values
    return whole
