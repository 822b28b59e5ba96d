"""Layers whose units have a place: a loss that arranges them, maps of what they do.

topographic = TopographicLoss("hidden.*")
loss = criterion(model(x), y) + topographic(model)          # in a loop of one's own
attach(topographic, model, optimizer)                       # or without touching the loss
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe import hookimpl
from torchprobe_topography.analyzer import Topography, arrangement_of, cells_of, response_maps
from torchprobe_topography.animation import animate
from torchprobe_topography.arrangement import Arrangement, arrange
from torchprobe_topography.attach import Attached, attach
from torchprobe_topography.filter_grid import draw_filters
from torchprobe_topography.filters import Filters, find_filters
from torchprobe_topography.grid import Grid
from torchprobe_topography.inputs import region_inputs
from torchprobe_topography.loss import TopographicLoss
from torchprobe_topography.maps import Region, local_maxima, region, smoothed, window_means
from torchprobe_topography.measures import Alikeness, alikeness, morans_i, smoothness
from torchprobe_topography.neighbourhood import Neighbourhood, Pairs
from torchprobe_topography.plots import (
    draw_alikeness,
    draw_inputs,
    draw_maps,
    draw_scatter,
    draw_stages,
)
from torchprobe_topography.schedule import Ramp
from torchprobe_topography.trainers import lightning_callback, transformers_callback

if TYPE_CHECKING:
    from torchprobe import Analyzer, Results
    from torchprobe.plotting import PlotFunction
    from torchprobe.report import Section

__all__ = [
    "Alikeness",
    "Arrangement",
    "Attached",
    "Filters",
    "Grid",
    "Neighbourhood",
    "Pairs",
    "Ramp",
    "Region",
    "TopographicLoss",
    "Topography",
    "alikeness",
    "animate",
    "arrange",
    "arrangement_of",
    "attach",
    "cells_of",
    "draw_filters",
    "draw_inputs",
    "draw_scatter",
    "find_filters",
    "lightning_callback",
    "local_maxima",
    "morans_i",
    "region",
    "region_inputs",
    "response_maps",
    "smoothed",
    "smoothness",
    "transformers_callback",
    "window_means",
]


@hookimpl
def torchprobe_analyzers() -> list[type[Analyzer]]:
    """Offer topography."""
    return [Topography]


@hookimpl
def torchprobe_plots() -> dict[str, PlotFunction]:
    """Offer how alike neighbours are by layer, the maps of a layer, and how these are made."""
    return {
        "topography": draw_alikeness,
        "topography:maps": draw_maps,
        "topography:stages": draw_stages,
    }


@hookimpl
def torchprobe_report_sections(results: Results) -> list[Section]:
    """Say how far the layers are maps, and show them."""
    from torchprobe_topography.section import describe  # torchprobe.report, once it is needed

    return [describe(each) for each in results.values() if each.kind == Topography.name]
