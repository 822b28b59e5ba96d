"""What a report says about gradient-adjusted profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe.plotting import plot
from torchprobe.report import Figure, Section, number_table
from torchprobe_gradnap.choosing import over_time

if TYPE_CHECKING:
    from torchprobe import Result
    from torchprobe.results import LayerResults

__all__ = ["describe"]

_TEXT = """\
What does a layer do for one group of inputs that it does not do for all, and where does it matter \
for the prediction? Every example is moved so that its moment of greatest importance stands in the \
middle. The gradient-adjusted profile (GradNAP) of a group is the mean of its aligned activations, \
less the mean over all data, times a mask, 0 to 1, of how large the mean gradients are.

Values near 0 away from the middle mean that the model does not use what lies there: its receptive \
field is larger than it needs. Silhouettes, −1 to 1, say how distinct clusters of groups with \
similar profiles are; compare them across layers of the same width only.
"""


def describe(results: LayerResults) -> Section:
    """The section about one analyzer's results."""
    names = {
        "mean_silhouette": "mean silhouette",
        "n_clusters": "clusters",
        "n_undefined": "undefined silhouettes",
    }
    return Section(
        title=_title(results),
        text=_TEXT,
        tables=[number_table(results, names)],
        figures=[*_silhouettes(results), *_images(results), *_neurons(results)],
        analyzers=[results.analyzer],
    )


def _title(results: LayerResults) -> str:
    by = "Saliency" if results.kind == "saliency_profiles" else "Gradient"
    title = f"{by}-adjusted activation profiles"
    return title if results.analyzer == results.kind else f"{title}: {results.analyzer}"


def _silhouettes(results: LayerResults) -> list[Figure]:
    if len(results.layers) < 2:  # noqa: PLR2004 - a line needs two points
        return []
    return [Figure(plot(results), "Silhouettes of the groups' profiles by layer.")]


def _images(results: LayerResults) -> list[Figure]:
    shown = [each for each in results.values() if each.layer == "input" and _drawable(each)]
    caption = (
        "Profiles of the input, of the largest groups{by}: red where there is more than in all "
        "data, blue where less, pale where it does not matter. The dashed line is the time of "
        "alignment. Where there is a row above it shows them before masking (NAvAI)."
    )
    return [Figure(plot(each, view="images"), caption.format(by=_by(each))) for each in shown]


def _neurons(results: LayerResults) -> list[Figure]:
    """Lines and clusters of the last hidden layer with positions, for each grouping."""
    figures = []
    for grouping in results.groupings:
        mine = results.grouping(grouping)
        hidden = [each for each in mine.values() if each.layer != "input"]
        timed = [each for each in hidden if over_time(each)]
        if timed:
            caption = (
                f"Every neuron of `{timed[-1].layer}` over aligned time{_by(timed[-1])}, the five "
                "most responsive coloured: how far from the middle lines leave 0 is how much "
                "context the layer uses."
            )
            figures.append(Figure(plot(timed[-1], view="neurons"), caption))
        compared = [each for each in hidden if len(each.counts) > 1]
        if compared:
            caption = f"Distances between profiles in `{compared[-1].layer}`{_by(compared[-1])}."
            figures.append(Figure(plot(compared[-1], view="clusters"), caption))
    return figures


def _by(result: Result) -> str:
    return f" by `{result.grouping}`" if result.grouping else ""


def _drawable(result: Result) -> bool:
    return result.gradnap.ndim in (3, 4)
