"""Spectra of transforms by node and input, and their areas by layer (NM17, Fig. 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchprobe import plotting
from torchprobe.errors import LayerNotFoundError, NothingToDrawError
from torchprobe.plotting.style import GRID, MUTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from torchprobe import Result, Results
    from torchprobe.results import LayerResults

__all__ = ["against", "draw_against", "draw_areas", "draw_spectra"]

KINDS = {"node": "nodes", "input": "inputs"}
_FLAT = 0.5 + 1e-6  # rank one, up to rounding
_BINS = 18
_MOST_LAYERS = 12


def draw_spectra(results: LayerResults, logarithmic: bool = False) -> Figure:
    """Draw the average spectra of nodes and of inputs, and how their areas are spread (Fig. 7A).

    Node spectra of rank one, as all of a first layer are, are left out.

    Args:
        results: of "slt".
        logarithmic: a logarithmic axis of singular values.

    Raises:
        NothingToDrawError: no layer has a spectrum of rank above one.
    """
    kinds = [kind for kind in KINDS if _layers(results, kind)]
    if not kinds:
        raise NothingToDrawError("all transforms have rank one; probe a layer behind the first")
    sheet = plotting.figure(8.2, 3.2 * len(kinds) + 0.3)
    sheet.set_layout_engine("constrained", w_pad=0.1, h_pad=0.12)
    for row, kind in enumerate(kinds):
        shown = _layers(results, kind)
        curves = sheet.add_subplot(len(kinds), 2, 2 * row + 1)
        _curves(curves, shown, kind, logarithmic=logarithmic)
        _ridges(sheet.add_subplot(len(kinds), 2, 2 * row + 2), shown, kind)
    return sheet


def _layers(results: LayerResults, kind: str) -> dict[str, Result]:
    """Layers with spectra of a kind that say something; of many some, from first to last."""
    found = {
        result.layer: result
        for result in results.values()
        if f"{kind}_auc" in result.fields and _says(result[f"{kind}_auc"].values)
    }
    return {name: found[name] for name in plotting.spread(found, _MOST_LAYERS)}


def _says(areas: np.ndarray) -> bool:
    known = areas[np.isfinite(areas)]
    return bool(len(known)) and float(known.max()) > _FLAT


def _curves(axes: Axes, shown: Mapping[str, Result], kind: str, *, logarithmic: bool) -> None:
    for result, colour in zip(shown.values(), plotting.depth_colours(len(shown)), strict=True):
        values = result[f"{kind}_spectrum"].values
        values = np.where(values > 0, values, np.nan) if logarithmic else values
        axes.plot(np.arange(1, len(values) + 1), values, color=colour)
    longest = max(_last(result[f"{kind}_spectrum"].values) for result in shown.values())
    axes.set_xlim(1, max(2, longest))
    axes.set_yscale("log" if logarithmic else "linear")
    axes.grid(axis="y", color=GRID)
    axes.set_xlabel("order", color=MUTED)
    axes.set_ylabel("σ / σ₁")
    number = len(next(iter(shown.values()))[f"{kind}_auc"].values)
    plotting.heading(
        axes, f"Spectra of {KINDS[kind]}", f"average over {number:,} of each layer", limit=44
    )


def _last(values: np.ndarray) -> int:
    """How many values are above nothing."""
    above = np.flatnonzero(values > 1e-6)  # noqa: PLR2004 - of the first
    return int(above[-1]) + 1 if len(above) else 1


def _ridges(axes: Axes, shown: Mapping[str, Result], kind: str) -> None:
    """A histogram of areas for each layer, one above the other, the first at the bottom."""
    areas = [result[f"{kind}_auc"].values for result in shown.values()]
    known = [each[np.isfinite(each)] for each in areas]
    low, high = min(each.min() for each in known), max(each.max() for each in known)
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    for place, (each, colour) in enumerate(
        zip(known, plotting.depth_colours(len(known)), strict=True)
    ):
        heights = np.histogram(each, edges)[0]
        axes.stairs(
            place + 0.85 * heights / heights.max(), edges, baseline=place, fill=True, color=colour
        )
        axes.axhline(place, color=GRID, linewidth=0.8)
    axes.set_yticks(np.arange(len(known)) + 0.3, [plotting.label(name, 24) for name in shown])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(0, len(known))
    axes.set_xlabel("area under the spectrum", color=MUTED)
    plotting.heading(axes, f"Areas by {kind}", "number of each layer's, by area", limit=44)


def draw_areas(results: LayerResults) -> Figure:
    """Draw the mean area under the spectra of nodes and of inputs by layer.

    Args:
        results: of "slt".
    """
    names = {f"mean_{kind}_auc": told for kind, told in KINDS.items()}
    series = {
        told: {result.layer: float(result[name].values) for result in results.values()}
        for name, told in names.items()
        if all(name in result.fields for result in results.values())
    }
    return plotting.by_layer(
        series,
        ylabel="mean area under the spectrum",
        title="Spectra of transforms",
        subtitle="0.5: one function, scaled",
        from_zero=True,
    )


def against(results: Results, name: str = "class_spectrum_auc") -> dict[str, tuple[float, float]]:
    """By layer, the area of an analysis of the activations beside that of the transforms (Fig. 7B).

    Args:
        results: of one run, with "slt_classes" and another analyzer that has this number for the
            same layers ("lda" has).
        name: the number.

    Raises:
        LayerNotFoundError: nothing else has such a number.
    """
    mine = next((each for each in results.values() if each.kind == "slt_classes"), None)
    other = next(
        (
            each
            for each in results.values()
            if each.kind != "slt_classes" and any(name in one.fields for one in each.values())
        ),
        None,
    )
    if mine is None or other is None:
        raise LayerNotFoundError(
            f"comparing transforms with activations takes 'slt_classes' and an analyzer with "
            f"{name!r}; run analyzers=['slt_classes', 'lda'] together"
        )
    activations = {
        one.layer: float(one[name].values) for one in other.values() if name in one.fields
    }
    return {
        each.layer: (activations[each.layer], float(each[name].values))
        for each in mine.values()
        if each.layer in activations
    }


def draw_against(results: Results) -> Figure:
    """Draw the area of class-wise activation spectra against that of transforms (Fig. 7B).

    Args:
        results: of one run with "slt_classes" and "lda".

    Raises:
        LayerNotFoundError: one of them is missing.
    """
    with plotting.context():
        return _draw_against(against(results))


def _draw_against(pairs: Mapping[str, tuple[float, float]]) -> Figure:
    sheet = plotting.figure(4.6, 3.6)
    sheet.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    axes = sheet.add_subplot()
    places = np.array(list(pairs.values())).reshape(-1, 2)
    axes.plot(*places.T, color=GRID, zorder=1)
    for (layer, (x, y)), colour in zip(
        pairs.items(), plotting.depth_colours(len(pairs)), strict=True
    ):
        axes.plot(x, y, "o", color=colour, label=f" {plotting.label(layer, 24)}")
    axes.margins(0.12)
    axes.grid(color=GRID)
    axes.set_xlabel("area: activations of a class", color=MUTED)
    axes.set_ylabel("area: transforms of a class")
    plotting.heading(
        axes, "Activations against transforms", "class-wise spectra, by layer", limit=44
    )
    handles, names = axes.get_legend_handles_labels()
    sheet.legend(handles, [name[1:] for name in names], loc="outside right center")
    return sheet
