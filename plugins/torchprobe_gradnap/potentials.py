"""Profiles as action potentials: a line for each neuron."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchprobe import plotting
from torchprobe.errors import NothingToDrawError
from torchprobe.optimal_input import most_responsive
from torchprobe_gradnap.choosing import chosen, last_over_positions, one, titled
from torchprobe_gradnap.images import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from torchprobe import Result
    from torchprobe.results import LayerResults

__all__ = ["draw_neurons"]

_PALE = "#9ca3af"


def draw_neurons(
    results: LayerResults,
    groups: Iterable[str] | None = None,
    layer: str | None = None,
    grouping: str | None = None,
    n: int = 5,
    optimal: Mapping[str, ArrayLike] | None = None,
) -> Figure:
    """Draw every neuron's profile as a line over time, the most responsive coloured (Fig. 3).

    Args:
        results: of gradient-adjusted profiles of a layer with time.
        groups: names; the three largest by default.
        layer: which; the last with several positions by default.
        grouping: which, where there are several.
        n: how many neurons are coloured.
        optimal: inputs [channel, time] by group, from `torchprobe.optimal_input`, drawn beside.

    Raises:
        NothingToDrawError: the layer has no axis of time alone.
    """
    result = one(results, layer or last_over_positions(results), grouping)
    if result.gradnap.ndim != 3:  # noqa: PLR2004
        raise NothingToDrawError(
            f"layer {result.layer!r} has no single axis of positions; lines over time need one"
        )
    shown = chosen(result, groups, 3)
    sheet = plotting.figure(4.4 + (2.6 if optimal else 0), 0.7 + 1.8 * len(shown))
    sheet.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    sheet.suptitle(plotting.label(titled(result), 60), x=0.01, ha="left", weight="bold", size=11)
    grid = sheet.subplots(
        len(shown), 2 if optimal else 1, squeeze=False, sharex="col",
        width_ratios=[1.5, 1] if optimal else None,
    )  # fmt: skip
    for (axes, *beside), group in zip(grid, shown, strict=True):
        name = result.coords["group"][group]
        _draw_lines(axes, result, group, n)
        axes.set_title(plotting.label(name, 40), loc="left", size=10)
        if beside and optimal and name in optimal:
            show(beside[0], np.asarray(optimal[name], dtype=float))
            beside[0].set_title("optimal input", loc="left", size=9)
        elif beside:
            beside[0].set_axis_off()
    for axes, about in zip(grid[-1], ("time of alignment", "middle"), strict=False):
        axes.set_xlabel(f"positions from the {about}")
    return sheet


def _draw_lines(axes: Axes, result: Result, group: int, n: int) -> None:
    profile = result.gradnap[group]  # [channel, time]
    offsets = np.arange(profile.shape[1]) - profile.shape[1] // 2
    axes.plot(offsets, profile.T, color=_PALE, linewidth=0.5, alpha=0.6)
    strongest = np.flatnonzero(most_responsive(result.responsiveness[group], n)[0])
    for neuron, (colour, _) in zip(strongest, plotting.marks(len(strongest)), strict=True):
        axes.plot(offsets, profile[neuron], color=colour, linewidth=1.6, label=f"{neuron}")
    axes.axvline(0, color=_PALE, linewidth=0.8, linestyle="--", zorder=0)
    if len(strongest):
        axes.legend(
            title="neuron", fontsize=7.5, title_fontsize=7.5, loc="upper left",
            bbox_to_anchor=(1.0, 1.02), handlelength=1.2,
        )  # fmt: skip
    axes.set_ylabel("GradNAP")
