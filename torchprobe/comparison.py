"""Numbers of several models, or of one at several times, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe.errors import LayerNotFoundError, SettingError
from torchprobe.wording import unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from torchprobe.results import LayerResults, Results

__all__ = ["columns", "compare"]

Column = dict[str, float]
"""A number by layer."""


def compare(
    models: Mapping[str, Results],
    analyzer: str,
    names: str | Sequence[str] = (),
    grouping: str | None = None,
) -> pd.DataFrame:
    """Single numbers of several models by layer, as one table.

    Layers are matched by name where the models share names, by depth otherwise; a model with fewer
    layers has gaps.

    Args:
        models: what a model is to be called → its results: ``{"256": ..., "2048": ...}``,
            ``{"trained": ..., "untrained": ...}``.
        analyzer: whose numbers.
        names: which; all there are by default. Those that no model has are left out.
        grouping: which, where there are several.

    Returns:
        A row for each layer; columns are pairs (model, number).

    Raises:
        LayerNotFoundError: a model has no such analyzer or grouping or several of which none was
            named, or no model has such a number.
        SettingError: there is no model.

    Example:
        >>> from torchprobe.results import Field, LayerResults, Result, Results
        >>> def found(*shares):
        ...     each = enumerate(shares)
        ...     return Results({"lda": LayerResults(
        ...         Result("lda", f"h.{i}", fields={"accuracy": Field("", n)}) for i, n in each
        ...     )})
        >>> print(compare({"256": found(0.5, 0.75), "2048": found(0.625, 0.875)}, "lda"))
        model       256     2048
        number accuracy accuracy
        layer
        h.0        0.50    0.625
        h.1        0.75    0.875
    """
    import pandas as pd

    found = columns(models, analyzer, names, grouping)
    deepest = max(found.values(), key=len)
    layers = list(deepest)
    return pd.DataFrame(
        {key: _matched(column, layers) for key, column in found.items()},
        index=pd.Index(layers, name="layer"),
        columns=pd.MultiIndex.from_tuples(list(found), names=["model", "number"]),
    )


def columns(
    models: Mapping[str, Results],
    analyzer: str,
    names: str | Sequence[str] = (),
    grouping: str | None = None,
) -> dict[tuple[str, str], Column]:
    """The same as numbers by layer, by model and name; raises as `compare` does."""
    if not models:
        raise SettingError("there is no model to compare; give results by what they are called")
    layers = {model: _one(results[analyzer], grouping) for model, results in models.items()}
    known = dict.fromkeys(
        name for each in layers.values() for r in each.values() for name in r.scalars()
    )
    wanted = [names] if isinstance(names, str) else list(names) or list(known)
    found = {
        (model, name): _column(each, name) for model, each in layers.items() for name in wanted
    }
    found = {key: column for key, column in found.items() if column}
    if not found:
        raise LayerNotFoundError(unknown("single number", ", ".join(wanted), known))
    return found


def _one(results: LayerResults, grouping: str | None) -> LayerResults:
    if grouping is not None:
        return results.grouping(grouping)
    if len(results.groupings) > 1:
        raise LayerNotFoundError(
            f"{results.analyzer!r} has several groupings; say which of {list(results.groupings)}"
        )
    return results


def _column(results: LayerResults, name: str) -> Column:
    each = {result.layer: result.scalars() for result in results.values()}
    return {layer: scalars[name] for layer, scalars in each.items() if name in scalars}


def _matched(column: Column, layers: Sequence[str]) -> list[float]:
    """A column's numbers in the rows of these layers: by name, or by depth where names differ."""
    nan = float("nan")
    if all(layer in layers for layer in column):
        return [column.get(layer, nan) for layer in layers]
    values = list(column.values())
    return [*values, *[nan] * (len(layers) - len(values))]
