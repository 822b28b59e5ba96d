"""Spectra, their areas by layer, and their differences (NM17, Fig. 1 and 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe import plotting
from torchprobe.errors import InsufficientDataError, LayerNotFoundError
from torchprobe.plotting import depth_colours, label
from torchprobe.plotting.style import GRID, INK, MUTED
from torchprobe_slt.pictures import SLT, Folding, limit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from torchprobe import Result
    from torchprobe.results import LayerResults
    from torchprobe_slt.jacobian import Jacobian

    Array = NDArray[np.float64]

__all__ = [
    "draw_areas",
    "draw_classes",
    "draw_differences",
    "draw_representation",
    "draw_spectra",
    "slt_picture",
]

_TITLES = {"node": "nodes", "input": "inputs"}
_PANELS = {"node": "SLTs of each node", "input": "Effects of each input"}


def draw_areas(results: LayerResults) -> Figure:
    """Draw the area under spectra of SLTs by layer, over nodes and over inputs.

    Layers whose nodes all apply one and the same function to every sample are left out of the
    line over nodes, as in the paper.

    Args:
        results: of the analyzer "slt".
    """
    every = list(results.values())
    d = every[0].settings["d"]
    series = {
        _TITLES[axis]: {
            each.layer: each[f"mean_{axis}_auc"].item
            for each in every
            if f"mean_{axis}_auc" in each.fields and not (axis == "node" and linear(each))
        }
        for axis in _TITLES
    }
    return plotting.by_layer(
        {name: numbers for name, numbers in series.items() if numbers},
        ylabel="area under spectrum",
        title="Diversity of linear functions",
        subtitle=f"0.5: one function for all samples; {d - 1}: flat",
        from_zero=True,
    )


def linear(result: Result) -> bool:
    """Whether all nodes of a layer, but those that are always 0, are linear."""
    if "linear_nodes" not in result.fields:
        return False
    return bool(result.linear_nodes + result.zero_nodes >= len(result.node_auc))


def draw_spectra(results: LayerResults) -> Figure:
    """Draw mean spectra of SLTs over nodes and over inputs, and under them their areas (Fig. 7A).

    Args:
        results: of the analyzer "slt". Layers whose nodes are all linear are left out on the left.
    """
    every = list(results.values())
    axes_there = [axis for axis in _TITLES if f"{axis}_auc" in every[0].fields]
    sheet = plotting.figure(3.6 * len(axes_there) + 1.2, 4.6)
    sheet.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
    grid = sheet.subplots(2, len(axes_there), squeeze=False, height_ratios=[2, 1])
    colours = dict(zip(results.layers, depth_colours(len(results.layers)), strict=True))
    handles: dict[str, Any] = {}
    for axis, (above, below) in zip(axes_there, grid.T, strict=True):
        shown = [each for each in every if not (axis == "node" and linear(each))]
        for each in shown:
            spectrum = each[f"{axis}_spectrum"].values
            order = np.arange(1, len(spectrum) + 1)
            (handles[each.layer],) = above.plot(order, spectrum, color=colours[each.layer])
        _histograms(below, [each[f"{axis}_auc"].values for each in shown], shown, colours)
        above.set(ylim=(0, 1.04), xlim=(1, every[0].settings["d"]))
        above.set_xlabel("order of singular value", color=MUTED)
        above.grid(axis="y", color=GRID)
        plotting.heading(above, _PANELS[axis])
    grid[0, 0].set_ylabel("singular value / first")
    grid[1, 0].set_ylabel("share")
    named = [layer for layer in results.layers if layer in handles]
    sheet.legend(
        [handles[n] for n in named], [label(n, 24) for n in named], loc="outside right center"
    )
    return sheet


def _histograms(
    axes: Axes, areas: Sequence[ArrayLike], shown: Sequence[Result], colours: Mapping[str, Any]
) -> None:
    """How the areas of a layer's nodes or inputs are distributed."""
    each = [np.asarray(a)[np.isfinite(a)] for a in areas]
    if not any(map(len, each)):
        return
    edges = np.histogram_bin_edges(np.concatenate(each), bins=40)
    for values, result in zip(each, shown, strict=True):
        if len(values):
            weights = np.full(len(values), 1 / len(values))
            axes.hist(
                values,
                edges.tolist(),
                weights=weights,
                color=colours[result.layer],
                histtype="step",
            )
    axes.set_xlabel("area under spectrum", color=MUTED)
    axes.set_yticks([])


def draw_differences(results: LayerResults) -> Figure:
    """Draw by layer how much larger the area is for linearly inseparable samples (Fig. 7C).

    Args:
        results: of the analyzer "slt_difficulty".
    """
    every = list(results.values())
    series = {
        _TITLES[axis]: {each.layer: each[f"{axis}_delta_auc"].item for each in every}
        for axis in _TITLES
        if f"{axis}_delta_auc" in every[0].fields
    }
    counts = every[0].samples
    sheet = plotting.by_layer(
        series,
        ylabel="ΔAUC",
        title="More functions for difficult samples?",
        subtitle=f"{counts[1]:,} inseparable − {counts[0]:,} separable samples",
    )
    sheet.axes[0].axhline(0, color=MUTED, linewidth=0.8)
    return sheet


def draw_classes(results: LayerResults) -> Figure:
    """Draw, layer by layer, the diversity of functions within classes against that of activations.

    Args:
        results: of the analyzer "slt_classes".
    """
    every = list(results.values())
    return draw_representation(
        {each.layer: each.activation_auc for each in every},
        {each.layer: each.auc for each in every},
    )


def draw_representation(activation: Mapping[str, float], slt: Mapping[str, float]) -> Figure:
    """Draw areas under spectra of activations against those of SLTs, a point a layer (Fig. 7B).

    Args:
        activation: area by layer, of activations within classes.
        slt: area by layer, of SLTs.

    Raises:
        InsufficientDataError: no layer has both.
    """
    layers = [
        layer
        for layer in slt
        if np.isfinite(slt[layer]) and np.isfinite(activation.get(layer, np.nan))
    ]
    if not layers:
        raise InsufficientDataError("no layer has an area for both activations and SLTs")
    x, y = (np.array([areas[layer] for layer in layers]) for areas in (activation, slt))
    sheet = plotting.figure(5.2, 3.8)
    sheet.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    axes = sheet.add_subplot()
    axes.plot(x, y, color=GRID, zorder=1)
    axes.scatter(x, y, c=depth_colours(len(layers)), s=46, zorder=2, edgecolor="white")
    for place, layer in enumerate(layers):
        axes.annotate(
            label(layer, 20),
            (x[place], y[place]),
            (6, 4),
            textcoords="offset points",
            size=8,
            color=INK,
        )
    axes.margins(0.16)
    axes.grid(color=GRID)
    axes.set(xlabel="area, activations", ylabel="area, SLTs of all nodes")
    plotting.heading(axes, "Functions and activations within classes", _correlation(x, y))
    return sheet


def _correlation(x: Array, y: Array) -> str:
    spread = min(np.ptp(x), np.ptp(y)) if len(x) > 2 else 0  # noqa: PLR2004
    if spread == 0:
        return "one point a layer, darker is deeper"
    return f"one point a layer, darker is deeper; r = {np.corrcoef(x, y)[0, 1]:.2f}"


@plotting.styled
def slt_picture(
    jacobian: Jacobian, sample: int, node: int, *, fold: Sequence[int] | None = None
) -> Figure:
    """Draw the linear function that a node applies to one sample, shaped as its input (Fig. 1).

    Args:
        jacobian: of one layer, from `jacobians`.
        sample: which sample.
        node: which node.
        fold: (columns, rows) of a flat input, such as (frames, mel bands).

    Raises:
        LayerNotFoundError: no such sample or node.
        ShapeError: the input cannot be folded so.
    """
    rows, nodes, entries = jacobian.values.shape
    if not (-rows <= sample < rows and -nodes <= node < nodes):
        raise LayerNotFoundError(f"sample {sample}, node {node}: there are {rows} and {nodes}")
    values = jacobian.values[sample, node].double().cpu().numpy()
    folding = Folding.of(entries, jacobian.input_shape, fold)
    sheet = plotting.figure(4.2, 3.2)
    sheet.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    axes = sheet.add_subplot()
    image = folding.draw(axes, values, limit_of(values), SLT)
    if image is not None:
        sheet.colorbar(image, ax=axes, shrink=0.8).outline.set_visible(False)
    offset = float(jacobian.offset[sample, node])
    plotting.heading(axes, f"Node {node}, sample {sample}", f"h = J·x {offset:+.3g}")
    return sheet
