"""What a report says about linear discriminant analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe.errors import TorchprobeError
from torchprobe.plotting import plot
from torchprobe.report import Figure, Section, number_table
from torchprobe_lda.marks import of_classes

if TYPE_CHECKING:
    from torchprobe.results import LayerResults

__all__ = ["describe"]

_TEXT = """\
How separable are the classes in each layer? Linear discriminant analysis looks for the directions \
along which classes lie farthest apart, measured by how far the rows of a class spread, and takes \
each row for the class whose mean is nearest. What it gets right on rows that it was not fitted to \
says how much of the classes a layer makes linearly accessible; shuffled labels show what such a \
probe gets right by chance.

The further dimensions count, the flatter the spectrum of explained variance, and the larger the \
area under it. In contrast, the spectra of single classes fall the faster the less the rows of one \
class differ: deep layers of trained networks tend to show both.
"""
_EXPANSION = """

How do layers stretch space? Of each two classes that are often mistaken for one another, the \
distance of their centroids is divided by that in the first layer: for the rows that the first \
layer's LDA gets right (separable), and for those it gets wrong.
"""
_NAMES = {
    "accuracy_fit": "accuracy, fit",
    "accuracy": "accuracy, held out",
    "control_accuracy": "labels shuffled",
    "network_accuracy": "the network",
    "evr_auc": "area, explained variance",
    "class_spectrum_auc": "area, classes",
    "rank": "directions",
}
_CAPTIONS = {
    "": "Share of rows predicted right, by layer.",
    "evr": "Explained variance of each discriminant dimension, divided by that of the first.",
    "class_spectra": "Singular values of the points of one class, divided by the first, averaged.",
    "areas": "Areas under both kinds of spectra.",
    "confusion": "Rows: what share of a class is taken for which, in the first layer.",
    "tsne": "Points of the discriminant space by t-SNE. A bubble is a group of neighbours of one "
    "class, its area their number.",
    "mds": "Three classes that the first layer confuses, by multidimensional scaling, all panels "
    "to one scale; letters stand at the centroids. Last, the triangles of the true distances.",
    "expansion": "Distance of often confused classes, as a multiple of that in the first layer.",
}
_VIEWS = {"": "accuracy", "class_spectra": "spectra of classes", "tsne": "t-SNE", "mds": "MDS"}
_OF_DEPTH = {"", "areas", "expansion"}
"""Drawings that need more than one layer."""


def describe(results: LayerResults) -> Section:
    """The section about one analyzer's results."""
    figures: dict[str, list[Figure]] = {}
    missing: dict[str, str] = {}
    for grouping in of_classes(results.groupings) or results.groupings:
        _draw(results.grouping(grouping), figures, missing)
    text = _TEXT + (_EXPANSION if "expansion" in figures else "")
    return Section(
        title="Linear discriminant analysis",
        text=text + "".join(f"\n\nNot drawn: {view}: {why}." for view, why in missing.items()),
        tables=[number_table(results, _NAMES, "Shares of rows predicted right; spectra.")],
        figures=[figure for each in figures.values() for figure in each],
        analyzers=[results.analyzer],
    )


def _draw(results: LayerResults, figures: dict[str, list[Figure]], missing: dict[str, str]) -> None:
    """Draw all there is of one grouping, by view; what is not there is told."""
    by = f" Classes: `{results.groupings[0]}`." if results.groupings[0] else ""
    for view, caption in _CAPTIONS.items():
        if len(results.layers) == 1 and view in _OF_DEPTH:
            continue
        try:
            figures.setdefault(view, []).append(Figure(plot(results, view=view), caption + by))
        except TorchprobeError as error:
            missing[_VIEWS.get(view, view)] = str(error)
