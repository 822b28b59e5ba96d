"""Clustergrams of class selectivity and the number of clusters by layer (NM17, Fig. 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchprobe import plotting
from torchprobe.plotting import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from torchprobe import Result
    from torchprobe.results import LayerResults

__all__ = ["draw_clustergram", "draw_counts", "subtitle"]


def draw_counts(results: LayerResults, name: str = "n_clusters") -> Figure:
    """Draw the number of clusters of units by layer, a line for each grouping (Fig. 2D).

    Args:
        results: of class selectivity.
        name: another of the single numbers: "n_dead", "mean_morcos".
    """
    cutoff = next(iter(results.values())).settings["cutoff"]
    named = {
        "n_clusters": ("clusters of units", f"clusters of class selectivity at 1 − r ≤ {cutoff:g}"),
        "n_dead": ("units", "units with the same mean for every class"),
        "mean_morcos": ("mean index", "Morcos's class selectivity index, 0..1"),
    }
    ylabel, subtitle = named.get(name, (name, ""))
    return plotting.quantity(
        results, name, ylabel=ylabel, title="Class selectivity", subtitle=subtitle, from_zero=True
    )


def draw_clustergram(
    results: LayerResults,
    layer: str | None = None,
    grouping: str | None = None,
    categories: Mapping[str, str] | None = None,
) -> Figure:
    """Draw a layer's class means, classes × units, with both dendrograms (Fig. 2A–C).

    The dendrogram of the units is truncated at the cutoff, so that its ends are the clusters; the
    strip under it shows where they begin and end. Colours saturate at the 99.5th percentile.

    Args:
        results: of class selectivity.
        layer: which; the last by default.
        grouping: which, where there are several.
        categories: class name → category, shown beside the names and explained in a legend.

    Raises:
        LayerNotFoundError: no such layer or grouping, or several groupings and none was named.
    """
    result = _one(results, layer, grouping)
    units = len(result.node_order)
    return plotting.clustergram(
        result.csv,
        rows=_tree(result, "class"),
        columns=_tree(result, "node"),
        row_names=result.coords["class"],
        cutoff=result.settings["cutoff"],
        clusters=result.node_cluster,
        categories=categories,
        value_label="mean activation",
        column_label=f"{units:,} unit{'' if units == 1 else 's'}, similar ones side by side",
        height_label="1 − r",
        title=result.layer,
        subtitle=subtitle(result),
    )


def subtitle(result: Result) -> str:
    """What a clustergram shows, in one line."""
    classes, units = result.csv.shape
    parts = [f"{classes:,} classes × {units:,} units"]
    if not np.isnan(result.n_clusters):
        plural = "" if result.n_clusters == 1 else "s"
        cutoff = result.settings["cutoff"]
        parts.append(f"{result.n_clusters:,.0f} cluster{plural} at 1 − r ≤ {cutoff:g}")
    if result.n_dead > 0:
        parts.append(f"{result.n_dead:,.0f} constant, left out")
    return " · ".join(parts)


def _one(results: LayerResults, layer: str | None, grouping: str | None) -> Result:
    if grouping is not None:
        results = results.grouping(grouping)
    return results[layer or results.layers[-1]]


def _tree(result: Result, name: str) -> Tree | None:
    """A dendrogram of the result; None, for all as they stand, where nothing could be compared."""
    order = result[f"{name}_order"].values
    return Tree(result[f"{name}_linkage"].values, order) if len(order) else None
