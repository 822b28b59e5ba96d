"""Projectors without an optimisation: principal components, and coordinates drawn at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from torchprobe_projection.network import PLANE, PlaneNetwork
from torchprobe_projection.projector import Fitted, Projector, require_rows

if TYPE_CHECKING:
    from torchprobe_projection.clouds import Array

__all__ = ["Pca", "Random"]


class Pca(Projector):
    """The first two principal components of the training rows.

    The points it is shown are others; the least Procrustes distance of any picture, the bound, is
    that of the points' own components. Kept as a network without hidden layers.

    Example:
        >>> rows = np.array([[0.0, 0, 0], [2, 0, 0], [0, 1, 0], [2, 1, 1]])
        >>> Pca().fit(rows, seed=0).transform(rows).round(4).tolist()[0]
        [-1.0503, -0.3735]
    """

    name = "pca"
    title = "PCA"
    trained = True

    def fit(self, rows: Array, seed: int) -> Fitted:  # noqa: ARG002 - nothing is drawn
        """Fit to rows [row, channel].

        Raises:
            InsufficientDataError: fewer than two rows.
        """
        require_rows(rows, 2, "PCA", "give more data")
        mean = rows.mean(axis=0, dtype=np.float64)
        axes = _principal_axes(rows - mean)
        channels = rows.shape[1]
        network = PlaneNetwork(mean, np.ones(channels), (channels, PLANE, channels)).double()
        for (linear,), weight in (
            (network.encode_layers, axes),
            (network.decode_layers, axes.T),
        ):
            _set(linear, weight)
        return Fitted(transform=network.kept().transform, network=network)


class Random(Projector):
    """Normally distributed coordinates that know nothing of the points: the worst of pictures."""

    name = "random"
    title = "random"

    def fit(self, rows: Array, seed: int) -> Fitted:
        """Draw coordinates for rows [row, channel]."""
        return Fitted(np.random.default_rng(seed).standard_normal((len(rows), PLANE)))


def _principal_axes(centred: Array) -> Array:
    """The two directions of most variance, largest entry positive: [2, channel]."""
    from scipy.linalg import eigh

    wide = centred.shape[1] > centred.shape[0]
    scatter = centred @ centred.T if wide else centred.T @ centred
    last = len(scatter) - 1
    _, vectors = eigh(scatter, subset_by_index=[max(0, last - 1), last])
    axes = _unit(vectors.T[::-1] @ centred) if wide else vectors.T[::-1]
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
    signed = axes * np.where(largest < 0, -1.0, 1.0)[:, np.newaxis]
    return np.asarray(np.pad(signed, ((0, PLANE - len(signed)), (0, 0))))


def _unit(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0))


def _set(linear: nn.Module, weight: Array) -> None:
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight))
        linear.bias.zero_()
