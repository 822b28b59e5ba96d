"""What a report says about SLTs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe.plotting import plot
from torchprobe.report import Figure, Section, number_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from torchprobe import Results
    from torchprobe.results import LayerResults

__all__ = ["sections"]

_SLT = """\
Around each sample a network of rectified units is a linear function of its input: the \
sample-dependent linear transform (SLT). How many different functions does a node apply? The \
singular values of its SLTs tell: if all samples get one and the same function, only the first is \
not 0 (area 0.5); the flatter the spectrum and the larger the area under it, the more functions.
"""
_DIFFICULTY = """\
Do samples that are hard to classify get more functions than easy ones? Linear discriminant \
analysis of the input parts the samples: *separable* ones it gets right, *inseparable* ones it \
gets wrong. A positive difference of areas under the spectra means more functions for the latter.
"""
_CLASSES = """\
Within one class, how diverse are a whole layer's functions, and how diverse its activations? \
Where the first grow with depth while the second fall, the network makes the samples of a class \
alike by treating them differently.
"""
_TEMPLATES = """\
What does the network look for in each class? The mean SLT of the class's own output node over the \
samples nearest to its centroid is a template; clusters of its SLTs are the variants of the class \
that the network has learned. Only samples that it classifies correctly are taken{where}.
"""


def sections(results: Results) -> list[Section]:
    """A section for each of the SLT analyzers that has results."""
    writers: dict[str, Callable[[LayerResults], Section]] = {
        "slt": _spectra,
        "slt_difficulty": _difficulty,
        "slt_classes": _classes,
        "slt_templates": _templates,
    }
    return [writers[each.kind](each) for each in results.values() if each.kind in writers]


def _spectra(results: LayerResults) -> Section:
    names = {
        "mean_node_auc": "area, nodes",
        "mean_input_auc": "area, inputs",
        "linear_nodes": "linear nodes",
        "zero_nodes": "nodes always 0",
        "samples": "samples",
    }
    figures = [
        Figure(plot(results), "Area under spectra of SLTs by layer. Linear layers are left out."),
        Figure(
            plot(results, view="spectra"),
            "Mean spectra (above) and how their areas are distributed (below), over the SLTs of "
            "each node and over the effects of each input. Darker is deeper.",
        ),
    ]
    return _section("Linear functions", _SLT, results, names, figures)


def _difficulty(results: LayerResults) -> Section:
    names = {"node_delta_auc": "ΔAUC, nodes", "input_delta_auc": "ΔAUC, inputs"}
    figure = Figure(plot(results), "Area for inseparable samples minus area for separable ones.")
    return _section("Functions of difficult samples", _DIFFICULTY, results, names, [figure])


def _classes(results: LayerResults) -> Section:
    names = {"auc": "area, SLTs", "activation_auc": "area, activations"}
    figure = Figure(
        plot(results),
        "Each point is a layer: area under class-wise spectra of its activations against that of "
        "the SLTs of all its nodes.",
    )
    return _section("Functions within classes", _CLASSES, results, names, [figure])


def _templates(results: LayerResults) -> Section:
    views = {
        "": "Mean features over the mean SLT, class by class.",
        "clusters": "Clusters of the SLTs of one class, the one with the most even clusters.",
        "slts": "The SLTs that were clustered, one a column; dashed lines part the clusters.",
        "points": "The same, each SLT a point: the nearer, the more alike.",
        "pairs": "The two classes with the most similar functions: what the node of each looks "
        "for in samples of either.",
    }
    grouping = results.groupings[0] if len(results.groupings) > 1 else None
    figures = [
        Figure(plot(results, view=view, grouping=grouping), caption)
        for view, caption in views.items()
    ]
    where = f", by `{grouping}`" if grouping else ""
    text = _TEMPLATES.format(where=where)
    return _section("Templates", text, results, {"samples": "samples"}, figures)


def _section(
    title: str, text: str, results: LayerResults, names: dict[str, str], figures: list[Figure]
) -> Section:
    table = number_table(results, names)
    return Section(
        title=title, text=text, tables=[table], figures=figures, analyzers=[results.analyzer]
    )
