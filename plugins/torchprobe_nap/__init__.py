"""Neuron activation profiles: how a layer responds to groups of inputs, and which look alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe import hookimpl
from torchprobe_nap.analyzer import NeuronActivationProfiles
from torchprobe_nap.matrices import draw_clusters
from torchprobe_nap.plots import draw_profiles, draw_silhouettes, draw_stages

if TYPE_CHECKING:
    from torchprobe import Analyzer, Results
    from torchprobe.plotting import PlotFunction
    from torchprobe.report import Section

__all__ = ["NeuronActivationProfiles"]


@hookimpl
def torchprobe_analyzers() -> list[type[Analyzer]]:
    """Offer neuron activation profiles."""
    return [NeuronActivationProfiles]


@hookimpl
def torchprobe_plots() -> dict[str, PlotFunction]:
    """Offer distance matrices, silhouettes by layer, the stages of a profile, and profiles."""
    return {
        "nap": draw_clusters,
        "nap:silhouettes": draw_silhouettes,
        "nap:stages": draw_stages,
        "nap:profiles": draw_profiles,
    }


@hookimpl
def torchprobe_report_sections(results: Results) -> list[Section]:
    """Say what neuron activation profiles found."""
    from torchprobe_nap.section import describe  # torchprobe.report, once it is needed

    kind = NeuronActivationProfiles.name
    return [describe(each) for each in results.values() if each.kind == kind]
