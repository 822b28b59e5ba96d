"""What a report says about class selectivity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe.plotting import plot, spread
from torchprobe.report import Figure, Section, number_table

if TYPE_CHECKING:
    from torchprobe import Result
    from torchprobe.results import LayerResults

__all__ = ["describe"]

_MOST = 8  # clustergrams of a grouping; a network of a hundred layers would fill a hundred pages
_SHOWN = 3  # of these, before a reader asks for the others

_TEXT = """\
How does each unit of a layer respond to each class? A unit's class selectivity vector holds its \
mean activation for every class. Units whose vectors rise and fall together (1 − Pearson r at or \
below {cutoff:g}) form a cluster, so that the number of clusters says how many different response \
patterns a layer has. Units with the same mean for every class have no pattern and are left out.
"""
_MORCOS = """

Morcos's index compares the class that excites a unit most with the mean of the other classes: 0 \
where all classes are alike, 1 where only one counts. It is given where the other classes' mean is \
not negative; elsewhere it would have no bounds.
"""

_READING = (
    " Each column is a unit, each row a class; similar ones stand side by side. The tree above "
    "ends at the clusters of units, which the strip under it tells apart."
)


def describe(results: LayerResults) -> Section:
    """The section about one analyzer's results."""
    cutoff = next(iter(results.values())).settings["cutoff"]
    names = {
        "n_clusters": f"clusters at {cutoff:g}",
        "n_dead": "constant units",
        "mean_morcos": "mean Morcos index",
    }
    shown, folded = _clustergrams(results)
    by_name = any("morcos" in result.fields for result in results.values())
    return Section(
        title=results.analyzer.replace("_", " ").capitalize(),
        text=_TEXT.format(cutoff=cutoff) + (_MORCOS if by_name else ""),
        tables=[number_table(results, names)],
        figures=[*_counts(results), *shown],
        more=folded,
        analyzers=[results.analyzer],
    )


def _counts(results: LayerResults) -> list[Figure]:
    if len(results.layers) < 2:  # noqa: PLR2004 - a line needs two points
        return []
    caption = "Clusters of units by layer: how many different response patterns there are."
    return [Figure(plot(results), caption)]


def _clustergrams(results: LayerResults) -> tuple[list[Figure], list[Figure]]:
    """Those of the first, middle and last layer of each grouping, and those between."""
    shown: list[Figure] = []
    folded: list[Figure] = []
    for name in results.groupings:
        each = spread(results.grouping(name).values(), _MOST)
        first = spread(each, _SHOWN)
        for result in first:  # how to read them need be said but once
            shown.append(_clustergram(result, "" if shown else _READING))
        folded += [_clustergram(result) for result in each if result not in first]
    return shown, folded


def _clustergram(result: Result, reading: str = "") -> Figure:
    return Figure(plot(result, view="clustergram"), _caption(result) + reading)


def _caption(result: Result) -> str:
    by = f" by `{result.grouping}`" if result.grouping else ""
    return f"Class means of `{result.layer}`{by}."
