"""From group means of aligned activations and gradients to gradient-adjusted profiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Baseline",
    "Mask",
    "Profiles",
    "Scale",
    "energy",
    "gradient_mask",
    "mean_of_groups",
    "responsiveness",
    "spread",
]

Array: TypeAlias = "NDArray[np.float64]"
Baseline: TypeAlias = Literal["sample", "group"]
Mask: TypeAlias = Literal["absolute", "signed", "mean_absolute"]
Scale: TypeAlias = Literal["group", "neuron", "layer"]


@dataclass(frozen=True, eq=False)
class Profiles:
    """The stages of a profile, in the order in which they are made (Fig. 1B).

    All are [group, channel, *positions] but the baseline, which is [channel, *positions].
    """

    activation: Array
    """Mean of the group's aligned activations."""
    gradient: Array
    """Mean of its aligned gradients; of their absolute values for the mask "mean_absolute"."""
    baseline: Array
    mask: Array

    @property
    def normalised(self) -> Array:
        """Activations less the baseline; 0 where a group has no data at all."""
        return np.nan_to_num(self.activation - self.baseline, nan=0.0)

    @property
    def profile(self) -> Array:
        """The gradient-adjusted profile: what is particular to the group, where it matters."""
        return self.normalised * self.mask


def mean_of_groups(activation: Array) -> Array:
    """The unweighted mean of groups, of those with data: [channel, *positions], NaN for none."""
    known = ~np.isnan(activation)
    sums, counts = np.where(known, activation, 0.0).sum(0), known.sum(0)
    mean: Array = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    return mean


def gradient_mask(gradient: Array, mask: Mask = "absolute", scale: Scale = "group") -> Array:
    """How much each activation matters for the prediction, at most 1: as `gradient`, scaled.

    A division alone, so that zero gradients stay zero, "which would lose their meaning" otherwise.
    Where all gradients are zero, so is the mask.

    Args:
        gradient: means [group, channel, *positions].
        mask: "signed" keeps signs, −1..1; the others give 0..1.
        scale: the maximum that becomes 1: of each "group", of each "neuron" of each group, or one
            of the whole "layer" over all groups.

    Source: Krug & Stober 2020, section 3.2; the range is lost from all texts (methods 3.2).

    >>> gradient_mask(np.array([[[0.5, -1.0]], [[0.0, 0.0]]])).tolist()
    [[[0.5, 1.0]], [[0.0, 0.0]]]
    """
    size = np.abs(gradient)
    axes = tuple(range({"layer": 0, "group": 1, "neuron": 2}[scale], gradient.ndim))
    largest = size.max(axis=axes, keepdims=True) if axes else size
    signed = gradient if mask == "signed" else size
    return np.divide(signed, largest, out=np.zeros_like(size), where=largest > 0)


def responsiveness(profile: Array) -> Array:
    """How strongly each neuron responds to each group, and in which direction: [group, channel].

    sign(Σ_t G[n,t]) · Σ_t |G[n,t]| for a profile G [group, channel, *positions].

    Source: Krug & Stober 2020, Eq. 1.

    >>> responsiveness(np.array([[[0.0, -1, 0.5], [1, 1, 0]]])).tolist()
    [[-1.5, 2.0]]
    """
    flat = profile.reshape(*profile.shape[:2], -1)
    strength: Array = np.sign(flat.sum(2)) * np.abs(flat).sum(2)
    return strength


def energy(profile: Array) -> Array:
    """Sum of squares over neurons: [group, *positions]."""
    total: Array = np.square(profile).sum(1)
    return total


def spread(energy: Array, share: float = 0.9) -> Array:
    """How far from the alignment a group's energy reaches: [group], in positions.

    The smallest distance within which a share of the energy lies; NaN where there is none. In two
    dimensions the distance is that along the axis where it is larger.

    >>> spread(np.array([[0.0, 1, 8, 1, 0], [0, 0, 1, 0, 0]])).tolist()
    [1.0, 0.0]
    """
    sizes = energy.shape[1:]
    offsets = [np.abs(np.arange(size) - size // 2) for size in sizes]
    distance = np.zeros(sizes, dtype=int)
    for offset in np.meshgrid(*offsets, indexing="ij"):
        distance = np.maximum(distance, offset)
    rings = [(energy * (distance <= ring)) for ring in range(distance.max() + 1)]
    within = np.stack([ring.reshape(len(energy), -1).sum(1) for ring in rings], axis=1)
    total = within[:, -1:]
    reached = (within >= share * total * (1 - 1e-12)).argmax(1).astype(float)
    return np.where(total[:, 0] > 0, reached, np.nan)
