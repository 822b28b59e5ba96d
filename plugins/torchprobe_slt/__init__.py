"""The linear function that a network applies to each sample: sample-dependent linear transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe import hookimpl
from torchprobe_slt.classes import SltClasses
from torchprobe_slt.collect import jacobians
from torchprobe_slt.difficulty import SltDifficulty
from torchprobe_slt.jacobian import Jacobian, Jacobians
from torchprobe_slt.spectra import SltSpectra
from torchprobe_slt.sweep import Sweep
from torchprobe_slt.templates import SltTemplates
from torchprobe_slt.windows import Window

if TYPE_CHECKING:
    from torchprobe import Analyzer, Results
    from torchprobe.plotting import PlotFunction
    from torchprobe.report import Section

__all__ = [
    "Jacobian",
    "Jacobians",
    "SltClasses",
    "SltDifficulty",
    "SltSpectra",
    "SltTemplates",
    "Sweep",
    "Window",
    "jacobians",
]


@hookimpl
def torchprobe_analyzers() -> list[type[Analyzer]]:
    """Offer the analyzers of SLTs."""
    return [SltSpectra, SltDifficulty, SltClasses, SltTemplates]


@hookimpl
def torchprobe_plots() -> dict[str, PlotFunction]:
    """Offer spectra, differences, the relation to activations, templates and clusters."""
    from torchprobe_slt import plots, template_plots  # torchprobe.plotting, once it is needed

    return {
        "slt": plots.draw_areas,
        "slt:spectra": plots.draw_spectra,
        "slt_difficulty": plots.draw_differences,
        "slt_classes": plots.draw_classes,
        "slt_templates": template_plots.draw_templates,
        "slt_templates:clusters": template_plots.draw_clusters,
        "slt_templates:slts": template_plots.draw_slts,
        "slt_templates:points": template_plots.draw_points,
        "slt_templates:pairs": template_plots.draw_pairs,
    }


@hookimpl
def torchprobe_report_sections(results: Results) -> list[Section]:
    """Say what the SLTs show."""
    from torchprobe_slt.section import sections  # torchprobe.report, once it is needed

    return sections(results)
