"""Which classes a layer's LDA takes for which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchprobe import plotting
from torchprobe.errors import InsufficientDataError
from torchprobe.plotting.style import MUTED
from torchprobe_lda.accuracies import of_split
from torchprobe_lda.plots import one_grouping
from torchprobe_lda.points import class_indices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from torchprobe import Result
    from torchprobe.results import LayerResults

    Array = NDArray[np.float64]

__all__ = ["draw_confusion"]

_CELL, _LEAST, _MOST = 0.17, 1.6, 9.0  # inches
_NUMBERS = 12  # classes up to which numbers stand in the cells


def draw_confusion(
    results: LayerResults,
    layer: str | None = None,
    grouping: str | None = None,
    split: str | None = None,
    classes: Sequence[str] | None = None,
) -> Figure:
    """Draw what share of each class's rows is taken for each class (Fig. 5D).

    Args:
        results: of `torchprobe_lda.LDA` or `torchprobe_lda.LinearProbe`.
        layer: which; the first by default, which is the model's input where that was probed.
        grouping: which, where there are several.
        split: whose rows; held-out ones by default, those of the fit where there are no others;
            "network" for the network's own predictions, where they are known.
        classes: names of some classes, in the order wanted.

    Raises:
        InsufficientDataError: nothing was counted for that split.
        LayerNotFoundError: no such layer or class.
    """
    results = one_grouping(results, grouping)
    result = results[layer or results.layers[0]]
    name = _field(result, split)
    counts = result[name].values.astype(np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    chosen = class_indices(result, classes)
    names = [result.coords["class"][index] for index in chosen]
    side = float(np.clip(_CELL * len(names), _LEAST, _MOST))
    sheet = plotting.figure(side + 1.6, side + 1.5)
    sheet.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    axes = sheet.add_subplot()
    _draw(axes, shares[np.ix_(chosen, chosen)], names, side)
    told = {"network_confusion": "the network", "confusion_fit": "LDA, rows of the fit"}
    who = told.get(name, "held-out rows")
    right = np.trace(counts) / max(counts.sum(), 1)
    of_all = "of all classes" if classes is not None else ""
    subtitle = f"{who} {of_all}: {right:.1%} right" if of_all else f"{who}: {right:.1%} right"
    plotting.heading(axes, f"Confusions in {result.layer}", subtitle, limit=60)
    return sheet


def _field(result: Result, split: str | None) -> str:
    known = [name for name in result if name.endswith("confusion") or "confusion_" in name]
    if split is None:
        wanted = ["confusion", *known]
    else:
        wanted = ["network_confusion" if split == "network" else of_split("confusion", split)]
    for name in wanted:
        if name in result:
            return name
    raise InsufficientDataError(
        f"layer {result.layer!r} has no confusion matrix of split {split!r}; it has "
        f"{', '.join(known) or 'none'}"
    )


def _draw(axes: Axes, shares: Array, names: Sequence[str], side: float) -> None:
    image = axes.imshow(shares, cmap=plotting.colour_map(symmetric=False), vmin=0, vmax=1)
    size = float(np.clip(side * 72 / len(names) * 0.8, 5, 8.5))
    every = range(len(names))
    axes.set_xticks(every, [plotting.label(n, 12) for n in names], rotation=90, size=size)
    axes.set_yticks(every, [plotting.label(n, 12) for n in names], size=size)
    axes.tick_params(length=0, pad=2)
    axes.set_xlabel("taken for", color=MUTED)
    axes.set_ylabel("class", color=MUTED)
    axes.spines[:].set(visible=True, color="#d1d5db", linewidth=0.6)
    if len(names) <= _NUMBERS:
        for row, column in np.ndindex(*shares.shape):
            share = shares[row, column]
            if share >= 0.005:  # noqa: PLR2004 - what rounds to 1 %
                colour = "white" if share > 0.5 else "black"  # noqa: PLR2004
                axes.text(
                    column, row, f"{share:.0%}", ha="center", va="center", size=7, color=colour
                )
    assert axes.figure is not None
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.6, aspect=18, pad=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2, labelsize=7)
    bar.set_label("share of the class's rows", size=8, color=MUTED)
