"""Distance matrices ordered by their dendrograms, groupings side by side (NAP, Fig. 3 and 4)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe import plotting
from torchprobe.plotting import Tree
from torchprobe.plotting.dendrogram import merge_lines
from torchprobe.plotting.style import COLOURS, MUTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform
    from numpy.typing import NDArray

    from torchprobe import Result
    from torchprobe.results import LayerResults

__all__ = ["cluster_colours", "draw_clusters", "shown_name"]

_MATRIX, _TREE, _GAP, _NAMES = 3.0, 0.8, 0.04, 0.62  # inches
_HEAD, _FOOT, _BETWEEN = 0.55, 0.42, 0.3  # inches: above and below a matrix, between two
_MOST = 6  # layers shown unasked
_TEXT = 7.5  # points
_SHORT = 3  # letters of names that two columns have room for
_BELOW: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}


@plotting.styled
def draw_clusters(
    results: LayerResults,
    layers: str | Sequence[str] | None = None,
    grouping: str | None = None,
    *,
    shared_scale: bool = False,
) -> Figure:
    """Draw the distances between groups, one row for each layer, groupings side by side.

    Groups stand in the order of the dendrogram at the left. Groups of one cluster, at the
    percentile of the result, have one colour: their names, their branches and a frame around them.
    Groups that stand alone are grey. An asterisk marks rare groups.

    Args:
        results: of `NeuronActivationProfiles`.
        layers: which; by default all, or six from the first to the last in even steps.
        grouping: one of the groupings; by default all.
        shared_scale: let a colour mean the same distance everywhere, so that layers can be
            compared; otherwise each matrix uses all colours.

    Raises:
        LayerNotFoundError: no such layer or grouping.
    """
    results = results if grouping is None else results.grouping(grouping)
    names = _chosen(results, layers)
    table = [[_found(results, layer, by) for by in results.groupings] for layer in names]
    most = max(_largest(result) for row in table for result in row if result)
    sheet, places = _sheet(len(names), len(results.groupings))
    for row, found in zip(places, table, strict=True):
        for place, result in zip(row, found, strict=True):
            if result is not None:
                _draw(_Panel.on(sheet, *place), result, most if shared_scale else None)
    return sheet


def cluster_colours(cluster: NDArray[np.intp]) -> list[str]:
    """A colour for each cluster of more than one, grey for those that stand alone [cluster].

    >>> cluster_colours(np.array([0, 0, 1, 2, 2]))
    ['#0072b2', '#6b7280', '#d55e00']
    """
    sizes, colours = np.bincount(cluster[cluster >= 0]), cycle(COLOURS[:-1])
    return [next(colours) if size > 1 else MUTED for size in sizes]


def shown_name(name: str, limit: int = 32) -> str:
    """A group's name as a label; a name of spaces alone, as letters have it, shows too.

    >>> shown_name("ah"), shown_name(" ")
    ('ah', '␣')
    """
    return plotting.label(name, limit) if name.strip() else "␣" * max(len(name), 1)


@dataclass(frozen=True)
class _Panel:
    """The axes of one matrix."""

    matrix: Axes
    tree: Axes
    key: Axes

    @classmethod
    def on(cls, sheet: Figure, left: float, bottom: float) -> _Panel:
        """With the lower left corner at these inches."""
        width, height = sheet.get_size_inches()

        def axes(x: float, y: float, w: float, h: float) -> Axes:
            made = sheet.add_axes((x / width, y / height, w / width, h / height))
            made.set(xticks=[], yticks=[], frame_on=False)
            return made

        start = left + _TREE + _GAP
        return cls(
            axes(start, bottom, _MATRIX, _MATRIX),
            axes(left, bottom, _TREE, _MATRIX),
            axes(start + _MATRIX - 1.2, bottom - 0.16, 1.2, 0.08),
        )


def _sheet(rows: int, columns: int) -> tuple[Figure, list[list[tuple[float, float]]]]:
    """A figure and the place of each panel on it, in inches."""
    across = _TREE + _GAP + _MATRIX + _NAMES + _BETWEEN
    down = _HEAD + _MATRIX + _FOOT
    height = rows * down
    places = [
        [(0.15 + column * across, height - (row + 1) * down + _FOOT) for column in range(columns)]
        for row in range(rows)
    ]
    return plotting.figure(0.15 + columns * across, height), places


def _chosen(results: LayerResults, layers: str | Sequence[str] | None) -> list[str]:
    if layers is None:
        return plotting.spread(results.layers, _MOST)
    names = [layers] if isinstance(layers, str) else list(layers)
    for name in names:
        results[name, results.groupings[0]]  # a typo is told here
    return names


def _found(results: LayerResults, layer: str, grouping: str | None) -> Result | None:
    part = results.grouping(grouping)
    return part[layer] if layer in part.layers else None


def _largest(result: Result) -> float:
    finite = result.distances[np.isfinite(result.distances)]
    return float(finite.max(initial=0.0))


def _draw(panel: _Panel, result: Result, most: float | None) -> None:
    order, cluster = result.order, result.cluster
    colours = cluster_colours(cluster)
    image = panel.matrix.imshow(
        result.distances[np.ix_(order, order)],
        cmap=plotting.colour_map(symmetric=False),
        vmin=0.0,
        vmax=most or _largest(result) or 1.0,
        interpolation="nearest",
        aspect="auto",
    )
    _frame_clusters(panel.matrix, cluster[order], colours)
    _name_groups(panel.matrix, result, colours)
    _draw_tree(panel.tree, result, colours)
    _draw_key(panel.key, image)
    if result.rare[order].any():
        rare = f"* fewer than {result.settings['rare']:,}"
        panel.matrix.annotate(
            rare, (0, 0), (0, -9), **_BELOW, ha="left", va="top", size=7.5, color=MUTED
        )
    by = f" · {result.grouping}" if result.grouping else ""
    plotting.heading(panel.matrix, f"{result.layer}{by}", _subtitle(result), limit=44)


def _subtitle(result: Result) -> str:
    if np.isnan(result.threshold):
        return "nothing to cluster"
    plural = "" if result.n_clusters == 1 else "s"
    percentile = f"{result.settings['percentile']:g}th percentile"
    silhouette = f"mean silhouette {result.mean_silhouette:.2f}"
    return f"{result.n_clusters:.0f} cluster{plural} at the {percentile} · {silhouette}"


def _frame_clusters(axes: Axes, clusters: NDArray[np.intp], colours: Sequence[str]) -> None:
    """A frame around each cluster of more than one; clusters [leaf]."""
    from matplotlib.patches import Rectangle

    for number in np.unique(clusters):
        members = np.flatnonzero(clusters == number)
        if len(members) > 1:
            corner, size = members[0] - 0.5, len(members)
            axes.add_patch(
                Rectangle(
                    (corner, corner),
                    size,
                    size,
                    fill=False,
                    ec=colours[number],
                    lw=1.4,
                    clip_on=False,
                )
            )


def _name_groups(axes: Axes, result: Result, colours: Sequence[str]) -> None:
    """Names at the right, in their cluster's colour; where they would touch, in two columns.

    Where that is not enough, or names are long, every n-th.
    """
    order = result.order
    named = [_marked(result, group) for group in order]
    room = 72 * _MATRIX / max(len(order), 1)  # points for each name
    columns = 2 if room < 1.05 * _TEXT and max(map(len, named), default=0) <= _SHORT else 1
    size = float(np.clip(0.95 * room * columns, 4.5, _TEXT))
    step = int(np.ceil(1.05 * size / room / columns))
    for at, place in enumerate(range(0, len(order), step)):
        # texts, not ticks: these take five times as long to make and to draw
        axes.text(
            1,
            place,
            named[place],
            transform=_beside(axes, 3 + (at % columns) * 0.75 * _TEXT * _SHORT),
            va="center_baseline",
            size=size,
            color=colours[result.cluster[order[place]]],
        )


def _beside(axes: Axes, points: float) -> Transform:
    """So far to the right of the axes, at heights in data."""
    from matplotlib.transforms import ScaledTranslation

    assert axes.figure is not None
    shift = ScaledTranslation(points / 72, 0, axes.figure.dpi_scale_trans)
    return axes.get_yaxis_transform() + shift


def _marked(result: Result, group: int) -> str:
    """A group's name as a label, with an asterisk where it is rare."""
    return shown_name(result.coords["group"][group], 9) + ("*" if result.rare[group] else "")


def _draw_tree(axes: Axes, result: Result, colours: Sequence[str]) -> None:
    """The dendrogram, its root at the left; merges within a cluster in the cluster's colour."""
    from matplotlib.collections import LineCollection

    linkage = result.linkage
    tree = Tree(linkage, result.order)
    lines = merge_lines(tree, floor=-1.0)[:, :, ::-1]
    lines[..., 0] = np.maximum(lines[..., 0], 0.0)
    drawn = LineCollection(list(lines), colors=_merge_colours(result, colours), linewidths=1.0)
    axes.add_collection(drawn, autolim=False)
    top = float(linkage[:, 2].max(initial=0.0)) * 1.03 or 1.0
    axes.set(xlim=(top, 0), ylim=(len(result.order) - 0.5, -0.5))
    if np.isfinite(result.threshold):
        axes.axvline(result.threshold, color=MUTED, linewidth=0.7, linestyle=(0, (2, 2)))


def _merge_colours(result: Result, colours: Sequence[str]) -> list[str]:
    """Of each merge: its cluster's where it joins groups of one, grey above [merge]."""
    of = [{int(result.cluster[group])} for group in sorted(result.order)]  # [item or merge]
    for left, right, *_ in result.linkage:
        of.append(of[int(left)] | of[int(right)])
    merges = of[len(result.order) :]
    return [colours[min(joined)] if len(joined) == 1 else MUTED for joined in merges]


def _draw_key(axes: Axes, image: object) -> None:
    """A small colour scale under the matrix."""
    from matplotlib.image import AxesImage
    from matplotlib.ticker import MaxNLocator

    assert isinstance(image, AxesImage)
    assert axes.figure is not None
    bar = axes.figure.colorbar(image, cax=axes, orientation="horizontal")
    bar.outline.set_visible(False)
    bar.ax.xaxis.set_major_locator(MaxNLocator(3))
    bar.ax.tick_params(length=2, labelsize=6.5, pad=1.5)
    bar.ax.annotate(
        "distance",
        (0, 0.5),
        (-6, 0),
        **_BELOW,
        ha="right",
        va="center",
        size=7.5,
        color=MUTED,
    )
