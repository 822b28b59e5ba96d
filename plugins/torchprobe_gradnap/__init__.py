"""GradNAP: what a layer's neurons do that is particular to a group and matters to the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe import hookimpl
from torchprobe_gradnap.analyzer import GradNAP
from torchprobe_gradnap.images import draw_images, draw_stages
from torchprobe_gradnap.plots import draw_clusters, draw_silhouettes
from torchprobe_gradnap.potentials import draw_neurons
from torchprobe_gradnap.saliency import SaliencyProfiles

if TYPE_CHECKING:
    from torchprobe import Analyzer, Results
    from torchprobe.plotting import PlotFunction
    from torchprobe.report import Section

__all__ = ["GradNAP", "SaliencyProfiles"]


@hookimpl
def torchprobe_analyzers() -> list[type[Analyzer]]:
    """Offer gradient-adjusted profiles, and profiles adjusted by captum's attributions."""
    return [GradNAP, SaliencyProfiles]


@hookimpl
def torchprobe_plots() -> dict[str, PlotFunction]:
    """Offer silhouettes by layer, images, lines, clusters, and how a profile is made."""
    return {
        "gradnap": draw_silhouettes,
        "gradnap:images": draw_images,
        "gradnap:neurons": draw_neurons,
        "gradnap:clusters": draw_clusters,
        "gradnap:stages": draw_stages,
    }


@hookimpl
def torchprobe_report_sections(results: Results) -> list[Section]:
    """Say what the profiles show."""
    from torchprobe_gradnap.section import describe  # torchprobe.report, once it is needed

    return [describe(each) for each in results.values() if each.kind == GradNAP.name]
