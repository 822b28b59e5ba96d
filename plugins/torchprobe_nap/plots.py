"""Profiles as pictures: silhouettes by layer, the stages of one group, a line for each neuron."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchprobe import plotting
from torchprobe.errors import LayerNotFoundError, NothingToDrawError
from torchprobe.plotting.style import COLOURS, MUTED
from torchprobe_nap.matrices import shown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from torchprobe import Result
    from torchprobe.results import LayerResults

    Array = NDArray[np.float64]

__all__ = ["draw_profiles", "draw_silhouettes", "draw_stages"]

_GROUPS = 6  # shown unasked
_ROBUST = 99.5  # percentile at which colours saturate


def draw_silhouettes(results: LayerResults, name: str = "mean_silhouette") -> Figure:
    """Draw how distinct the clusters are by layer, a line for each grouping.

    Args:
        results: of `NeuronActivationProfiles`.
        name: another of the single numbers: "n_clusters", "size_correlation", "left_out".
    """
    percentiles = next(iter(results.values())).coords["percentile"]
    named = {
        "mean_silhouette": (
            "mean silhouette",
            f"clusters at the {percentiles[0]}th to {percentiles[-1]}th percentile, −1..1",
        ),
        "size_correlation": ("rank correlation", "of a group's size with its mean distance, −1..1"),
    }
    ylabel, subtitle = named.get(name, (name.replace("_", " "), ""))
    return plotting.quantity(
        results, name, ylabel=ylabel, title="Neuron activation profiles", subtitle=subtitle
    )


@plotting.styled
def draw_stages(
    results: LayerResults,
    layer: str | None = None,
    grouping: str | None = None,
    group: str | None = None,
) -> Figure:
    """Draw how one group's profile comes about: mean, less the baseline, sorted (Fig. 1 C–E).

    Where the layer "input" was probed, the mean input of the group stands before (A).

    Args:
        results: of `NeuronActivationProfiles` with ``stages``.
        layer: which; the first that is not the input by default.
        grouping: which; the first by default.
        group: which; the one with most members by default.

    Raises:
        LayerNotFoundError: no such layer, grouping or group.
        NothingToDrawError: the results hold no stages.
    """
    results = results.grouping(results.groupings[0] if grouping is None else grouping)
    layer = layer or next((each for each in results.layers if each != "input"), results.layers[0])
    result = _with_stages(results[layer])
    index = _group(result, group)
    name = result.coords["group"][index]
    panels = [
        ("C  mean", result.mean[index]),
        ("D  less the baseline", result.normalised[index]),
        ("E  sorted", result.profile[index]),
    ]
    before = results["input"] if "input" in results.layers and layer != "input" else None
    if before is not None and "mean" in before and name in before.coords["group"]:
        panels.insert(0, ("A  mean input", before.mean[before.coords["group"].index(name)]))
    sheet = plotting.figure(0.4 + 2.5 * len(panels), 3.1)
    sheet.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    for number, (title, values) in enumerate(panels):
        axes = sheet.add_subplot(1, len(panels), number + 1)
        _draw_map(axes, values.reshape(len(values), -1), title)
    _title(sheet, result, f"{shown_name(name)} ({result.counts[index]:,} members)")
    return sheet


@plotting.styled
def draw_profiles(
    results: LayerResults,
    layer: str | None = None,
    grouping: str | None = None,
    groups: Sequence[str] | None = None,
    top: int = 5,
) -> Figure:
    """Draw profiles, a line for each neuron; those that respond most are coloured.

    Args:
        results: of `NeuronActivationProfiles` with ``stages``.
        layer: which; the last by default.
        grouping: which; the first by default.
        groups: which; by default the six with most members.
        top: how many neurons are coloured: those with the largest mean value, up or down.

    Raises:
        LayerNotFoundError: no such layer, grouping or group.
        NothingToDrawError: the results hold no stages.
    """
    results = results.grouping(results.groupings[0] if grouping is None else grouping)
    result = _with_stages(results[layer or results.layers[-1]])
    largest = np.argsort(-result.counts, kind="stable")[:_GROUPS].tolist()
    shown = [_group(result, name) for name in groups] if groups is not None else largest
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    sheet = plotting.figure(0.5 + 2.6 * columns, 0.5 + 1.9 * rows)
    sheet.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
    grid = sheet.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    _title(sheet, result, "profiles")
    for axes, index in zip(grid.flat, shown, strict=False):
        profile = result.profile[index].reshape(len(result.profile[index]), -1)
        _draw_lines(axes, profile, top)
        count = f"{result.counts[index]:,} members"
        plotting.heading(axes, shown_name(result.coords["group"][index]), count, limit=24)
    _name_axes(grid[-1, 0], result)
    return sheet


def _with_stages(result: Result) -> Result:
    if "profile" not in result:
        raise NothingToDrawError(
            f"the result of layer {result.layer!r} holds no profiles to draw; run the analyzer "
            "with stages=True: tp.analyzer('nap', stages=True)"
        )
    return result


def _group(result: Result, name: str | None) -> int:
    names = result.coords["group"]
    if name is None:
        return int(result.counts.argmax())
    if name not in names:
        raise LayerNotFoundError(f"group {name!r} not found; there are: {', '.join(names)}")
    return names.index(name)


def _title(sheet: Figure, result: Result, what: str) -> None:
    parts = [result.layer, *([result.grouping] if result.grouping else []), what]
    title = plotting.label(" · ".join(parts), 90)
    sheet.suptitle(title, x=0.01, ha="left", size=11, weight="bold")


def _draw_map(axes: Axes, values: Array, title: str) -> None:
    """Neurons × positions as colours."""
    symmetric = bool((values < 0).any())
    most = float(np.nanpercentile(np.abs(values), _ROBUST)) or 1.0
    image = axes.imshow(
        values,
        aspect="auto",
        cmap=plotting.colour_map(symmetric=symmetric),
        vmin=-most if symmetric else 0.0,
        vmax=most,
        interpolation="nearest",
    )
    axes.set_title(title, loc="left", size=9)
    axes.set_xlabel("rank" if title.startswith("E") else "position", color=MUTED)
    axes.set_ylabel("neuron" if not title.startswith("A") else "feature", color=MUTED)
    axes.tick_params(length=2, labelsize=7)
    axes.locator_params(nbins=5, integer=True)
    assert axes.figure is not None
    bar = axes.figure.colorbar(image, ax=axes, orientation="horizontal", aspect=30, pad=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2, labelsize=7)
    bar.ax.locator_params(nbins=4)


def _draw_lines(axes: Axes, profile: Array, top: int) -> None:
    """A line for each neuron over its positions, or one over the neurons where there is one."""
    from matplotlib.collections import LineCollection

    axes.axhline(0, color="#d1d5db", linewidth=0.8)
    if profile.shape[1] == 1:
        axes.plot(profile[:, 0], color=COLOURS[0], linewidth=0.9)
        return
    x = np.arange(profile.shape[1])
    lines = [np.column_stack([x, values]) for values in profile]
    drawn = LineCollection(lines, colors="#9ca3af", linewidths=0.4, alpha=0.7)
    axes.add_collection(drawn)
    most = np.argsort(-np.abs(profile.mean(axis=1)), kind="stable")[:top]
    for neuron, colour in zip(most, COLOURS, strict=False):
        axes.plot(x, profile[neuron], color=colour, linewidth=1.3, label=f" {neuron}")
    axes.autoscale_view()
    axes.legend(
        loc="upper left",
        title="neuron",
        title_fontsize=6.5,
        fontsize=6.5,
        handlelength=1.0,
        labelspacing=0.2,
        borderpad=0,
        alignment="left",
    )


def _name_axes(axes: Axes, result: Result) -> None:
    positions = result.profile[0].size // len(result.profile[0])
    ordered = "rank of the position" if result.settings["sort"] else "position"
    axes.set_xlabel("neuron" if positions == 1 else ordered, color=MUTED)
    axes.set_ylabel("activation", color=MUTED)
