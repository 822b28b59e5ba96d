"""Which cells of a grid are neighbours, and how much each counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from torchprobe.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from torchprobe_topography.grid import Grid

    Array = NDArray[np.float64]
    Indices = NDArray[np.int64]

__all__ = ["Border", "Neighbourhood", "Pairs"]

Border: TypeAlias = Literal["truncate", "wrap"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Every pair of neighbouring units once."""

    first: Indices
    """The unit that comes first in the grid: [pair]."""
    second: Indices
    """Its neighbour: [pair]."""
    of_first: Array
    """What the second weighs in the neighbourhood of the first, 0..1: [pair]."""
    of_second: Array
    """What the first weighs in the neighbourhood of the second, 0..1: [pair]."""
    units: int

    def __len__(self) -> int:
        return len(self.first)

    @property
    def weight(self) -> Array:
        """What a pair counts in all, in both neighbourhoods: [pair]."""
        return self.of_first + self.of_second

    @cached_property
    def centres(self) -> int:
        """How many units have a neighbour: the sum of all weights."""
        return len(np.union1d(self.first, self.second))


@dataclass(frozen=True)
class Neighbourhood:
    """The n × n cells around each cell, nearer ones counting more.

    A neighbour's weight is the reciprocal of its Euclidean distance in cells; the weights of each
    neighbourhood sum to 1, and its centre is not among them.

    Args:
        size: n, odd; 3 is the paper's.
        border: at the edge the neighbourhood is cut off and weighed anew ("truncate"), or goes on
            at the other side ("wrap": the grid is a torus, as is usual in topographic sparse
            coding). The paper does not say which.

    Raises:
        SettingError: an even size, or an unknown border.

    Source: Krug & Stober 2019, section 2.1.

    Example:
        >>> from torchprobe_topography import Grid
        >>> pairs = Neighbourhood().pairs(Grid(2, 2))
        >>> list(zip(pairs.first.tolist(), pairs.second.tolist(), pairs.of_first.round(6).tolist()))
        [(0, 1, 0.369398), (2, 3, 0.369398), (1, 2, 0.261204), (0, 2, 0.369398), (1, 3, 0.369398),
         (0, 3, 0.261204)]
    """

    size: int = 3
    border: Border = "truncate"

    def __post_init__(self) -> None:
        if self.size < 3 or self.size % 2 == 0:  # noqa: PLR2004 - 1 has no neighbours
            raise SettingError(f"size={self.size}; give an odd number of cells, 3 or more")
        if self.border not in ("truncate", "wrap"):
            raise SettingError(f"border={self.border!r}; choose 'truncate' or 'wrap'")

    def pairs(self, grid: Grid) -> Pairs:
        """The pairs of neighbours in a grid, and what they weigh.

        Raises:
            SettingError: the border wraps and the grid is smaller than the neighbourhood, or has
                empty cells, so that a cell would meet itself or a hole.
        """
        if self.border == "wrap":
            self._check_wrap(grid)
        found = [self._shifted(grid, *shift) for shift in self._shifts()]
        first, second, closeness = (np.concatenate(each) for each in zip(*found, strict=True))
        total = np.bincount(first, closeness, grid.units) + np.bincount(
            second, closeness, grid.units
        )
        return Pairs(first, second, closeness / total[first], closeness / total[second], grid.units)

    def _shifts(self) -> Iterator[tuple[int, int]]:
        """Half of the shifts (rows, columns); the other half is the same pairs again."""
        reach = self.size // 2
        for down in range(reach + 1):
            for right in range(-reach, reach + 1):
                if (down, right) > (0, 0):
                    yield down, right

    def _shifted(self, grid: Grid, down: int, right: int) -> tuple[Indices, Indices, Array]:
        """The grid beside itself moved: units, their neighbours, reciprocal distances."""
        cells = np.arange(grid.cells).reshape(grid.shape)
        if self.border == "wrap":
            here, there = cells, np.roll(cells, (-down, -right), (0, 1))
        else:
            height, width = grid.rows - down, grid.columns - abs(right)
            left, to = max(0, -right), max(0, right)
            here = cells[: max(0, height), left : left + max(0, width)]
            there = cells[down:, to : to + max(0, width)]
        pairs = np.stack([here.ravel(), there.ravel()])
        pairs = pairs[:, (pairs < grid.units).all(0)]
        return pairs[0], pairs[1], np.full(pairs.shape[1], 1 / math.hypot(down, right))

    def _check_wrap(self, grid: Grid) -> None:
        if min(grid.shape) < self.size:
            raise SettingError(
                f"border='wrap' needs at least {self.size} × {self.size} cells, not {grid!r}; use "
                "'truncate', a smaller size or another grid"
            )
        if grid.cells != grid.units:
            raise SettingError(f"border='wrap' needs a full grid, not {grid!r}; use 'truncate'")
