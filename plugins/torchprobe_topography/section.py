"""What a report says about topography."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchprobe.plotting import plot
from torchprobe.report import Figure, Section, number_table

if TYPE_CHECKING:
    from torchprobe import Result
    from torchprobe.results import LayerResults

__all__ = ["describe"]

_MOST = 4  # layers of a grouping whose maps are drawn

_TEXT = """\
Do units that lie together answer alike? Units lie in a grid, in their own order{arranged}. A map \
shows how each answers a class: its mean activation for the class less that for all. Where a \
network was trained with a topographic loss, the cosine of neighbours is well above that of any \
two units, and maps are smooth. In any other network the order of units means nothing, and both \
are the same.

Moran's I says how far neighbouring cells deviate together (0 at random, 1 at most), smoothness \
(1 − Geary's C) how little they differ. Maxima are the places of a map that stand out: the more, \
the more distributed the response.
"""
_READING = (
    " Red: more than on average, blue: less; one range of colours for all. The box is the 3 × 3 "
    "region of highest response."
)


def describe(results: LayerResults) -> Section:
    """The section about one analyzer's results."""
    arrange = next(iter(results.values())).settings["arrange"]
    arranged = "" if arrange == "order" else f", or rather where `{arrange}` puts them"
    names = {
        "neighbour_cosine": "cosine of neighbours",
        "random_cosine": "of any two",
        "mean_moran": "Moran's I",
        "mean_smoothness": "smoothness",
        "mean_maxima": "maxima of a map",
        "trust_cells": "trustworthiness",
    }
    return Section(
        title=results.analyzer.replace("_", " ").capitalize(),
        text=_TEXT.format(arranged=arranged),
        tables=[number_table(results, names)],
        figures=[*_by_layer(results), *_maps(results)],
        analyzers=[results.analyzer],
    )


def _by_layer(results: LayerResults) -> list[Figure]:
    if len(results.layers) < 2:  # noqa: PLR2004 - a line needs two points
        return []
    return [Figure(plot(results), "How alike neighbours are, beside any two units.")]


def _maps(results: LayerResults) -> list[Figure]:
    shown = [each for name in results.groupings for each in _spread(results.grouping(name))]
    readings = [_READING, *[""] * len(shown)]  # how to read them need be said but once
    return [
        Figure(plot(result, view="maps"), _caption(result) + reading)
        for result, reading in zip(shown, readings, strict=False)
    ]


def _spread(results: LayerResults) -> list[Result]:
    """All layers, or some from the first to the last in even steps."""
    each = list(results.values())
    picked = np.unique(np.linspace(0, len(each) - 1, _MOST).round().astype(int))
    return each if len(each) <= _MOST else [each[place] for place in picked]


def _caption(result: Result) -> str:
    by = f" by `{result.grouping}`" if result.grouping else ""
    return f"Maps of `{result.layer}`{by}."
