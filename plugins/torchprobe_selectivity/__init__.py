"""Class selectivity vectors: which classes each unit of a layer responds to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe import hookimpl
from torchprobe_selectivity.analyzer import ClassSelectivity
from torchprobe_selectivity.plots import draw_clustergram, draw_counts

if TYPE_CHECKING:
    from torchprobe import Analyzer
    from torchprobe.plotting import PlotFunction

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
