"""The topographic loss of one layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from torchprobe.errors import ShapeError
from torchprobe_topography.filters import Filters, parameters_of
from torchprobe_topography.similarity import SMALLEST, Cosines, Similarity, neighbour_similarity

if TYPE_CHECKING:
    from torchprobe_topography.grid import Grid
    from torchprobe_topography.neighbourhood import Pairs

__all__ = ["Term"]


@dataclass(frozen=True, eq=False)
class Term:
    """Σ_c [ Σ_{j ∈ N(c)} ω_cj (1 − cos) + μ · mean_{j ≠ c} cos ], times a factor."""

    grid: Grid
    pairs: Pairs
    filters: Filters | None
    """Where weights are found; None for activations, which are handed in."""
    literal: bool
    factor: float
    dissimilarity: float

    @cached_property
    def similarity(self) -> Similarity:
        """The pairs, ready to be weighed."""
        return Similarity(self.pairs)

    def value(self, units: Tensor | None = None) -> Tensor:
        """The loss of units [unit, feature], those of the layer's weights by default: a scalar."""
        if units is None:
            assert self.filters is not None
            units = self.filters.of(self.filters.weight)
        self._check(units)
        near = neighbour_similarity(units, self.similarity)
        value = near if self.literal else self.pairs.centres - near
        if self.dissimilarity:
            value = value + self.dissimilarity * _overall(units)
        return value * self.factor

    def add_gradient_(self, scale: Tensor | float) -> Tensor:
        """Add ``scale`` times the gradient to the parameters' ``.grad``; the detached value.

        The weight itself is the parameter in nearly every layer: its gradient is added in place.
        Parametrized weights (weight norm, ...) go through autograd.
        """
        assert self.filters is not None
        weight = self.filters.weight
        if self.dissimilarity or not weight.is_leaf:
            return self._add_by_autograd(scale)
        with torch.no_grad():
            return self._add_in_place(weight, scale)

    def _add_in_place(self, weight: Tensor, scale: Tensor | float) -> Tensor:
        assert self.filters is not None
        units = self.filters.of(weight.detach())
        self._check(units)
        wide = units if units.dtype in (torch.float32, torch.float64) else units.float()
        cosines = self.similarity.cosines(wide)
        sign = 1 if self.literal else -1
        if weight.requires_grad:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            times = scale * sign * self.factor
            _add_gradient(cosines, self.filters, wide, weight.grad, times)
        value = cosines.total if self.literal else self.pairs.centres - cosines.total
        return value * self.factor

    def _add_by_autograd(self, scale: Tensor | float) -> Tensor:
        assert self.filters is not None
        parameters = parameters_of(self.filters)
        with torch.enable_grad():
            value = self.value()
        found = torch.autograd.grad(value, parameters, allow_unused=True) if parameters else ()
        for parameter, gradient in zip(parameters, found, strict=True):
            if gradient is None:
                continue
            scaled = gradient * scale
            parameter.grad = scaled if parameter.grad is None else parameter.grad.add_(scaled)
        return value.detach()

    def _check(self, units: Tensor) -> None:
        if len(units) != self.grid.units:
            raise ShapeError(
                f"{len(units)} units now, {self.grid.units} when the grid was laid; make a new "
                "TopographicLoss after changing a layer's width"
            )


def _add_gradient(
    cosines: Cosines, filters: Filters, units: Tensor, gradient: Tensor, scale: Tensor | float
) -> None:
    """Add to a weight's gradient, in its own memory where that can be seen as [unit, feature]."""
    into = filters.of(gradient)
    in_place = into.untyped_storage().data_ptr() == gradient.untyped_storage().data_ptr()
    if in_place and into.dtype == units.dtype:
        cosines.add_gradient_(into, units, scale)
        return
    found = torch.zeros_like(units)
    cosines.add_gradient_(found, units, scale)
    filters.cells(gradient).add_(found.view(filters.cells(gradient).shape))


def _overall(units: Tensor) -> Tensor:
    """Σ_c mean_{j ≠ c} cos(w_c, w_j), from the sum of all directions."""
    wide = units if units.dtype == torch.float64 else units.float()
    alive = wide.detach().norm(dim=1, keepdim=True) >= SMALLEST  # the others have no direction
    directions = functional.normalize(wide, dim=1, eps=SMALLEST) * alive
    together: Tensor = directions.sum(0).square().sum() - directions.square().sum()
    return together / (len(units) - 1)
