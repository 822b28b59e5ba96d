"""From results to the drawing that a plugin offers for them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeAlias

from torchprobe.errors import SettingError
from torchprobe.plotting.quantities import quantity
from torchprobe.plotting.style import context
from torchprobe.plugins import plugins
from torchprobe.results import LayerResults, Result, Results
from torchprobe.wording import unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

__all__ = ["PlotFunction", "plot", "views"]

PlotFunction: TypeAlias = "Callable[..., Figure]"
"""Draws the `LayerResults` of one analyzer, its first argument; the others are options by keyword.

It is called in torchprobe's style and returns a figure of `torchprobe.plotting.figure`.
"""

NUMBERS = "numbers"
"""The view that every kind of result has: a single number by layer."""


def plot(
    results: Results | LayerResults | Result,
    analyzer: str | None = None,
    *,
    view: str = "",
    **options: Any,
) -> Figure:
    """Draw what an analyzer found, in the way its plugin offers.

    Args:
        results: of a probe, of one analyzer, or of one layer.
        analyzer: whose results; need not be said where there is but one.
        view: which drawing, where a plugin offers several; `views` lists them. "numbers" draws a
            single number by layer, of any analyzer: ``view="numbers", name="accuracy"``.
        options: those of that drawing.

    Raises:
        LayerNotFoundError: no such analyzer.
        SettingError: no such view or option; says which there are.

    Example:
        >>> from torchprobe.results import Field
        >>> results = [Result("a", f"hidden.{n}", fields={"size": Field("", n)}) for n in (1, 2)]
        >>> figure = plot(LayerResults(results))
        >>> figure.axes[0].get_ylabel()
        'size'
    """
    layers = _layers(results, analyzer)
    offered = _offered(layers.kind)
    if view not in offered:
        raise SettingError(unknown(f"view of {layers.kind!r}", view, offered))
    draw = offered[view]
    try:
        inspect.signature(draw).bind(layers, **options)
    except TypeError as error:
        options_there = ", ".join(list(inspect.signature(draw).parameters)[1:]) or "none"
        raise SettingError(f"{error}; options of this drawing: {options_there}") from error
    with context():
        return draw(layers, **options)


def views(kind: str) -> tuple[str, ...]:
    """The drawings there are for a kind of results; "" is the one that `plot` makes unasked.

    Example:
        >>> views("of an analyzer without a plot")
        ('', 'numbers')
    """
    return tuple(_offered(kind))


def _offered(kind: str) -> dict[str, PlotFunction]:
    """Drawings by view: those that plugins registered as "kind" or "kind:view"."""
    found = {}
    for name, draw in plugins().plots().items():
        base, _, view = name.partition(":")
        if base == kind:
            found[view] = draw
    return {"": quantity, NUMBERS: quantity, **found}


def _layers(results: Results | LayerResults | Result, analyzer: str | None) -> LayerResults:
    if isinstance(results, Result):
        return LayerResults([results])
    if isinstance(results, LayerResults):
        return results
    if analyzer is not None:
        return results[analyzer]
    if len(results) != 1:
        raise SettingError(f"say whose results to draw: one of {', '.join(map(repr, results))}")
    return next(iter(results.values()))
