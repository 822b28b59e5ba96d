"""Numbers and curves by layer: accuracy, spectra, the areas under them, expansion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from torchprobe import plotting
from torchprobe.errors import InsufficientDataError, SettingError
from torchprobe.numerics import auc, evr_auc, mean_spectrum
from torchprobe_lda.geometry import expansion
from torchprobe_lda.marks import SUBSETS, of_classes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from torchprobe import Result, Results
    from torchprobe.results import LayerResults
    from torchprobe_lda.geometry import Form

__all__ = [
    "areas",
    "draw_accuracy",
    "draw_areas",
    "draw_class_spectra",
    "draw_evr",
    "draw_expansion",
    "expansions",
    "numbers",
    "one_grouping",
]

NAMES = {
    "accuracy": "held-out rows",
    "accuracy_fit": "rows of the fit",
    "network_accuracy": "the network itself",
    "control_accuracy": "labels shuffled",
    "control_accuracy_fit": "labels shuffled, rows of the fit",
}
"""What a line of accuracies is called."""


def draw_accuracy(
    results: LayerResults,
    grouping: str | None = None,
    untrained: Results | LayerResults | None = None,
) -> Figure:
    """Draw accuracy by layer (Table 2), beside that of the control and of an untrained network.

    Args:
        results: of `torchprobe_lda.LDA` or `torchprobe_lda.LinearProbe`.
        grouping: which, where there are several.
        untrained: results of the same analyzer on a network of random weights: what its layers
            tell apart comes from the architecture alone.
    """
    results = one_grouping(results, grouping)
    names = dict.fromkeys(name for each in results.values() for name in each.scalars())
    if "control_accuracy" in names:
        names.pop("control_accuracy_fit", None)
    told = {name: _told(name) for name in sorted(names, key=_place)}
    series = {line: numbers(results, name) for name, line in told.items() if line}
    if untrained is not None:
        other = _same(untrained, results)
        held_out = "accuracy" if "accuracy" in next(iter(other.values())) else "accuracy_fit"
        series[f"untrained, {NAMES[held_out]}"] = numbers(other, held_out)
    kind = {"lda": "LDA", "linear_probe": "Linear probe"}.get(results.kind, results.kind)
    return plotting.by_layer(
        series,
        ylabel="share of rows right",
        title=f"{kind} accuracy",
        subtitle=_by(results),
        from_zero=True,
    )


def draw_evr(results: LayerResults, grouping: str | None = None) -> Figure:
    """Draw the explained variance ratios of each layer, logarithmic (Fig. 3A)."""
    results = one_grouping(results, grouping)
    return plotting.spectra(
        {result.layer: result.evr / result.evr[0] for result in results.values()},
        xlabel="discriminant dimension",
        ylabel="explained variance / the first",
        title="Explained variance ratios of LDA",
        subtitle="flatter: more dimensions tell classes apart",
        logarithmic=True,
    )


def draw_class_spectra(
    results: LayerResults, grouping: str | None = None, centered: bool = False
) -> Figure:
    """Draw how the points of a class spread over dimensions, averaged over classes (Fig. 3B).

    Args:
        results: of `torchprobe_lda.LDA`.
        grouping: which, where there are several.
        centered: the spread about the class's mean alone.
    """
    results = one_grouping(results, grouping)
    name = "class_spectra_centered" if centered else "class_spectra"
    return plotting.spectra(
        {result.layer: _average(_field(result, name)) for result in results.values()},
        xlabel="order of singular value",
        ylabel="singular value / the first",
        title="Spectra of classes",
        subtitle="steeper: fewer dimensions hold the points of a class",
    )


def draw_areas(
    results: LayerResults,
    grouping: str | None = None,
    form: Literal["trapezoid", "mean", "literal"] = "trapezoid",
    root: bool = False,
    centered: bool = False,
    values: int | None = None,
) -> Figure:
    """Draw the areas under both kinds of spectra (Fig. 3C); see `areas` for the options."""
    results = one_grouping(results, grouping)
    found = areas(results, form=form, root=root, centered=centered, values=values)
    return plotting.by_layer_panels(
        {
            "area, explained variance": {"": found["evr"]},
            "area, spectra of classes": {"": found["class"]},
        },
        title="Areas under the spectra",
        subtitle="larger: flatter, so that more dimensions count",
    )


def areas(
    results: LayerResults,
    *,
    form: Literal["trapezoid", "mean", "literal"] = "trapezoid",
    root: bool = False,
    centered: bool = False,
    values: int | None = None,
) -> dict[str, dict[str, float]]:
    """Areas under the explained variance ratios ("evr") and the class spectra ("class"), by layer.

    Args:
        results: of `torchprobe_lda.LDA`, of one grouping.
        form: of Eq. 5, as for `torchprobe.numerics.auc`: "mean" divides by the number of steps,
            "literal" is as printed.
        root: take the square roots of the ratios first, as the paper's axis says "singular value".
        centered: spectra of the classes' spread about their means alone.
        values: how many values of a spectrum count; classes − 1 by default.

    Raises:
        SettingError: an unknown form.

    Source: Nagamine & Mesgarani 2017, Eq. 5 and Fig. 3C.
    """
    name = "class_spectra_centered" if centered else "class_spectra"
    found: dict[str, dict[str, float]] = {"evr": {}, "class": {}}
    for result in results.values():
        d = values or max(len(result.counts) - 1, 2)
        ratios = np.sqrt(result.evr) if root else result.evr
        plain = form == "trapezoid"
        found["evr"][result.layer] = evr_auc(ratios, d) if plain else auc(ratios, d, form)
        average = _average(_field(result, name), d)
        found["class"][result.layer] = auc(average, d, form)
    return found


def draw_expansion(
    results: LayerResults,
    grouping: str | None = None,
    sets: Sequence[Sequence[str]] = (),
    reference: str | None = None,
    form: Form = "mean_of_ratios",
) -> Figure:
    """Draw how much farther apart classes lie than in the reference layer (Fig. 5E and 5F).

    Every class against the one it is taken for most often; for the rows that the reference's LDA
    gets right (separable), and those it gets wrong.

    Args:
        results: of `torchprobe_lda.LDA`.
        grouping: which, where there are several.
        sets: names of classes in sets, whose classes count two by two, in place of all classes.
        reference: the layer whose distances are 1; the first by default.
        form: as for `torchprobe_lda.expansion`.
    """
    results = one_grouping(results, grouping)
    reference = reference or results.layers[0]
    panels: dict[str, Any] = {}
    for classes in sets or (None,):
        told = "all classes" if classes is None else "/" + ", ".join(classes) + "/"
        panels[f"{told}: × distance"] = expansions(results, classes, reference, form)
    return plotting.by_layer_panels(
        panels,
        title="Expansion",
        subtitle=f"distance ÷ that in {reference!r}; {_rows_told(results)}",
        from_zero=True,
    )


def expansions(
    results: LayerResults,
    classes: Sequence[str] | None = None,
    reference: str | None = None,
    form: Form = "mean_of_ratios",
) -> dict[str, dict[str, float]]:
    """Expansion by layer of all rows and of each subset; NaN where a subset has too few rows.

    Raises:
        LayerNotFoundError: no such layer or class.
        InsufficientDataError: as `torchprobe_lda.expansion` of all rows.
    """
    found = {"all rows": expansion(results, classes=classes, reference=reference, form=form)}
    for subset in SUBSETS:
        try:
            found[subset] = expansion(
                results, classes=classes, subset=subset, reference=reference, form=form
            )
        except InsufficientDataError:
            found[subset] = dict.fromkeys(results.layers, float("nan"))
    return found


def _rows_told(results: LayerResults) -> str:
    """Which rows the centroids are of."""
    first = next(iter(results.values()))
    known = "network_accuracy" in first
    which = "all rows" if "subset_centroids" in first else "sampled rows"
    return f"{which} that the network gets right" if known else which


# -- what drawings share


def one_grouping(results: LayerResults, grouping: str | None) -> LayerResults:
    """The results of one grouping.

    Where several are there but a single one is of classes, and the others tell of these whether
    the network is right or what is separable, it is that one.

    Raises:
        SettingError: there are several and none was named.
    """
    if grouping is not None:
        return results.grouping(grouping)
    classes = of_classes(results.groupings) or results.groupings
    if len(classes) > 1:
        raise SettingError(f"say which of the groupings {list(classes)}: grouping=...")
    return results.grouping(classes[0])


def numbers(results: LayerResults, name: str) -> dict[str, float]:
    """A single number by layer, of the layers that have it."""
    return {r.layer: r.scalars()[name] for r in results.values() if name in r.scalars()}


def _told(name: str) -> str:
    """What a line of accuracies is called; "" for other numbers."""
    if name in NAMES or "above" in name or not name.startswith("accuracy_"):
        return NAMES.get(name, "")
    return f"rows of {name.removeprefix('accuracy_')!r}"


def _place(name: str) -> int:
    return list(NAMES).index(name) if name in NAMES else 1


def _same(other: Results | LayerResults, results: LayerResults) -> LayerResults:
    """The results of the same analyzer and grouping in another run."""
    layers: Any = other if hasattr(other, "groupings") else other[results.analyzer]
    grouping = results.groupings[0]
    return one_grouping(layers, grouping if grouping in layers.groupings else None)


def _by(results: LayerResults) -> str:
    result = next(iter(results.values()))
    return f"{len(result.counts):,} classes by {result.grouping!r}" if result.grouping else ""


def _average(spectra: Any, d: int | None = None) -> Any:
    known = spectra[~np.isnan(spectra).any(axis=1)]
    return mean_spectrum(known, d or spectra.shape[1]).values


def _field(result: Result, name: str) -> Any:
    if name not in result:
        raise InsufficientDataError(
            f"layer {result.layer!r} has no {name}: no data of split "
            f"{result.settings['described']!r} was seen, or there are too many classes"
        )
    return result[name].values
