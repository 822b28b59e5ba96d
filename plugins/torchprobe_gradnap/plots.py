"""How distinct the groups' profiles are, and which are alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe import plotting
from torchprobe.plotting import Tree
from torchprobe_gradnap.choosing import one, titled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from torchprobe.results import LayerResults

__all__ = ["draw_clusters", "draw_silhouettes"]


def draw_silhouettes(results: LayerResults) -> Figure:
    """Draw silhouettes by layer, a line for each threshold and their mean (Fig. 4A).

    Where there are several groupings each has a panel, and a last one compares their means.

    Args:
        results: of gradient-adjusted profiles.
    """
    title, subtitle = (
        "How distinct the groups' profiles are",
        "silhouettes of clusters cut at percentiles of the distances",
    )
    each = {name: results.grouping(name) for name in results.groupings}
    if len(each) == 1:
        return plotting.by_layer(
            {**_by_threshold(results), "mean": _means(results)},
            ylabel="silhouette", title=title, subtitle=subtitle,
        )  # fmt: skip
    panels = {f"silhouette by {name}": _by_threshold(mine) for name, mine in each.items()}
    panels["mean over thresholds"] = {str(name): _means(mine) for name, mine in each.items()}
    sheet = plotting.by_layer_panels(panels, title=title, subtitle=subtitle)
    lows, highs = zip(*(axes.get_ylim() for axes in sheet.axes), strict=True)
    for axes in sheet.axes:
        axes.set_ylim(min(lows), max(highs))
    return sheet


def _by_threshold(results: LayerResults) -> dict[str, dict[str, float]]:
    """Silhouettes of one grouping by percentile and layer."""
    series: dict[str, dict[str, float]] = {}
    for result in results.values():
        for name, score in zip(result.coords["percentile"], result.silhouettes, strict=True):
            series.setdefault(f"{name}th", {})[result.layer] = float(score)
    return series


def _means(results: LayerResults) -> dict[str, float]:
    return {result.layer: result.mean_silhouette for result in results.values()}


def draw_clusters(
    results: LayerResults,
    layer: str | None = None,
    grouping: str | None = None,
    categories: Mapping[str, str] | None = None,
) -> Figure:
    """Draw the distances between profiles with their dendrogram and clusters (Fig. 4B).

    Args:
        results: of gradient-adjusted profiles.
        layer: which; the last by default.
        grouping: which, where there are several.
        categories: group name → category, shown beside the names.
    """
    result = one(results, layer, grouping)
    tree = Tree(result.linkage, result.order)
    n = int(result.n_clusters)
    return plotting.clustergram(
        result.distances,
        rows=tree,
        columns=tree,
        row_names=result.coords["group"],
        clusters=result.cluster,
        categories=categories,
        value_label="distance",
        column_label="groups in the same order",
        height_label="distance",
        title=titled(result),
        subtitle=f"{len(result.counts)} groups, {n} cluster{'s' if n > 1 else ''} at the "
        f"{result.settings['percentile']:g}th percentile",
    )
