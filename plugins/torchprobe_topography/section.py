"""What a report says about topography."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe.plotting import plot, spread
from torchprobe.report import Figure, Section, number_table

if TYPE_CHECKING:
    from torchprobe import Result
    from torchprobe.results import LayerResults

__all__ = ["describe"]

_MOST = 5  # layers of a grouping whose maps are drawn
_SHOWN = 3  # of these, before a reader asks for the others

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
    shown, folded = _maps(results)
    return Section(
        title=results.analyzer.replace("_", " ").capitalize(),
        text=_TEXT.format(arranged=arranged),
        tables=[number_table(results, names)],
        figures=[*_by_layer(results), *shown],
        more=folded,
        analyzers=[results.analyzer],
    )


def _by_layer(results: LayerResults) -> list[Figure]:
    if len(results.layers) < 2:  # noqa: PLR2004 - a line needs two points
        return []
    return [Figure(plot(results), "How alike neighbours are, beside any two units.")]


def _maps(results: LayerResults) -> tuple[list[Figure], list[Figure]]:
    """Those of the first, middle and last layer of each grouping, and those between."""
    shown: list[Figure] = []
    folded: list[Figure] = []
    for name in results.groupings:
        each = spread(results.grouping(name).values(), _MOST)
        ends = spread(each, _SHOWN)
        for result in ends:  # how to read them need be said but once
            shown.append(_map(result, "" if shown else _READING))
        folded += [_map(result) for result in each if result not in ends]
    return shown, folded


def _map(result: Result, reading: str = "") -> Figure:
    # cell by cell: interpolated maps of forty classes are files of megabytes
    return Figure(plot(result, view="maps", kind="smoothed"), _caption(result) + reading)


def _caption(result: Result) -> str:
    by = f" by `{result.grouping}`" if result.grouping else ""
    return f"Maps of `{result.layer}`{by}."
