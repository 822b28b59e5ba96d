"""LDA of several networks, or of one before and after training, in one table and one figure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torchprobe as tp
from torchprobe import Field, Results, plotting
from torchprobe.errors import InsufficientDataError
from torchprobe.results import LayerResults
from torchprobe_lda.marks import SUBSETS
from torchprobe_lda.plots import expansions, one_grouping

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.figure import Figure

    from torchprobe import Result

__all__ = ["Comparison", "compare"]

NAMES = {
    "accuracy_fit": "accuracy, rows of the fit",
    "accuracy": "accuracy, held-out rows",
    "evr_auc": "area, explained variance",
    "class_spectrum_auc": "area, spectra of classes",
    "expansion_separable": "expansion, separable rows",
    "expansion_inseparable": "expansion, inseparable rows",
}


class Comparison(NamedTuple):
    """Models side by side."""

    table: pd.DataFrame
    """A row for each layer, columns (model, number): Table 2 of the paper, areas, expansion."""
    figure: Figure
    """A panel for each number, a line for each model."""


def compare(models: Mapping[str, Results], grouping: str | None = None) -> Comparison:
    """Accuracies, areas under the spectra and expansion of several models, by layer.

    Expansion is that of every class against the one it is taken for most often, in relation to the
    first layer of the same model; it is left out where the results do not tell.

    Args:
        models: what a model is to be called → its results, e.g. ``{"256": ..., "2048": ...}`` or
            ``{"trained": ..., "untrained": ...}``; layers are matched by name where models share
            names, by depth otherwise.
        grouping: which, where there are several.

    Raises:
        LayerNotFoundError: a model has no results of "lda", or no such grouping.
        SettingError: there is no model, or there are several groupings of which none was named.

    Source: Nagamine & Mesgarani 2017, Table 2, Fig. 3C and 5F.
    """
    names = list(NAMES)
    whole = {model: _with_expansion(results, grouping) for model, results in models.items()}
    table = tp.compare(whole, "lda", names, grouping)
    figure = plotting.compare(
        whole, "lda", names, grouping, told=NAMES, title="LDA of several models"
    )
    return Comparison(table, figure)


def _with_expansion(results: Results, grouping: str | None) -> Results:
    """Results of which each layer knows how much farther apart it holds classes than the first."""
    layers = one_grouping(results["lda"], grouping)
    try:
        found = expansions(layers)
    except InsufficientDataError:  # no points, or nothing is mistaken: no such columns
        return Results({"lda": layers})
    return Results({"lda": LayerResults(_expanded(result, found) for result in layers.values())})


def _expanded(result: Result, found: Mapping[str, Mapping[str, float]]) -> Result:
    own = {subset: Field("", found[subset][result.layer]) for subset in SUBSETS}
    added = {f"expansion_{subset}": field for subset, field in own.items()}
    known = {name: field for name, field in added.items() if not math.isnan(field.item)}
    return replace(result, fields={**result.fields, **known})
