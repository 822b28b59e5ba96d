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
from torchprobe_topography.patterns import Jobs
from torchprobe_topography.similarity import SMALLEST, Cosines, Similarity, neighbour_similarity

if TYPE_CHECKING:
    from collections.abc import Callable

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
    loops: bool
    """Whether the weights are worth compiling loops for."""

    @cached_property
    def similarity(self) -> Similarity:
        """The pairs, ready to be weighed."""
        return Similarity(self.pairs, loops=self.loops)

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

    def begin(self, jobs: Jobs) -> Callable[[Tensor | float], Tensor]:
        """Begin with the gradient, as jobs that do the same for other layers beside it.

        The weight itself is the parameter in nearly every layer: its gradient is added in place.
        Parametrized weights (weight norm, ...) go through autograd.

        Returns:
            What, once the jobs are done, adds its argument times the gradient to the parameters'
            ``.grad``, with more jobs, and returns the detached value.
        """
        assert self.filters is not None
        weight = self.filters.weight
        if self.dissimilarity or not weight.is_leaf:
            return self._add_by_autograd
        units = self.filters.of(weight.detach())
        self._check(units)
        wide = units if units.dtype in (torch.float32, torch.float64) else units.float()
        cosines = self.similarity.cosines(wide, jobs)
        return lambda scale: self._add_in_place(wide, cosines(), scale, jobs)

    @torch.no_grad()
    def _add_in_place(
        self, units: Tensor, cosines: Cosines, scale: Tensor | float, jobs: Jobs
    ) -> Tensor:
        assert self.filters is not None
        weight = self.filters.weight
        sign = 1 if self.literal else -1
        if weight.requires_grad:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            times = scale * sign * self.factor
            _add_gradient(cosines, self.filters, units, weight.grad, times, jobs)
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
    cosines: Cosines,
    filters: Filters,
    units: Tensor,
    gradient: Tensor,
    scale: Tensor | float,
    jobs: Jobs,
) -> None:
    """Add to a weight's gradient, in its own memory where that can be seen as [unit, feature]."""
    into = filters.of(gradient)
    in_place = into.untyped_storage().data_ptr() == gradient.untyped_storage().data_ptr()
    if in_place and into.dtype == units.dtype:
        cosines.add_gradient_(into, units, scale, jobs)
        return
    found, mine = torch.zeros_like(units), Jobs()
    cosines.add_gradient_(found, units, scale, mine)
    mine.run()
    filters.cells(gradient).add_(found.view(filters.cells(gradient).shape))


def _overall(units: Tensor) -> Tensor:
    """Σ_c mean_{j ≠ c} cos(w_c, w_j), from the sum of all directions."""
    wide = units if units.dtype == torch.float64 else units.float()
    alive = wide.detach().norm(dim=1, keepdim=True) >= SMALLEST  # the others have no direction
    directions = functional.normalize(wide, dim=1, eps=SMALLEST) * alive
    together: Tensor = directions.sum(0).square().sum() - directions.square().sum()
    return together / (len(units) - 1)
