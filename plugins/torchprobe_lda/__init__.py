"""Linear discriminant analysis and linear probes: how separable classes are, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe import hookimpl
from torchprobe_lda.analyzer import LDA
from torchprobe_lda.comparison import compare
from torchprobe_lda.confusion import draw_confusion
from torchprobe_lda.geometry import expansion
from torchprobe_lda.linear_probe import LinearProbe
from torchprobe_lda.maps import draw_mds, draw_tsne
from torchprobe_lda.plots import (
    areas,
    draw_accuracy,
    draw_areas,
    draw_class_spectra,
    draw_evr,
    draw_expansion,
)
from torchprobe_lda.separability import separable, study

if TYPE_CHECKING:
    from torchprobe import Analyzer, Results
    from torchprobe.plotting import PlotFunction
    from torchprobe.report import Section

__all__ = ["LDA", "LinearProbe", "areas", "compare", "expansion", "separable", "study"]


@hookimpl
def torchprobe_analyzers() -> list[type[Analyzer]]:
    """Offer the analyzers."""
    return [LDA, LinearProbe]


@hookimpl
def torchprobe_plots() -> dict[str, PlotFunction]:
    """Offer the drawings of both, and those of the discriminant spaces."""
    return {
        "lda": draw_accuracy,
        "lda:evr": draw_evr,
        "lda:class_spectra": draw_class_spectra,
        "lda:areas": draw_areas,
        "lda:confusion": draw_confusion,
        "lda:tsne": draw_tsne,
        "lda:mds": draw_mds,
        "lda:expansion": draw_expansion,
        "linear_probe": draw_accuracy,
        "linear_probe:confusion": draw_confusion,
    }


@hookimpl
def torchprobe_report_sections(results: Results) -> list[Section]:
    """Say what the discriminant spaces show; linear probes get a plain section."""
    from torchprobe_lda.section import describe  # torchprobe.report, once it is needed

    return [describe(each) for each in results.values() if each.kind == LDA.name]
