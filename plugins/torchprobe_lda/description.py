"""What is kept of the rows of one split: class spectra, means of subsets, a sample of points.

Centroids in a discriminant space are linear in the activations, so that means of activations are
all that subsets need; the sample is of activations too, projected when results are computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

import torch

from torchprobe.accumulators import BoundedSample, Confusion, GroupMeans
from torchprobe_lda.class_scatter import ClassScatter
from torchprobe_lda.marks import marks

if TYPE_CHECKING:
    from torch import Tensor

    from torchprobe import Layer, LayerBatch

__all__ = ["MARKS", "Described", "begin", "sample_bytes", "spectra_fit", "update"]

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


def update(
    described: Described, batch: LayerBatch, points: Tensor, n_classes: int, *, alone: bool
) -> None:
    """Take in the rows of a batch.

    Args:
        described: what to add to.
        batch: seen as the grouping of the classes.
        points: where its rows lie in the space [row, component].
        n_classes: how many classes the fit has.
        alone: as for `marks.marks`.

    Raises:
        LabelError: predictions are of another kind than the classes.
    """
    groups, rows = batch.groups, batch.rows()
    if spectra_fit(n_classes, points.shape[1]):
        described["spread"].update(points, groups)
    known = marks(batch, alone=alone)
    if known.predicted is not None:
        described["network"].update(groups, known.predicted)
    for means, answer in ((described["separable"], 1), (described["inseparable"], 0)):
        chosen = (known.separable == answer) & (known.right != 0)
        if chosen.any():
            means.update(rows, groups.labels.masked_fill(~chosen, -1))
    if "sample" in described:
        told = torch.stack([known.right, known.separable], 1)
        whole = torch.cat([rows, told], 1).to(batch.values.dtype)  # half of float64
        described["sample"].update(whole, batch.row_ids, groups)


def sample_bytes(layer: Layer, sample: int) -> int:
    """Bytes that a sample of so many rows will take."""
    itemsize = 8 if layer.positions == "mean" else layer.dtype.itemsize
    return sample * ((layer.channels + MARKS) * itemsize + 24)


def spectra_fit(n_classes: int, components: int) -> bool:
    """Whether the scatters of so many classes are small enough to be kept."""
    return 8 * n_classes * components**2 <= _LARGEST
