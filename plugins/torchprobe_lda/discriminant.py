"""A solved discriminant space at work on batches: points, scores, predictions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import torch

from torchprobe.accumulators.rows import parts

if TYPE_CHECKING:
    from torch import Tensor

    from torchprobe import Result
    from torchprobe.numerics import LdaSolution

__all__ = ["Discriminant"]


@dataclass(frozen=True, eq=False)
class Discriminant:
    """Where rows lie in the space of linear discriminant analysis, and which class is nearest.

    Scores are z·μ_k − ½‖μ_k‖² + ln π_k with z = (x − origin)W.
    """

    origin: Tensor
    """float64 [channel]"""
    scalings: Tensor
    """W: float64 [channel, component]"""
    centroids: Tensor
    """μ, the classes' means in the space: float64 [class, component]"""
    intercepts: Tensor
    """ln π_k − ½‖μ_k‖²: float64 [class]"""
    classes: Tensor
    """What the classes are called, ascending: int64 [class]"""

    @classmethod
    def of(cls, solution: LdaSolution, classes: Tensor) -> Self:
        """A solution as tensors."""
        centroids = torch.from_numpy(solution.centroids)
        priors = torch.from_numpy(solution.priors)
        return cls(
            torch.from_numpy(solution.origin),
            torch.from_numpy(solution.scalings),
            centroids,
            priors.log() - centroids.square().sum(1) / 2,
            classes,
        )

    @classmethod
    def of_result(cls, result: Result) -> Self:
        """The space of an earlier run, with indices along the axis "class" as classes."""
        names = ("grand_mean", "scalings", "centroids", "priors")
        origin, scalings, centroids, priors = (torch.tensor(result[n].values) for n in names)
        intercepts = priors.log() - centroids.square().sum(1) / 2
        return cls(origin, scalings, centroids, intercepts, torch.arange(len(priors)))

    def to(self, device: torch.device) -> Self:
        """The same where some rows are."""
        if self.origin.device == device:
            return self
        return replace(self, **{name: tensor.to(device) for name, tensor in vars(self).items()})

    def points(self, rows: Tensor) -> Tensor:
        """Rows, float64 [row, channel], in the space: [row, component]."""
        found = rows.new_empty(len(rows), self.scalings.shape[1])
        for part in parts(rows):  # differences that stay in the cache
            torch.mm(rows[part] - self.origin, self.scalings, out=found[part])
        return found

    def nearest(self, points: Tensor) -> Tensor:
        """The class with the highest score at each point [row, component]: int64 [row]."""
        scores = torch.addmm(self.intercepts, points, self.centroids.mT)
        return self.classes[scores.argmax(1)]

    def predicted(self, rows: Tensor) -> Tensor:
        """The class of each row [row, channel]: int64 [row]."""
        return self.nearest(self.points(rows))
