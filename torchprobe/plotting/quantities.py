"""One number of a result, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torchprobe.comparison import columns
from torchprobe.errors import LayerNotFoundError
from torchprobe.plotting.lines import by_layer, by_layer_panels
from torchprobe.wording import unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from torchprobe.results import LayerResults, Results

__all__ = ["compare", "quantity"]


def quantity(results: LayerResults, name: str | None = None, **options: Any) -> Figure:
    """Draw a single number of an analyzer's results by layer, a line for each grouping.

    Args:
        results: of one analyzer.
        name: which number; the first there is by default.
        options: of `torchprobe.plotting.by_layer`.

    Raises:
        LayerNotFoundError: no layer has such a number; lists those there are.
    """
    name = name or next(iter(_names(results)), "")
    groups = {str(group or "all rows"): results.grouping(group) for group in results.groupings}
    series = {group: _numbers(part, name) for group, part in groups.items()}
    return by_layer(series, **{"ylabel": _words(name), "title": results.analyzer, **options})


def compare(
    models: Mapping[str, Results],
    analyzer: str,
    name: str | Sequence[str] | None = None,
    grouping: str | None = None,
    **options: Any,
) -> Figure:
    """Draw single numbers by layer for several models, or one model at several times.

    Layers are matched by name where the models share names, by depth otherwise.

    Args:
        models: what the legend is to say → the results of that model.
        analyzer: whose number.
        name: which number; the first there is by default. Several get a panel each; those that no
            model has are left out.
        grouping: which grouping, where there are several.
        options: of `torchprobe.plotting.by_layer`, or `by_layer_panels` where there are several;
            ``told={"name": "what to call it"}`` says more than names do.

    Raises:
        LayerNotFoundError: a model has no such analyzer or grouping or several of which none was
            named, or no model has such a number.
        SettingError: there is no model.

    Example:
        >>> from torchprobe.results import Field, LayerResults, Result, Results
        >>> def found(*counts):
        ...     each = enumerate(counts)
        ...     return Results({"a": LayerResults(
        ...         Result("a", f"h.{i}", fields={"n": Field("", n)}) for i, n in each
        ...     )})
        >>> figure = compare({"256": found(12, 31), "2048": found(20, 57)}, "a", "n")
    """
    told: Mapping[str, str] = options.pop("told", {})
    panels: dict[str, dict[str, dict[str, float]]] = {}
    for (model, number), column in columns(models, analyzer, name or (), grouping).items():
        panels.setdefault(number, {})[model] = column
    if name is None:
        panels = dict([next(iter(panels.items()))])
    said = {told.get(number, _words(number)): series for number, series in panels.items()}
    options = {"title": analyzer, **options}
    if len(said) > 1:
        return by_layer_panels(said, **options)
    ylabel, series = next(iter(said.items()))
    return by_layer(series, **{"ylabel": ylabel, **options})


def _numbers(results: LayerResults, name: str) -> dict[str, float]:
    """A number by layer, of the layers that have it."""
    known = _names(results)
    if name not in known:
        raise LayerNotFoundError(unknown("single number", name, known))
    each = {result.layer: result.scalars() for result in results.values()}
    if len(each) < len(results):
        raise LayerNotFoundError(
            f"{results.analyzer!r} has several groupings; say which of {list(results.groupings)}"
        )
    return {layer: scalars[name] for layer, scalars in each.items() if name in scalars}


def _names(results: LayerResults) -> list[str]:
    return list(dict.fromkeys(name for each in results.values() for name in each.scalars()))


def _words(name: str) -> str:
    return name.replace("_", " ")
