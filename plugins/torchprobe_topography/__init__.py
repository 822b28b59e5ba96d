"""Layers whose units have a place: a loss that arranges them, maps of what they do.

topographic = TopographicLoss("hidden.*")
loss = criterion(model(x), y) + topographic(model)          # in a loop of one's own
attach(topographic, model, optimizer)                       # or without touching the loss
"""

from __future__ import annotations

from torchprobe_topography.attach import Attached, attach
from torchprobe_topography.grid import Grid
from torchprobe_topography.loss import TopographicLoss
from torchprobe_topography.maps import Region, local_maxima, region, smoothed, window_means
from torchprobe_topography.measures import Alikeness, alikeness, morans_i, smoothness
from torchprobe_topography.neighbourhood import Neighbourhood, Pairs
from torchprobe_topography.schedule import Ramp

__all__ = [
    "Alikeness",
    "Attached",
    "Grid",
    "Neighbourhood",
    "Pairs",
    "Ramp",
    "Region",
    "TopographicLoss",
    "alikeness",
    "attach",
    "local_maxima",
    "morans_i",
    "region",
    "smoothed",
    "smoothness",
    "window_means",
]
