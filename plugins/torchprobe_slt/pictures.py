"""A transform, or what it sees, in the shape of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from torchprobe import plotting
from torchprobe.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from torchprobe import Result

    Array = NDArray[np.float64]

__all__ = ["Captions", "Frame", "draw", "frame_of", "grid", "largest", "shaped"]

_COLOUR, _ZERO = "#0072b2", "#9ca3af"
_ROBUST = 99.5

Scale: TypeAlias = Literal["each", "row", "all"]
_CELL = 1.2  # inches


Frame: TypeAlias = "tuple[tuple[int, ...], bool]"
"""A shape to draw inputs in, and whether its second axis goes upwards."""


def frame_of(result: Result, image: Sequence[int] | None, *, transpose: bool | None) -> Frame:
    """How to draw inputs: as asked for, else as the analyzer was told, else as the window is.

    Raises:
        SettingError: there are not as many inputs.
    """
    window = tuple(int(size) for size in result.window)
    told = result.settings.get("image")
    asked = tuple(image or told or window)
    if np.prod(asked) != np.prod(window):
        raise SettingError(
            f"image={asked} has {int(np.prod(asked)):,} values, but nodes see {window}: "
            f"{int(np.prod(window)):,}"
        )
    upwards = transpose if transpose is not None else told is not None and image is None
    return asked, upwards


def shaped(values: ArrayLike, shape: tuple[int, ...], *, transpose: bool) -> Array:
    """[input] as an image [row, column] or a curve [input]; channels before two axes are averaged.

    >>> shaped(np.arange(6.0), (3, 2), transpose=True).tolist()
    [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]
    """
    found = np.asarray(values, dtype=np.float64).reshape(shape)
    found = found.reshape(-1, *shape[-2:]).mean(0) if len(shape) > 2 else found  # noqa: PLR2004
    found = np.squeeze(found) if 1 in found.shape else found
    return found.T if transpose else found


def largest(*values: ArrayLike) -> float:
    """How large values are, all but a few: where colours saturate."""
    sizes = np.concatenate([np.abs(np.asarray(each, dtype=np.float64)).ravel() for each in values])
    sizes = sizes[np.isfinite(sizes)]
    return float(np.percentile(sizes, _ROBUST)) or 1.0 if sizes.size else 1.0


def draw(axes: Axes, values: Array, limit: float) -> None:
    """An image, its first row at the bottom, or a curve; colours and heights run to ±limit."""
    axes.set_xticks([])
    axes.set_yticks([])
    if not np.isfinite(values).all():
        axes.set_axis_off()
        return
    if values.ndim == 1:
        axes.plot(values, color=_COLOUR, linewidth=0.9)
        axes.axhline(0, color=_ZERO, linewidth=0.6)
        axes.set_ylim(-1.08 * limit, 1.08 * limit)
        axes.set_xlim(0, max(len(values) - 1, 1))
        return
    axes.imshow(
        values,
        origin="lower",
        aspect="auto",
        cmap=plotting.colour_map(symmetric=True),
        vmin=-limit,
        vmax=limit,
        interpolation="nearest",
    )
    for spine in axes.spines.values():
        spine.set(visible=True, color="#d1d5db", linewidth=0.6)


@dataclass(frozen=True)
class Captions:
    """What is written around a grid of pictures."""

    columns: Sequence[str]
    rows: Sequence[str]
    title: str
    subtitle: str


def grid(
    cells: Sequence[Array],
    told: Captions,
    how: tuple[tuple[int, ...], bool],
    *,
    scale: Scale,
) -> Figure:
    """Pictures in rows and columns; each, every row, or all of them with a scale of its own."""
    shape, transpose = how
    rows, columns = len(cells), len(cells[0])
    sheet = plotting.figure(max(4.2, _CELL * columns + 1.3), _CELL * rows + 0.9)
    sheet.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05)
    cell = sheet.subplots(rows, columns, squeeze=False)
    for row, values in enumerate(cells):
        for column, each in enumerate(values):
            axes = cell[row, column]
            limit = largest(*{"each": [each], "row": [values], "all": cells}[scale])
            draw(axes, shaped(each, shape, transpose=transpose), limit)
            if not row:
                axes.set_title(plotting.label(told.columns[column], 16), fontsize=8.5)
        cell[row, 0].set_axis_on()
        cell[row, 0].set_ylabel(plotting.label(told.rows[row], 16), fontsize=8.5)
    sheet.suptitle(
        f"{told.title} · {told.subtitle}", x=0.01, ha="left", fontsize=9.5, weight="bold"
    )
    return sheet
