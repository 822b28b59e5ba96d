"""Sample-dependent linear transforms: the linear function that a network applies to each sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe import hookimpl
from torchprobe_slt.analyzer import SLT
from torchprobe_slt.class_plots import (
    draw_class_spectra,
    draw_complexity,
    draw_pairs,
    draw_templates,
    draw_transform,
)
from torchprobe_slt.classes import SLTClasses
from torchprobe_slt.cluster_plots import draw_cluster_means, draw_clusters, draw_map
from torchprobe_slt.plots import against, draw_against, draw_areas, draw_spectra
from torchprobe_slt.transforms import Transforms, transforms

if TYPE_CHECKING:
    from torchprobe import Analyzer, Results
    from torchprobe.plotting import PlotFunction
    from torchprobe.report import Section

__all__ = ["SLT", "SLTClasses", "Transforms", "against", "draw_against", "transforms"]


@hookimpl
def torchprobe_analyzers() -> list[type[Analyzer]]:
    """Offer the spectra of all transforms, and what is found class by class."""
    return [SLT, SLTClasses]


@hookimpl
def torchprobe_plots() -> dict[str, PlotFunction]:
    """Offer spectra, templates, clusters and maps."""
    return {
        "slt": draw_areas,
        "slt:spectra": draw_spectra,
        "slt_classes": draw_complexity,
        "slt_classes:spectra": draw_class_spectra,
        "slt_classes:transform": draw_transform,
        "slt_classes:templates": draw_templates,
        "slt_classes:pairs": draw_pairs,
        "slt_classes:clusters": draw_clusters,
        "slt_classes:map": draw_map,
        "slt_classes:cluster_means": draw_cluster_means,
    }


@hookimpl
def torchprobe_report_sections(results: Results) -> list[Section]:
    """Say how complex the functions are, and what the output's nodes look for."""
    from torchprobe_slt.section import sections  # torchprobe.report, once it is needed

    return sections(results)
