"""Pictures of layers side by side (GK20, Fig. 1 to 3), their measures and the losses by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe import plotting
from torchprobe.errors import InsufficientDataError, SettingError
from torchprobe.plotting.style import GRID, MUTED
from torchprobe.wording import unknown
from torchprobe_projection.colouring import Colouring
from torchprobe_projection.linear import Random
from torchprobe_projection.measures import MEASURES
from torchprobe_projection.registry import title
from torchprobe_projection.scatter import SIDE, caption, legend_entries, scatter, styles
from torchprobe_projection.table import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from torchprobe import Result
    from torchprobe.results import LayerResults
    from torchprobe_projection.table import MeasureRow

__all__ = ["draw_losses", "draw_maps", "draw_measures"]

_MOST_LAYERS = 4  # of a figure, unless more are asked for
_LEGEND_ROW, _LETTER = 0.19, 0.075  # inches
_ACROSS = 4  # measures side by side
_SHORT = {"pd": "PD", "mi": "MI", "dc": "DC"}


def draw_maps(
    results: LayerResults,
    layers: str | Iterable[str] | None = None,
    methods: str | Iterable[str] | None = None,
    grouping: str | None = None,
    categories: Mapping[str, str] | None = None,
    only: str | Iterable[str] | None = None,
) -> Figure:
    """Draw the points of layers as methods see them: layers under, methods beside each other.

    Args:
        results: of projection.
        layers: which; up to four from the first to the last by default.
        methods: which; all but the random one by default.
        grouping: whose classes colour the points; the first by default.
        categories: class name → category, to colour by category instead.
        only: classes or categories to show, e.g. ``("stop", "fricative", "nasal")``.

    Raises:
        LayerNotFoundError: no such layer.
        SettingError: no such method, grouping, class or category.
        InsufficientDataError: the filter leaves no point.
    """
    shown = _layers(results, layers)
    columns = _methods(shown, methods)
    coloured = [Colouring.of(result, grouping, categories, only) for result in shown]
    words = tuple(dict.fromkeys(word for each in coloured for word in each.order))
    explained = words if words != ("",) else ()
    sheet, panels = _sheet(len(shown), len(columns), explained)
    look = {**styles(words), "": plotting.marks(1)[0]}
    for row, result, colouring in zip(panels, shown, coloured, strict=True):
        for axes, method in zip(row, columns, strict=True):
            _draw_map(axes, result, method, colouring, look)
        row[0].set_ylabel(plotting.label(result.layer, 26), size=9, labelpad=6)
    for axes, method in zip(panels[0], columns, strict=True):
        axes.set_title(title(method), size=9.5, weight="bold", pad=5)
    if explained:
        _explain(sheet, explained, look, len(shown))
    return sheet


def draw_measures(results: LayerResults, measures: str | Iterable[str] | None = None) -> Figure:
    """Draw the measures by layer, a picture for each measure, a line for each method.

    A grey line is what to hold the others against: for the Procrustes distance the PCA bound, below
    which no picture can be; for hit and accuracy the layer itself. Random coordinates are dotted.

    Args:
        results: of projection.
        measures: which; all by default.

    Raises:
        SettingError: a measure that no layer has.
    """
    rows = table(results, measures)
    groups = list(dict.fromkeys((row.measure, row.grouping) for row in rows.rows))
    across = min(len(groups), _ACROSS)
    down, last = -(-len(groups) // across), len(groups) - 1
    sheet = plotting.figure(2.3 * across + 1.4, 1.75 * down + 0.9)
    sheet.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
    every = sheet.subplots(down, across, squeeze=False, sharex=True).flatten()
    for axes, group in zip(every, groups, strict=False):
        own = [row for row in rows.rows if (row.measure, row.grouping) == group]
        _draw_measure(axes, own, rows.methods)
    for axes in every[len(groups) :]:
        axes.set_axis_off()
    lowest = [last - (last - column) % across for column in range(across)]
    _name_layers(every[lowest], results.layers)
    lines, names = every[0].get_legend_handles_labels()
    sheet.legend(lines, names, loc="outside right center")
    return sheet


def draw_losses(results: LayerResults, method: str = "autoencoder") -> Figure:
    """Draw how the loss of a method that is trained fell, a line for each layer.

    Solid is the loss on rows held out, dotted that on the rows learnt from; 1 is what giving back
    the mean of every channel loses.

    Args:
        results: of projection.
        method: whose loss.

    Raises:
        InsufficientDataError: no layer has a loss of this method.
    """
    name = f"{method}_loss"
    trained = [result for result in results.values() if name in result]
    if not trained:
        raise InsufficientDataError(f"no layer has a field {name!r}; was {method!r} among methods?")
    sheet = plotting.figure(5.6, 3.2)
    sheet.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    axes = sheet.add_subplot()
    for result, (colour, _) in zip(trained, plotting.marks(len(trained)), strict=True):
        learnt, held_out = result[name].values.T  # [epoch]
        epochs = np.arange(1, len(learnt) + 1)
        axes.plot(epochs, learnt, color=colour, linestyle=":", linewidth=1)
        axes.plot(epochs, held_out, color=colour, label=plotting.label(result.layer, 26))
    axes.set(xlabel="epoch", ylabel="share of variance lost")
    axes.grid(axis="y", color=GRID)
    plotting.heading(axes, f"Loss of the {title(method)}", "solid: rows held out", limit=50)
    handles, names = axes.get_legend_handles_labels()
    sheet.legend(handles, names, loc="outside right center")
    return sheet


def _layers(results: LayerResults, asked: str | Iterable[str] | None) -> list[Result]:
    if asked is not None:
        return [results[name] for name in ([asked] if isinstance(asked, str) else asked)]
    return plotting.spread(results.values(), _MOST_LAYERS)


def _methods(results: Sequence[Result], asked: str | Iterable[str] | None) -> list[str]:
    known = dict.fromkeys(name for result in results for name in result.coords["method"])
    if asked is None:
        return [name for name in known if name != Random.name]
    named = [asked] if isinstance(asked, str) else list(asked)
    for name in named:
        if name not in known:
            raise SettingError(unknown("method", name, known))
    return named


def _sheet(down: int, across: int, words: Sequence[str]) -> tuple[Figure, list[list[Axes]]]:
    """A figure of square pictures with room for a legend."""
    legend = _legend_columns(words, down) * (
        0.32 + _LETTER * min(24, max(map(len, words), default=0))
    )
    sheet = plotting.figure((SIDE + 0.12) * across + 0.4 + legend, (SIDE + 0.3) * down + 0.3)
    sheet.set_layout_engine("constrained", w_pad=0.04, h_pad=0.04)
    panels = sheet.subplots(down, across, squeeze=False)
    return sheet, [list(row) for row in panels]


def _legend_columns(words: Sequence[str], down: int) -> int:
    return -(-len(words) // int((SIDE + 0.3) * down / _LEGEND_ROW))


def _explain(
    sheet: Figure, words: Sequence[str], look: Mapping[str, tuple[str, str]], down: int
) -> None:
    sheet.legend(
        handles=legend_entries(words, look),
        loc="outside right center",
        ncols=_legend_columns(words, down),
        columnspacing=0.8,
        handletextpad=0.1,
        labelspacing=0.35,
    )


def _draw_map(
    axes: Axes,
    result: Result,
    method: str,
    colouring: Colouring,
    look: Mapping[str, tuple[str, str]],
) -> None:
    """One picture, its measures under it."""
    if method not in result.coords["method"]:
        axes.set_visible(False)
        return
    place = result.coords["method"].index(method)
    points = result.coordinates[place][colouring.shown]  # in the order of hashes: at random
    scatter(axes, points, colouring.words[colouring.shown], look)
    known = [name for name in _SHORT if name in result]
    caption(axes, "  ".join(f"{_SHORT[name]} {result[name].values[place]:.2f}" for name in known))


def _draw_measure(axes: Axes, rows: Sequence[MeasureRow], methods: Sequence[str]) -> None:
    for method, (colour, marker) in zip(methods, plotting.marks(len(methods)), strict=True):
        values = [row.values.get(method, np.nan) for row in rows]
        drawn: dict[str, Any] = {"color": MUTED, "linestyle": ":"}
        if method != Random.name:
            drawn = {"color": colour, "marker": marker, "markersize": 4}
        axes.plot(values, label=title(method), linewidth=1.4, **drawn)
    axes.plot([row.reference for row in rows], color="#9ca3af", linewidth=1, label="reference")
    axes.grid(axis="y", color=GRID)
    measure, grouping = MEASURES[rows[0].measure], rows[0].grouping
    by = f" ({grouping})" if grouping else ""
    axes.set_title(plotting.label(measure.title + by, 34), size=9, weight="bold", loc="left")
    axes.locator_params(axis="y", nbins=5)


def _name_layers(bottom: Iterable[Axes], layers: Sequence[str]) -> None:
    """Layers under the lowest pictures, whose axis those above share."""
    step = -(-len(layers) // 12)
    shown = [plotting.label(name, 18) for name in layers[::step]]
    for axes in bottom:
        axes.set_xticks(range(0, len(layers), step), shown)
        axes.tick_params(labelbottom=True)
        for text in axes.get_xticklabels():
            text.set(rotation=40, ha="right", rotation_mode="anchor", size=7.5)
