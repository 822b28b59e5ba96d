"""Class selectivity vectors: which classes each unit of a layer responds to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe import hookimpl
from torchprobe_selectivity.analyzer import ClassSelectivity
from torchprobe_selectivity.plots import draw_clustergram, draw_counts

if TYPE_CHECKING:
    from torchprobe import Analyzer, Results
    from torchprobe.plotting import PlotFunction
    from torchprobe.report import Section

__all__ = ["ClassSelectivity"]


@hookimpl
def torchprobe_analyzers() -> list[type[Analyzer]]:
    """Offer class selectivity."""
    return [ClassSelectivity]


@hookimpl
def torchprobe_plots() -> dict[str, PlotFunction]:
    """Offer the clustergram of a layer and the number of clusters by layer."""
    return {
        "class_selectivity": draw_counts,
        "class_selectivity:clustergram": draw_clustergram,
    }


@hookimpl
def torchprobe_report_sections(results: Results) -> list[Section]:
    """Say what class selectivity found."""
    from torchprobe_selectivity.section import describe  # torchprobe.report, once it is needed

    return [describe(each) for each in results.values() if each.kind == ClassSelectivity.name]
