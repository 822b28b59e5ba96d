"""A number by layer, for one model or several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe.errors import InsufficientDataError
from torchprobe.plotting.style import GRID, MUTED, figure, heading, marks, styled
from torchprobe.plotting.text import label

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["by_layer", "by_layer_panels"]

_INCH_PER_LAYER, _NARROW, _WIDE = 0.62, 3.4, 8.5
_LETTERS = 12  # of names on an axis, to an inch
_MOST_PANELS = 3  # side by side
_MOST_NAMES = 40  # on the axis; beyond, every n-th


@styled
def by_layer(
    series: Mapping[str, Mapping[str, float]],
    *,
    ylabel: str = "",
    title: str = "",
    subtitle: str = "",
    from_zero: bool = False,
    logarithmic: bool = False,
) -> Figure:
    """Draw a number by layer, one line for each model, grouping or setting.

    Lines of models whose layers have the same names share the axis of names. Otherwise layers are
    numbered from 1, first to last, so that models of different depth or naming can be compared.

    Args:
        series: by what a legend is to say, the numbers by layer in the model's order; NaN leaves
            a gap.
        ylabel: what the number is.
        title: in bold above.
        subtitle: under it.
        from_zero: let the axis of numbers begin at 0, as counts want.
        logarithmic: a logarithmic axis of numbers.

    Raises:
        InsufficientDataError: there is nothing to draw.

    Example:
        >>> figure = by_layer({"256": {"1": 12, "2": 31}, "2048": {"1": 20, "2": 57}})
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['256', '2048']
    """
    layers = _layers(series)
    if not layers:
        raise InsufficientDataError("there is no layer to draw; give numbers by layer")
    width = float(np.clip(1.6 + _INCH_PER_LAYER * len(layers), _NARROW, _WIDE))
    sheet = figure(width + _legend_width(series), 3.1)
    sheet.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    axes = sheet.add_subplot()
    _draw(axes, series, width, from_zero=from_zero, logarithmic=logarithmic)
    axes.set_ylabel(label(ylabel, 60))
    heading(axes, title, subtitle, limit=int(width * 11))
    if len(series) > 1:
        _name_lines(sheet, series)
    return sheet


@styled
def by_layer_panels(
    panels: Mapping[str, Mapping[str, Mapping[str, float]]],
    *,
    title: str = "",
    subtitle: str = "",
    from_zero: bool = False,
) -> Figure:
    """Draw several numbers by layer, a panel for each, three side by side or in two rows.

    Args:
        panels: by what the number is, series as for `by_layer`; a line keeps its looks from panel
            to panel, and may be missing in some.
        title: in bold above the first panel.
        subtitle: under it.
        from_zero: let the axes of numbers begin at 0.

    Raises:
        InsufficientDataError: there is nothing to draw.

    Example:
        >>> small, large = {"1": 0.5, "2": 0.6}, {"1": 0.6, "2": 0.8}
        >>> drawn = by_layer_panels({"accuracy": {"256": small, "2048": large}})
        >>> len(drawn.axes), drawn.axes[0].get_ylabel()
        (1, 'accuracy')
    """
    lines = dict.fromkeys(name for series in panels.values() for name in series)
    layers = max((len(_layers(series)) for series in panels.values()), default=0)
    if not layers:
        raise InsufficientDataError("there is no layer to draw; give numbers by layer")
    each = float(np.clip(1.3 + 0.42 * layers, 4.2 if len(panels) == 1 else 2.3, 6.0))
    columns = len(panels) if len(panels) <= _MOST_PANELS else -(-len(panels) // 2)
    rows = -(-len(panels) // columns)
    sheet = figure(each * columns + max(_legend_width(lines), 0.2), 3.1 * rows)
    sheet.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    looks = dict(zip(lines, marks(len(lines)), strict=True))
    for place, (ylabel, series) in enumerate(panels.items()):
        axes = sheet.add_subplot(rows, columns, place + 1)
        _draw(axes, series, each, from_zero=from_zero, looks=looks)
        axes.set_ylabel(label(ylabel, 60))
    heading(sheet.axes[0], title, subtitle, limit=int(each * columns * 11))
    if len(lines) > 1:
        _name_lines(sheet, lines)
    return sheet


def _draw(
    axes: Axes,
    series: Mapping[str, Mapping[str, float]],
    inches: float,
    *,
    from_zero: bool = False,
    logarithmic: bool = False,
    looks: Mapping[str, tuple[str, str]] | None = None,
) -> None:
    """Lines, scales and names of layers in one panel."""
    layers, named = _layers(series), _named(series)
    looks = looks or dict(zip(series, marks(len(series)), strict=True))
    for name, numbers in series.items():
        colour, marker = looks[name]
        x = [layers.index(layer) for layer in numbers] if named else range(len(numbers))
        axes.plot(x, list(numbers.values()), color=colour, marker=marker, label=f" {label(name)}")
    axes.set_yscale("log" if logarithmic else "linear")
    _scale_numbers(axes, series, from_zero=from_zero)
    _name_layers(axes, layers if named else [str(n + 1) for n in range(len(layers))], inches)


def _legend_width(names: Iterable[str]) -> float:
    """Inches of a legend beside; one line needs none."""
    told = [label(name) for name in names]
    return 0.6 + 0.075 * max(map(len, told)) if len(told) > 1 else 0.0


def _name_lines(sheet: Figure, names: Iterable[str]) -> None:
    """A legend of all panels, beside them."""
    handles: dict[str, Any] = {}
    for axes in sheet.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    told = [label(name) for name in names]
    sheet.legend([handles[f" {name}"] for name in told], told, loc="outside right center")


def _named(series: Mapping[str, Mapping[str, float]]) -> bool:
    """Whether the lines speak of layers of the same names."""
    longest = _longest(series)
    return all(layer in longest for numbers in series.values() for layer in numbers)


def _longest(series: Mapping[str, Mapping[str, float]]) -> Mapping[str, float]:
    return max(series.values(), key=lambda numbers: len(numbers), default={})  # noqa: PLW0108


def _layers(series: Mapping[str, Mapping[str, float]]) -> list[str]:
    return list(_longest(series))


def _scale_numbers(
    axes: Axes, series: Mapping[str, Mapping[str, float]], *, from_zero: bool
) -> None:
    values = np.array([value for numbers in series.values() for value in numbers.values()])
    whole = bool((values[np.isfinite(values)] % 1 == 0).all())
    if from_zero:
        axes.set_ylim(0, 1.08 * max(values[np.isfinite(values)], default=0) or 1)
    if axes.get_yscale() == "linear":
        axes.locator_params(axis="y", integer=whole, nbins=6)
    axes.grid(axis="y", color=GRID)


def _name_layers(axes: Axes, names: Sequence[str], inches: float) -> None:
    """Layers along the axis, slanted where their names would touch."""
    step = -(-len(names) // _MOST_NAMES)
    shown = [label(name, 24) for name in names[::step]]
    axes.set_xticks(range(0, len(names), step), shown)
    axes.set_xlim(-0.35, len(names) - 0.65)
    axes.set_xlabel("layer", color=MUTED)
    if max(map(len, shown)) * len(shown) > _LETTERS * (inches - 1.2):  # less what is beside
        for text in axes.get_xticklabels():
            text.set(rotation=35, ha="right", rotation_mode="anchor")
