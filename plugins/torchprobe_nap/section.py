"""What a report says about neuron activation profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe.plotting import plot
from torchprobe.report import Figure, Section, number_table

if TYPE_CHECKING:
    from torchprobe.results import LayerResults

__all__ = ["describe"]

_TEXT = """\
Which groups of inputs look alike to a layer? A group's neuron activation profile is the mean of \
the layer's maps over all inputs of the group, less what all inputs have in common, each neuron's \
values sorted so that the time of a response does not matter. Groups are clustered by the distance \
of their profiles (complete linkage); merges at or below the {percentile:g}th percentile of the \
distances join.

Groups with few members keep what is particular to these and lie far from the others; those with \
fewer than {rare:,} are marked. Distances of layers of different width do not compare.
"""
_MATRICES = (
    "Distances between groups, in the order of the dendrogram; a cluster's groups have one colour "
    "and a frame, groups that stand alone are grey."
)
_NAMES = {
    "n_clusters": "clusters",
    "mean_silhouette": "mean silhouette",
    "size_correlation": "size and distance",
    "n_rare": "rare groups",
    "left_out": "incomplete",
}


def describe(results: LayerResults) -> Section:
    """The section about one analyzer's results."""
    first = next(iter(results.values()))
    settings, title = first.settings, "Neuron activation profiles"
    caption = (
        "Silhouettes are of the clusters at several percentiles, −1..1; “size and distance” is the "
        "rank correlation of a group's size with its mean distance; “incomplete” counts labelled "
        "maps or windows that were left out."
    )
    return Section(
        title=title if results.analyzer == first.kind else f"{title}: {results.analyzer}",
        text=_TEXT.format(percentile=settings["percentile"], rare=settings["rare"]),
        tables=[number_table(results, _NAMES, caption)],
        figures=[*_silhouettes(results), Figure(plot(results), _MATRICES), *_stages(results)],
        analyzers=[results.analyzer],
    )


def _silhouettes(results: LayerResults) -> list[Figure]:
    if len(results.layers) < 2:  # noqa: PLR2004 - a line needs two points
        return []
    caption = "How distinct clusters are, by layer."
    return [Figure(plot(results, view="silhouettes"), caption)]


def _stages(results: LayerResults) -> list[Figure]:
    """How one profile comes about, where maps were kept and have positions."""
    first = next(iter(results.values()))
    if "profile" not in first or len(first.axes("profile")) < 3:  # noqa: PLR2004 - no positions
        return []
    caption = "How the profile of the largest group comes about: neurons × positions."
    return [Figure(plot(results, view="stages"), caption)]
