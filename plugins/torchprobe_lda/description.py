"""What is kept of the rows of one split: class spectra, means of subsets, a sample of points.

Centroids in a discriminant space are linear in the activations, so that means of activations are
all that subsets need; the sample is of activations too, projected when results are computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

import torch

from torchprobe.accumulators import BoundedSample, Confusion, GroupMeans
from torchprobe.errors import LabelError
from torchprobe.labels import ClassNames
from torchprobe_lda.class_scatter import ClassScatter

if TYPE_CHECKING:
    from torch import Tensor

    from torchprobe import Layer, LayerBatch

__all__ = [
    "MARKS",
    "PREDICTED",
    "SEPARABLE",
    "SUBSETS",
    "Described",
    "begin",
    "sample_bytes",
    "spectra_fit",
    "update",
]

PREDICTED = "predicted"
"""The grouping that says what the network itself predicts: ``{"predicted": tp.predicted()}``."""
SEPARABLE = "separable"
"""The grouping that says whether another layer's LDA is right; see `torchprobe_lda.separable`."""
SUBSETS = ("separable", "inseparable")
"""Labels of that grouping: COR and INC in the paper."""
MARKS = 2
_LARGEST = 256 << 20
"""Bytes beyond which class spectra are not taken; 320 classes need as many."""


class Described(TypedDict):
    """The accumulators, by name."""

    spread: ClassScatter
    network: Confusion
    separable: GroupMeans
    inseparable: GroupMeans
    sample: NotRequired[BoundedSample]
    """Rows with two marks behind the channels: is the network right, is the row separable (1 yes,
    0 no, -1 unknown)."""


def begin(layer: Layer, sample: int, seed: int) -> Described:
    """Accumulators for a layer, with a sample of so many rows."""
    described = Described(
        spread=ClassScatter(),
        network=Confusion(),
        separable=GroupMeans(layer.channels),
        inseparable=GroupMeans(layer.channels),
    )
    if sample:
        described["sample"] = BoundedSample(layer.channels + MARKS, sample, seed)
    return described


def update(described: Described, batch: LayerBatch, points: Tensor, n_classes: int) -> None:
    """Take in the rows of a batch, which lie at these points [row, component] of the space."""
    groups = batch.groups
    if spectra_fit(n_classes, points.shape[1]):
        described["spread"].update(points, groups)
    labels = groups.labels
    network, separable = _given(batch, PREDICTED), _given(batch, SEPARABLE)
    if network is not None:
        described["network"].update(groups, network)
    if separable is not None:
        right = labels if network is None else labels.masked_fill(network != labels, -1)
        for name, means in zip(
            SUBSETS, (described["separable"], described["inseparable"]), strict=True
        ):
            means.update(batch.rows(), right.masked_fill(separable != _number(name), -1))
    if "sample" in described:
        first = torch.full_like(labels, _number(SUBSETS[0]))
        marks = torch.stack([_mark(network, labels), _mark(separable, first)], 1)
        rows = torch.cat([batch.rows(), marks], 1).to(batch.values.dtype)  # half of float64
        described["sample"].update(rows, batch.row_ids, groups)


def sample_bytes(layer: Layer, sample: int) -> int:
    """Bytes that a sample of so many rows will take."""
    itemsize = 8 if layer.positions == "mean" else layer.dtype.itemsize
    return sample * ((layer.channels + MARKS) * itemsize + 24)


def spectra_fit(n_classes: int, components: int) -> bool:
    """Whether the scatters of so many classes are small enough to be kept."""
    return 8 * n_classes * components**2 <= _LARGEST


def _given(batch: LayerBatch, grouping: str) -> Tensor | None:
    """Labels of another grouping: int64 [row]; None where there are none that fit the rows."""
    if grouping not in batch.given.labels:
        return None
    try:
        return batch.view(grouping, batch.layer.positions).labels
    except LabelError:  # labels of frames beside a pooled layer
        return None


def _mark(labels: Tensor | None, wanted: Tensor) -> Tensor:
    """1 where labels are as wanted, 0 where not, -1 where unknown: int64 [row]."""
    if labels is None:
        return torch.full_like(wanted, -1)
    return (labels == wanted).long().masked_fill(labels < 0, -1)


def _number(name: str) -> int:
    return ClassNames().number(name)
