"""LDA of several networks, or of one before and after training, in one table and one figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torchprobe as tp
from torchprobe import plotting

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.figure import Figure

    from torchprobe import Results

__all__ = ["Comparison", "compare"]

NAMES = {
    "accuracy_fit": "accuracy, rows of the fit",
    "accuracy": "accuracy, held-out rows",
    "evr_auc": "area, explained variance",
    "class_spectrum_auc": "area, spectra of classes",
}


class Comparison(NamedTuple):
    """Models side by side."""

    table: pd.DataFrame
    """A row for each layer, columns (model, number): Table 2 of the paper, and the areas."""
    figure: Figure
    """A panel for each number, a line for each model."""


def compare(models: Mapping[str, Results], grouping: str | None = None) -> Comparison:
    """Accuracies and areas under the spectra of several models, by layer (Table 2, Fig. 3C).

    Args:
        models: what a model is to be called → its results, e.g. ``{"256": ..., "2048": ...}`` or
            ``{"trained": ..., "untrained": ...}``; layers are matched by name where models share
            names, by depth otherwise.
        grouping: which, where there are several.

    Raises:
        LayerNotFoundError: a model has no results of "lda", no such grouping, or several of which
            none was named.
        SettingError: there is no model.

    Source: Nagamine & Mesgarani 2017, Table 2 and Fig. 3C.
    """
    names = list(NAMES)
    table = tp.compare(models, "lda", names, grouping)
    figure = plotting.compare(
        models, "lda", names, grouping, told=NAMES, title="LDA of several models"
    )
    return Comparison(table, figure)
