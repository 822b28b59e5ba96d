"""Where the units of a layer lie: a grid of cells, filled row by row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

import numpy as np

from torchprobe.errors import SettingError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

__all__ = ["Grid", "Uneven"]

Uneven: TypeAlias = Literal["error", "pad"]
"""What becomes of units that no near-square grid holds exactly: refused, or cells stay empty."""

_SLIMMEST = 4  # rows to a column of a grid that still has an inside
_LEAST = 4  # units of a grid with two rows and two columns


@dataclass(frozen=True)
class Grid:
    """A rectangle of cells; unit c lies in cell c, counted row by row, the last may be empty.

    Args:
        rows: how many.
        columns: how many.
        units: how many units lie in it; all cells are filled by default.

    Raises:
        ShapeError: more units than cells, or no cell at all.

    Source: Krug & Stober 2019, section 2.1: 256 filters in 16 × 16, 2,048 in 64 × 32 cells. How
    cells are numbered is not stated; row by row is torchprobe's choice.

    Example:
        >>> Grid.of(256), Grid.of(2048)
        (Grid(16 × 16), Grid(64 × 32))
        >>> Grid.of(7, uneven="pad")
        Grid(4 × 2, 1 empty)
    """

    rows: int
    columns: int
    units: int = -1

    def __post_init__(self) -> None:
        if self.units < 0:
            object.__setattr__(self, "units", self.cells)
        if min(self.rows, self.columns, self.units) < 1 or self.units > self.cells:
            raise ShapeError(
                f"a grid of {self.rows} × {self.columns} cells cannot hold {self.units} units"
            )

    @classmethod
    def of(cls, units: int, shape: tuple[int, int] | None = None, uneven: Uneven = "error") -> Self:
        """The grid for so many units.

        Args:
            units: of the layer.
            shape: (rows, columns); as near to a square as the number allows by default.
            uneven: "error" refuses what leaves cells empty: numbers without near-square factors
                (more than 4 rows to a column) and shapes that are too large. "pad" allows it; then
                numbers without factors get up to twice as many rows as columns, and the fewest
                empty cells.

        Raises:
            ShapeError: the shape does not hold the units, or "error" as above.
            SettingError: fewer than four units, which have no grid, or an unknown ``uneven``.
        """
        if uneven not in ("error", "pad"):
            raise SettingError(f"uneven={uneven!r}; choose 'error' or 'pad'")
        if shape is not None:
            return cls._given(units, shape, uneven)
        if units < _LEAST:
            raise SettingError(
                f"{units} units have no grid: it takes {_LEAST} for two rows and two columns; "
                "leave the layer out"
            )
        columns = max(n for n in range(1, math.isqrt(units) + 1) if units % n == 0)
        rows = units // columns
        if rows <= _SLIMMEST * columns:
            return cls(rows, columns, units)
        if uneven == "error":
            raise ShapeError(
                f"{units} units have no near-square grid ({rows} × {columns} is the best); give "
                "uneven='pad' to leave cells empty, give the grid, or leave the layer out"
            )
        return cls(*_padded(units), units)

    @classmethod
    def _given(cls, units: int, shape: tuple[int, int], uneven: Uneven) -> Self:
        grid = cls(*shape, units)
        if uneven == "error" and grid.cells != units:
            raise ShapeError(
                f"a grid of {shape[0]} × {shape[1]} has {grid.cells} cells for {units} units; give "
                "uneven='pad' to leave cells empty, or another grid"
            )
        return grid

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return self.rows * self.columns

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    def lay(self, values: ArrayLike) -> Array:
        """Values [..., unit] as maps [..., row, column], NaN where a cell is empty.

        Raises:
            ShapeError: the last axis is not that of the units.

        >>> Grid(2, 2, 3).lay([1, 2, 3]).tolist()
        [[1.0, 2.0], [3.0, nan]]
        """
        array = np.asarray(values, dtype=np.float64)
        if array.ndim == 0 or array.shape[-1] != self.units:
            raise ShapeError(f"values of shape {array.shape} do not fit {self!r}: [..., unit]")
        maps = np.full((*array.shape[:-1], self.cells), np.nan)
        maps[..., : self.units] = array
        return maps.reshape(*array.shape[:-1], *self.shape)

    def __repr__(self) -> str:
        empty = self.cells - self.units
        return f"Grid({self.rows} × {self.columns}{f', {empty} empty' if empty else ''})"


def _padded(units: int) -> tuple[int, int]:
    """Rows and columns, at most twice as many rows as columns, with the fewest empty cells."""
    least, most = math.isqrt((units - 1) // 2) + 1, math.isqrt(units - 1) + 1
    shapes = [(-(-units // columns), columns) for columns in range(least, most + 1)]
    upright = [shape for shape in shapes if shape[0] >= shape[1]]
    return min(upright, key=lambda shape: (shape[0] * shape[1], shape[0] - shape[1]))
