"""Pictures of results.

`plot` draws what an analyzer found in the way its plugin offers; the other functions here are what
plugins draw with, and draw plain arrays as well. Nothing opens a window and nothing imports
matplotlib before the first figure. Figures are returned; a notebook shows them, `save` writes them.
"""

from torchprobe.plotting.clustergram import clustergram
from torchprobe.plotting.curves import drift, over_steps, over_training
from torchprobe.plotting.dendrogram import Tree, draw_tree
from torchprobe.plotting.dispatch import PlotFunction, plot, views
from torchprobe.plotting.gallery import gallery
from torchprobe.plotting.lines import by_layer, by_layer_panels
from torchprobe.plotting.quantities import compare, quantity
from torchprobe.plotting.saving import png, save, svg
from torchprobe.plotting.spectra import depth_colours, spectra
from torchprobe.plotting.spread import spread
from torchprobe.plotting.style import (
    category_colours,
    colour_map,
    context,
    figure,
    heading,
    marks,
    styled,
)
from torchprobe.plotting.text import label

__all__ = [
    "PlotFunction",
    "Tree",
    "by_layer",
    "by_layer_panels",
    "category_colours",
    "clustergram",
    "colour_map",
    "compare",
    "context",
    "depth_colours",
    "draw_tree",
    "drift",
    "figure",
    "gallery",
    "heading",
    "label",
    "marks",
    "over_steps",
    "over_training",
    "plot",
    "png",
    "quantity",
    "save",
    "spectra",
    "spread",
    "styled",
    "svg",
    "views",
]
