"""What a report says about transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe.errors import InsufficientDataError, LayerNotFoundError, NothingToDrawError
from torchprobe.plotting import plot
from torchprobe.report import Figure, Section, number_table
from torchprobe_slt.plots import draw_against

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torchprobe import Results
    from torchprobe.results import LayerResults

__all__ = ["sections"]

_SPECTRA = """\
Around each sample a network is a linear function of its input; a network of rectifiers is exactly \
one within the region that the sample lies in. How many different functions does a node apply to \
different samples? Its functions over all samples are the rows of a matrix; if they were one \
function, scaled, the matrix would have one singular value above 0. The area under the normalised \
singular values, 0.5 for one function, says how many there are. In a first layer every node \
applies the same function wherever it is active.
"""
_CLASSES = """\
What does a network do to the points of one class? The spectrum of all functions that a layer \
applies to them says how many it uses. Points that linear discriminants on the input already get \
right (COR) are set beside those that they get wrong (INC), as many of each, all of them right for \
the network: where ΔAUC is above 0, the network needs more functions for what the input does not \
tell. At the output, the function of a class's node is what the network looks for in the input.
"""
_NAMES = {"mean_node_auc": "area by node", "mean_input_auc": "area by input"}
_CLASS_NAMES = {
    "class_spectrum_auc": "area by class",
    "cor_auc": "area, COR",
    "inc_auc": "area, INC",
    "delta_auc": "ΔAUC",
}
_VIEWS = {
    "spectra": "The spectrum of a class's transforms, averaged over classes.",
    "templates": (
        "What points of a class are like, and below what their output node looks for; each picture "
        "has colours of its own."
    ),
    "pairs": "Mean transforms of output nodes over points of classes that are much alike.",
    "clusters": "Transforms of one class's points; each row is a point, lines part the clusters.",
    "map": "The same points, by the distances of their transforms.",
    "cluster_means": "The clusters' mean features, and below their mean transforms.",
}
_FIRST = ("templates", "cluster_means")
"""Views that are not folded away."""


def sections(results: Results) -> list[Section]:
    """The sections about all results of this plugin."""
    found = []
    for each in results.values():
        if each.kind == "slt":
            found.append(_spectra(each))
        elif each.kind == "slt_classes":
            found.append(_classes(each, results))
    return found


def _spectra(results: LayerResults) -> Section:
    figures = [Figure(plot(results), "Mean areas by layer.")] if len(results.layers) > 1 else []
    figures += _drawn(results, {"spectra": _READING})
    return Section(
        title="Sample-dependent transforms",
        text=_SPECTRA,
        tables=[number_table(results, _NAMES)],
        figures=figures,
        analyzers=[results.analyzer],
    )


_READING = (
    "Left: the average spectrum, first layers light, last ones dark; right: how the areas of "
    "single nodes and inputs are spread. Node spectra of rank one are left out."
)


def _classes(results: LayerResults, every: Results) -> Section:
    figures = [Figure(plot(results), "Areas and their difference by layer.")]
    shown = {view: _VIEWS[view] for view in _FIRST}
    others = {view: caption for view, caption in _VIEWS.items() if view not in _FIRST}
    return Section(
        title="Transforms of classes",
        text=_CLASSES,
        tables=[number_table(results, _CLASS_NAMES)],
        figures=[*figures, *_compared(every), *_drawn(results, shown)],
        more=list(_drawn(results, others)),
        analyzers=[results.analyzer],
    )


def _drawn(results: LayerResults, views: dict[str, str]) -> Iterator[Figure]:
    """The drawings for which there is enough; what is missing a note of the results says."""
    for view, caption in views.items():
        try:
            yield Figure(plot(results, view=view), caption)
        except (InsufficientDataError, NothingToDrawError):
            continue


def _compared(every: Results) -> Iterator[Figure]:
    try:
        yield Figure(
            draw_against(every),
            "Class-wise spectra of activations (across) and of transforms (upwards), by layer.",
        )
    except LayerNotFoundError:
        return
