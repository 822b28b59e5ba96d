"""From group means to time-independent profiles: baseline, difference, order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Baseline", "Profiles", "profiles"]

Array: TypeAlias = "NDArray[np.float64]"
Baseline: TypeAlias = Literal["sample", "group"]


@dataclass(frozen=True, eq=False)
class Profiles:
    """The stages of a profile (NAP, Fig. 1): C means, D normalised, E sorted."""

    mean: Array
    """Mean map of each group [group, channel, position]."""
    baseline: Array
    """What all maps have in common [channel, position]."""
    sort: bool
    """Whether positions lose their meaning."""

    @property
    def normalised(self) -> Array:
        """How each group's mean differs from the baseline [group, channel, position]."""
        return self.mean - self.baseline

    @property
    def profile(self) -> Array:
        """What distances are taken of [group, channel, position]: each neuron's values in order."""
        return np.sort(self.normalised, axis=-1) if self.sort else self.normalised


def profiles(mean: Array, overall: Array, baseline: Baseline, *, sort: bool) -> Profiles:
    """The profiles of groups.

    Args:
        mean: mean map of each group [group, channel, position].
        overall: mean map of all data, with and without a label [channel, position].
        baseline: "sample" subtracts ``overall``, "group" the unweighted mean of the groups' means.
        sort: order each neuron's values; directly after the subtraction, because the order of
            single maps would not survive the averaging.

    Source: Krug, Knaebel & Stober 2018, section 3.1. Ascending where the paper does not say;
    distances do not depend on it.

    >>> a, b = [[1.0, 1, 0], [1, 1, 1]], [[0.0, 0, 4], [3, 1, 1]]
    >>> made = profiles(np.array([a, b]), np.zeros((2, 3)), "group", sort=True)
    >>> made.profile[0].tolist()
    [[-2.0, 0.5, 0.5], [-1.0, 0.0, 0.0]]
    """
    return Profiles(mean, mean.mean(axis=0) if baseline == "group" else overall, sort)
