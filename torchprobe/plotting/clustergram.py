"""A matrix whose rows and columns are ordered by similarity, with both dendrograms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe.errors import InsufficientDataError, ShapeError
from torchprobe.plotting.dendrogram import Tree, draw_tree
from torchprobe.plotting.style import (
    INK,
    MUTED,
    category_colours,
    colour_map,
    figure,
    heading,
    styled,
)
from torchprobe.plotting.text import label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from numpy.typing import ArrayLike, NDArray

    Matrix = NDArray[np.float64]

__all__ = ["clustergram"]

_MAP_WIDTH, _TREE, _STRIP, _GAP = 6.6, 0.8, 0.09, 0.05  # inches
_ROW, _LEAST, _MOST = 0.155, 1.6, 10.0  # inches: a row, the least and the greatest height
_TEXT, _HEAD, _FOOT = 7.5, 0.62, 0.52  # points; inches above and below
_DOTS = 192  # an inch, across the map
_ROBUST = 99.5  # percentile at which colours saturate: one glaring unit must not pale the others


@styled
def clustergram(
    values: ArrayLike,
    *,
    rows: Tree | None = None,
    columns: Tree | None = None,
    row_names: Sequence[str] | None = None,
    cutoff: float = 0.0,
    clusters: ArrayLike | None = None,
    categories: Mapping[str, str] | None = None,
    symmetric: bool | None = None,
    value_label: str = "",
    column_label: str = "",
    height_label: str = "",
    title: str = "",
    subtitle: str = "",
) -> Figure:
    """Draw a matrix as a heat map with the dendrograms of its rows (left) and columns (above).

    Args:
        values: [row, column]; NaN stays grey.
        rows: order and merges of the rows; all of them as they stand where None.
        columns: the same for the columns, of which only merges above ``cutoff`` are drawn.
        row_names: one a row.
        cutoff: where the dendrogram of the columns is truncated.
        clusters: cluster of each column [column]; a strip shows where one ends.
        categories: a category for some row names; a strip and a legend show them.
        symmetric: colours centred at 0; by default if there are negative values.
        value_label: what the colours mean.
        column_label: what the columns are.
        height_label: what the heights of the dendrograms mean.
        title: in bold above.
        subtitle: under it.

    Raises:
        ShapeError: values is no matrix, or the names or clusters do not fit it.
        InsufficientDataError: there is no row or no column.

    Example:
        >>> tree = Tree(np.array([[0, 1, 0.3, 2.0]]), np.array([1, 0]))
        >>> figure = clustergram([[0.0, 1, 2], [1, 0, 2]], rows=tree, row_names=["a", "b"])
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['b', 'a']
    """
    matrix = _matrix(values, row_names, clusters)
    row_tree, column_tree = rows or _flat(matrix.shape[0]), columns or _flat(matrix.shape[1])
    shown = matrix[np.ix_(row_tree.order, column_tree.order)]
    names = [str(row_names[row]) for row in row_tree.order] if row_names is not None else []
    panels = _Panels.laid_out(len(shown), names, bool(categories))
    image = _draw_map(panels.map, shown, symmetric)
    _name_rows(panels.map, names, panels.row_height)
    draw_tree(panels.left, row_tree, sideways=True)
    draw_tree(panels.above, column_tree, floor=cutoff)
    _scale(panels.above, cutoff, height_label)
    if clusters is not None:
        _draw_clusters(panels.strip, np.asarray(clusters)[column_tree.order])
    if categories:
        _draw_categories(panels, [categories.get(name, "") for name in names])
    _draw_key(panels.key, image, value_label)
    panels.map.set_xlabel(label(column_label, 90), loc="left", labelpad=5, size=8, color=MUTED)
    heading(panels.above, title, subtitle)
    return panels.map.figure  # type: ignore[return-value]


@dataclass(frozen=True)
class _Panels:
    """The axes of a clustergram, placed to the inch so that leaves meet their rows and columns."""

    map: Axes
    left: Axes
    above: Axes
    strip: Axes
    side: Axes
    key: Axes
    row_height: float
    """Inches."""

    @classmethod
    def laid_out(cls, n_rows: int, names: Sequence[str], categories: bool) -> _Panels:
        height = float(np.clip(_ROW * n_rows, _LEAST, _MOST))
        side = _STRIP + _GAP if categories else 0.0
        left = 0.15 + _TREE
        bottom, right = _FOOT + (0.3 if categories else 0.0), left + _MAP_WIDTH
        top = bottom + height + 2 * _GAP + _STRIP
        width = right + side + _text_width(names) + 0.3
        whole = (width, top + _TREE + _HEAD)
        sheet = figure(*whole)

        def axes(x: float, y: float, w: float, h: float, *, frame: bool = False) -> Axes:
            place = (x / whole[0], y / whole[1], w / whole[0], h / whole[1])
            made = sheet.add_axes(place)
            made.set(xticks=[], yticks=[], frame_on=frame)
            return made

        return cls(
            map=axes(left, bottom, _MAP_WIDTH, height, frame=True),
            left=axes(0.15, bottom, _TREE - _GAP, height),
            above=axes(left, top, _MAP_WIDTH, _TREE),
            strip=axes(left, bottom + height + _GAP, _MAP_WIDTH, _STRIP),
            side=axes(right + _GAP, bottom, _STRIP, height),
            key=axes(right - 1.6, bottom - 0.24, 1.6, 0.1),
            row_height=height / max(n_rows, 1),
        )


def _matrix(values: ArrayLike, names: Sequence[str] | None, clusters: ArrayLike | None) -> Matrix:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2:  # noqa: PLR2004
        raise ShapeError(f"a clustergram shows a matrix [row, column], not shape {matrix.shape}")
    if matrix.size == 0:
        raise InsufficientDataError(
            f"there is nothing to show: the matrix has shape {matrix.shape}"
        )
    for what, given, size in (("row names", names, 0), ("clusters", clusters, 1)):
        if given is not None and len(np.asarray(given)) != matrix.shape[size]:
            raise ShapeError(f"{len(np.asarray(given))} {what} for a matrix shaped {matrix.shape}")
    return matrix


def _flat(n: int) -> Tree:
    """Items as they stand, without merges."""
    return Tree(np.empty((0, 4)), np.arange(n))


def _text_width(names: Sequence[str]) -> float:
    """Inches that the longest name takes."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    longest = sorted((label(name) for name in names), key=len)[-3:]
    font = FontProperties(family="DejaVu Sans")
    widths = [TextPath((0, 0), text, _TEXT, prop=font).get_extents().x1 for text in longest if text]
    return max((w for w in widths if np.isfinite(w)), default=0.0) / 72 + 0.1


def _draw_map(axes: Axes, shown: Matrix, symmetric: bool | None) -> AxesImage:
    finite = shown[np.isfinite(shown)]
    if symmetric is None:
        symmetric = bool((finite < 0).any())
    most = float(np.percentile(np.abs(finite), _ROBUST)) if finite.size else 1.0
    most = most or float(np.abs(finite).max(initial=0.0)) or 1.0  # sparse: few are not 0
    axes.set_facecolor("#d1d5db")
    for spine in axes.spines.values():
        spine.set(visible=True, color="#d1d5db", linewidth=0.6)
    return axes.imshow(
        _binned(shown, int(_MAP_WIDTH * _DOTS)),
        aspect="auto",
        extent=(-0.5, shown.shape[1] - 0.5, len(shown) - 0.5, -0.5),
        cmap=colour_map(symmetric=symmetric),
        vmin=-most if symmetric else min(0.0, float(finite.min(initial=0.0))),
        vmax=most,
        interpolation="nearest",
    )


def _binned(shown: Matrix, most: int) -> Matrix:
    """Means of neighbouring columns where there are more than a picture has dots.

    matplotlib's own smoothing would blur the rows as well.
    """
    columns = shown.shape[1]
    if columns <= most:
        return shown
    starts = np.linspace(0, columns, most, endpoint=False).astype(int)
    sizes = np.diff(starts, append=columns)
    return np.asarray(np.add.reduceat(shown, starts, axis=1) / sizes)


def _name_rows(axes: Axes, names: Sequence[str], row_height: float) -> None:
    """Names at the right; where rows are thinner than letters, every n-th."""
    step = max(1, int(np.ceil(_TEXT * 1.15 / 72 / row_height))) if names else 1
    axes.yaxis.tick_right()
    axes.set_yticks(range(0, len(names), step), [label(name) for name in names[::step]])
    axes.tick_params(axis="y", length=0, labelsize=_TEXT, pad=2)


def _scale(axes: Axes, cutoff: float, height_label: str) -> None:
    """The height axis of the dendrogram above."""
    from matplotlib.ticker import MaxNLocator

    axes.set_frame_on(True)
    axes.spines[["right", "bottom", "top"]].set_visible(False)
    top = axes.get_ylim()[1]
    ticks = MaxNLocator(3, steps=[1, 2, 5, 10]).tick_values(cutoff, top)
    apart = cutoff + 0.2 * (top - cutoff)
    axes.set_yticks([cutoff, *(tick for tick in ticks if apart < tick <= top)])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.tick_params(axis="y", left=True, length=2.5, labelsize=7.5)
    axes.set_ylabel(label(height_label), size=8, color=MUTED)
    if not len(axes.collections[0].get_paths()):
        message = f"all columns join at or below {cutoff:g}" if cutoff else ""
        axes.text(0.5, 0.4, message, color=MUTED, ha="center", transform=axes.transAxes)


def _draw_clusters(axes: Axes, clusters: NDArray[np.intp]) -> None:
    """Neighbouring clusters in alternating greys."""
    from matplotlib.colors import ListedColormap

    changes = np.cumsum(np.diff(clusters, prepend=clusters[:1]) != 0) % 2
    if len(changes):
        greys = ListedColormap([INK, "#c3c8d0"])
        axes.imshow(changes[np.newaxis], aspect="auto", cmap=greys, vmin=0, vmax=1)


def _draw_categories(panels: _Panels, categories: Sequence[str]) -> None:
    """A strip beside the rows, whose colours a legend under the map explains."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    named = [category for category in categories if category]
    colours = {"": "white", **category_colours(sorted(set(named), key=named.index))}
    codes = [[list(colours).index(category)] for category in categories]
    cmap = ListedColormap(list(colours.values()))
    panels.side.imshow(codes, aspect="auto", cmap=cmap, vmin=-0.5, vmax=len(colours) - 0.5)
    panels.map.tick_params(axis="y", pad=2 + 72 * (_STRIP + _GAP))
    handles = [Patch(color=colour) for category, colour in colours.items() if category]
    panels.map.legend(
        handles,
        [f" {label(category, 20)}" for category in colours if category],
        loc="upper left",
        bbox_to_anchor=(-0.01, -0.4 / (panels.row_height * len(categories))),
        ncols=7,
        fontsize=8,
        handlelength=0.9,
        columnspacing=1.2,
        borderpad=0,
    )


def _draw_key(axes: Axes, image: AxesImage, value_label: str) -> None:
    """A small colour scale."""
    from matplotlib.ticker import MaxNLocator

    data: Any = image.get_array()
    low, high = image.get_clim()
    over, under = bool((data > high).any()), bool((data < low).any())
    extend = {(True, True): "both", (True, False): "max", (False, True): "min"}
    assert axes.figure is not None
    bar = axes.figure.colorbar(
        image, cax=axes, orientation="horizontal", extend=extend.get((over, under), "neither")
    )
    bar.outline.set_visible(False)
    bar.ax.xaxis.set_major_locator(MaxNLocator(3))
    bar.ax.tick_params(length=2, labelsize=7, pad=1.5)
    bar.ax.annotate(
        label(value_label, 40),
        (0, 0.5),
        (-8, 0),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="center",
        size=8,
        color=MUTED,
    )
