"""Falling curves over an index, one for each layer: spectra, explained variance, the like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchprobe.errors import InsufficientDataError
from torchprobe.plotting.style import GRID, MUTED, figure, heading, styled
from torchprobe.plotting.text import label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

__all__ = ["depth_colours", "spectra"]

_SHALLOW, _DEEP = 0.88, 0.05
_MOST_NAMES = 16  # in a legend; of more layers every n-th is named
_DECADES = 6


@styled
def spectra(
    curves: Mapping[str, ArrayLike],
    *,
    xlabel: str = "order",
    ylabel: str = "",
    title: str = "",
    subtitle: str = "",
    logarithmic: bool = False,
) -> Figure:
    """Draw a curve over 1, 2, 3, ... for each layer, in colours that run with depth.

    Args:
        curves: by layer in the model's order, its values [index]; NaN and, on a logarithmic axis,
            0 leave gaps.
        xlabel: what is counted along the axis.
        ylabel: what the values are.
        title: in bold above.
        subtitle: under it.
        logarithmic: a logarithmic axis of values, of six decades at most.

    Raises:
        InsufficientDataError: there is no curve.

    Example:
        >>> drawn = spectra({"hidden.1": [1.0, 0.4], "hidden.2": [1.0, 0.7]}, ylabel="σ / σ₁")
        >>> [text.get_text() for text in drawn.legends[0].get_texts()]
        ['hidden.1', 'hidden.2']
    """
    if not curves:
        raise InsufficientDataError("there is no curve to draw; give values by layer")
    sheet = figure(5.6, 3.3)
    sheet.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    axes = sheet.add_subplot()
    each = {name: np.asarray(values, dtype=np.float64) for name, values in curves.items()}
    for (name, values), colour in zip(each.items(), depth_colours(len(each)), strict=True):
        shown = np.where(values > 0, values, np.nan) if logarithmic else values
        axes.plot(np.arange(1, len(values) + 1), shown, color=colour, label=f" {label(name, 24)}")
    _scale(axes, list(each.values()), logarithmic=logarithmic)
    axes.set_xlabel(label(xlabel, 60), color=MUTED)
    axes.set_ylabel(label(ylabel, 60))
    heading(axes, title, subtitle, limit=52)
    _legend(sheet, axes)
    return sheet


def depth_colours(n: int) -> list[tuple[float, float, float]]:
    """A colour for each of n layers, from light to dark with depth, also without colour vision.

    >>> [len(colour) for colour in depth_colours(2)]
    [3, 3]
    """
    import matplotlib as mpl

    places = np.linspace(_SHALLOW, _DEEP, n) if n > 1 else np.array([(_SHALLOW + _DEEP) / 2])
    return [(c[0], c[1], c[2]) for c in mpl.colormaps["viridis"](places).tolist()]


def _scale(axes: Axes, values: Sequence[np.ndarray], *, logarithmic: bool) -> None:
    longest = max(map(len, values))
    axes.set_xlim(1, max(longest, 2))
    axes.locator_params(axis="x", integer=True, nbins=8)
    axes.grid(axis="y", color=GRID)
    known = np.concatenate(values)
    known = known[np.isfinite(known)]
    if not logarithmic:
        axes.set_ylim(0, 1.04 * max(float(known.max(initial=0.0)), 1e-12))
    elif (known > 0).any():
        axes.set_yscale("log")
        top = float(known.max())
        axes.set_ylim(max(float(known[known > 0].min()) / 1.3, top / 10**_DECADES), top * 1.3)


def _legend(sheet: Figure, axes: Axes) -> None:
    """The layers from top to bottom as they stand in the model."""
    handles, names = axes.get_legend_handles_labels()
    step = -(-len(names) // _MOST_NAMES)
    told = [name.removeprefix(" ") for name in names]  # led by a space, or one with _ is hidden
    sheet.legend(handles[::step], told[::step], loc="outside right center")
