"""One picture of points in axes: every colour has its chance, no point hides another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchprobe.plotting import label, marks
from torchprobe.plotting.style import GRID, MUTED
from torchprobe_projection.colouring import UNLABELLED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from numpy.typing import NDArray

    from torchprobe_projection.clouds import Array, Indices

__all__ = ["SIDE", "legend_entries", "scatter", "spread_out", "styles"]

SIDE = 2.15
"""Inches of a square picture."""

_POINTS = 72 * SIDE  # typographic points across a picture
_INK = 0.16  # the share of a picture's area that marks may cover
_UNKNOWN = ("#c7ccd3", "o")

Style = tuple[str, str]
"""Colour and marker."""


def styles(words: Sequence[str]) -> dict[str, Style]:
    """A colour and marker for each word, grey for points without a label.

    Up to seven words differ in colour; beyond, colour and shape together tell them apart.
    """
    told = [word for word in words if word != UNLABELLED]
    return {**dict(zip(told, marks(len(told)), strict=True)), UNLABELLED: _UNKNOWN}


def scatter(
    axes: Axes, places: Array, words: NDArray[np.object_], look: Mapping[str, Style]
) -> None:
    """Draw points [point, 2], each in the style of its word [point], in the order given.

    Where points would cover each other only the first is drawn: given in random order, what is
    seen of a crowd is a fair sample of it.
    """
    size = _mark_size(len(places))
    seen = spread_out(places, size / _POINTS)
    places, words = places[seen], words[seen]
    for marker in dict.fromkeys(look[word][1] for word in words):
        own = np.array([look[word][1] == marker for word in words])
        colours = [look[word][0] for word in words[own]]
        axes.scatter(
            places[own, 0],
            places[own, 1],
            s=size**2,
            c=colours,
            marker=marker,
            linewidths=0,
            alpha=0.85,
            rasterized=len(places) > 400,  # noqa: PLR2004 - a vector picture of more is slow
        )
    axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    axes.set_box_aspect(1)
    axes.margins(0.04)
    for side in axes.spines.values():
        side.set(visible=True, color=GRID)


def spread_out(places: Array, diameter: float) -> Indices:
    """The first point of every cell, cells being marks' width: [shown], ascending.

    Args:
        places: [point, 2].
        diameter: of a mark, as a share of the picture's side.

    Example:
        >>> spread_out(np.array([[0.0, 0], [9, 9], [0.1, 0], [5, 5]]), 0.1).tolist()
        [0, 1, 3]
    """
    low, extent = places.min(axis=0), max(np.ptp(places, axis=0).max(), np.finfo(float).tiny)
    cells = np.floor((places - low) / (extent * diameter)).astype(np.int64)  # [point, 2]
    first = np.unique(cells[:, 0] * (cells.max(initial=0) + 1) + cells[:, 1], return_index=True)[1]
    return np.sort(first)


def legend_entries(words: Sequence[str], look: Mapping[str, Style]) -> list[Line2D]:
    """A mark with its word for each."""
    from matplotlib.lines import Line2D

    return [
        Line2D(
            [],
            [],
            linestyle="",
            color=look[word][0],
            marker=look[word][1],
            markersize=5,
            markeredgewidth=0,
            label=label(word, 24),
        )
        for word in words
    ]


def caption(axes: Axes, text: str) -> None:
    """Muted words under a picture."""
    axes.set_xlabel(text, color=MUTED, size=7.5, labelpad=3)


def _mark_size(n: int) -> float:
    """Diameter of a mark in typographic points: smaller the more there are, 1.2 to 4."""
    return float(np.clip(_POINTS * np.sqrt(_INK / max(n, 1)), 1.2, 4.0))
