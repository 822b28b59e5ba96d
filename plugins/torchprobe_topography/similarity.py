"""How alike neighbours are, and the gradient of that, at the cost of reading the weights twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from torchprobe.compiled import compiled
from torchprobe_topography import loops
from torchprobe_topography.patterns import Jobs, numbers
from torchprobe_topography.table import Kernel, Table, kernel_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from torchprobe_topography.neighbourhood import Pairs

__all__ = ["Similarity", "neighbour_similarity"]

SMALLEST = 1e-8
"""Norms are clamped here; a filter below it has no direction and gets no gradient."""


def neighbour_similarity(filters: Tensor, similarity: Similarity) -> Tensor:
    """Weighted sum of the cosines of neighbours: Σ_c Σ_{j ∈ N(c)} ω_cj cos(w_c, w_j).

    Args:
        filters: [unit, feature].
        similarity: of their grid.

    Returns:
        A scalar, in float64 if the filters are and in float32 otherwise; once differentiable.
    """
    total: Tensor = _Similarity.apply(filters, similarity)[0]  # type: ignore[no-untyped-call]
    return total


class Similarity:
    """The pairs of a grid, ready to be weighed on any device.

    With the Gram matrix G of the filters at the pairs, cos = G_ij / sqrt(G_ii G_jj), and the
    gradient of the weighted sum is another sparse matrix times the filters. So both are one pass
    over the filters; no cosine is computed that does not count, nothing of the filters' size is
    stored.

    Args:
        pairs: of neighbours.
        loops: whether to use compiled loops where they can be had (`kernel_for`).
    """

    def __init__(self, pairs: Pairs, *, loops: bool) -> None:
        self.pairs, self.loops = pairs, loops
        self._tables: dict[tuple[torch.device, torch.dtype, Kernel], Table] = {}

    def table(self, filters: Tensor) -> Table:
        """The pairs where the filters are, in their precision."""
        key = filters.device, filters.dtype, kernel_for(filters, loops=self.loops)
        if key not in self._tables:
            self._tables[key] = Table(self.pairs, *key)
        return self._tables[key]

    def cosines(self, filters: Tensor, jobs: Jobs) -> Callable[[], Cosines]:
        """What gives the cosines of all pairs after some jobs, which it adds to.

        Args:
            filters: [unit, feature], in float32 or float64.
            jobs: are added to.
        """
        table = self.table(filters)
        gram = table.gram(filters, jobs)
        return lambda: cosines_of(table, gram())


def cosines_of(table: Table, gram: Tensor) -> Cosines:
    """The cosines of a table's pairs, by what it multiplies with."""
    return _LoopCosines(table, gram) if table.kernel == "loops" else Cosines(table, gram)


class Cosines:
    """Cosines of neighbours, and what their gradient needs.

    Args:
        table: the pairs.
        gram: products of units with themselves and of pairs, as the table gives them.
    """

    def __init__(self, table: Table, gram: Tensor) -> None:
        self.table, self.gram = table, gram
        self._weigh()

    def _weigh(self) -> None:
        table, squares = self.table, self.gram[: self.table.units]
        self._alive = squares >= SMALLEST**2
        self._inverse = squares.clamp(min=SMALLEST**2).rsqrt()
        of_first = self._inverse.index_select(0, table.first)
        of_second = self._inverse.index_select(0, table.second)
        self._across = table.weight * of_first * of_second
        self._weighted = self.gram[table.units :] * self._across
        self.total = self._weighted.sum()
        """Their weighted sum, a scalar."""

    def coefficients(self, scale: Tensor | float) -> Tensor:
        """The gradient of `total` as a sparse matrix, as `Table.add_product_` takes it.

        ∂/∂w_c Σ ω cos = Σ_j (ω_cj + ω_jc) (w_j / |w_c||w_j| − cos_cj w_c / |w_c|²).
        """
        table, across = self.table, self._across * scale
        towards = torch.zeros_like(self._inverse)
        towards.index_add_(0, table.first, self._weighted)
        towards.index_add_(0, table.second, self._weighted)
        own = towards * self._inverse.square() * self._alive * -scale
        sides = [across * self._alive.index_select(0, of) for of in (table.first, table.second)]
        return torch.cat([own, *sides])

    def add_gradient_(
        self, gradient: Tensor, filters: Tensor, scale: Tensor | float, jobs: Jobs
    ) -> None:
        """Add, with some jobs, ``scale`` times the gradient of `total` to [unit, feature]."""
        self.table.add_product_(gradient, filters, self.coefficients(scale), jobs)


class _LoopCosines(Cosines):
    """The same by two compiled loops: dozens of torch's operations take longer than the numbers."""

    def _weigh(self) -> None:
        gram = numbers(self.gram)
        self._given = *self.table.arrays, *np.empty((3, self.table.units), gram.dtype)
        total = compiled(loops.cosines)(gram, SMALLEST, *self._given)
        self.total = self.gram.new_tensor(total)

    def coefficients(self, scale: Tensor | float) -> Tensor:
        found = self.gram.new_empty(self.table.units + 2 * len(self.table.first))
        compiled(loops.coefficients)(float(scale), *self._given, numbers(found))
        return found


class _Similarity(torch.autograd.Function):
    @staticmethod
    def forward(filters: Tensor, similarity: Similarity) -> tuple[Tensor, Tensor]:
        jobs = Jobs()
        cosines = similarity.cosines(_widened(filters), jobs)
        jobs.run()
        found = cosines()
        return found.total, found.gram

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        filters, ctx.similarity = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(filters, output[1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None]:
        filters, gram = ctx.saved_tensors
        wide, jobs = _widened(filters), Jobs()
        found = torch.zeros_like(wide)
        cosines = cosines_of(ctx.similarity.table(wide), gram)
        cosines.add_gradient_(found, wide, gradient, jobs)
        jobs.run()
        return found.to(filters.dtype), None


def _widened(filters: Tensor) -> Tensor:
    """Half precision sums of a thousand products are good for two digits."""
    return filters if filters.dtype in (torch.float32, torch.float64) else filters.float()
