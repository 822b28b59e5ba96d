"""A number over the time of a training, a line for each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe.errors import InsufficientDataError
from torchprobe.plotting.spectra import depth_colours
from torchprobe.plotting.style import GRID, MUTED, figure, heading, styled
from torchprobe.plotting.text import label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from torchprobe.history import Curves, History

__all__ = ["drift", "over_steps", "over_training"]

_MOST_NAMES = 16  # in a legend; of more layers every n-th is named
_MOST_MARKED = 30  # points beyond which a line needs no markers
_MOST_PANELS = 3  # side by side
_DECADES = 100  # from the first step to the last, beyond which their scale is logarithmic


@styled
def over_steps(
    panels: Mapping[str, Curves],
    *,
    xlabel: str = "step",
    title: str = "",
    subtitle: str = "",
    logarithmic: bool | None = None,
) -> Figure:
    """Draw numbers over steps, a panel for each number and a line for each layer.

    Lines run from light to dark with the depth of the layer. A line without numbers at some steps
    has gaps there.

    Args:
        panels: by what the number is, numbers by layer and step.
        xlabel: what is counted along the axis.
        title: in bold above the first panel.
        subtitle: under it.
        logarithmic: a logarithmic axis of steps, on which step 0 stands apart at the left; by
            default where steps are spread like that.

    Raises:
        InsufficientDataError: there is nothing to draw.

    Example:
        >>> drawn = over_steps({"accuracy": {"hidden.1": {0: 0.1, 50: 0.6}, "out": {50: 0.9}}})
        >>> drawn.axes[0].get_ylabel(), [text.get_text() for text in drawn.legends[0].get_texts()]
        ('accuracy', ['hidden.1', 'out'])
    """
    layers = list(dict.fromkeys(layer for curves in panels.values() for layer in curves))
    if not layers:
        raise InsufficientDataError("there is no curve to draw; give numbers by layer and step")
    columns = len(panels) if len(panels) <= _MOST_PANELS else -(-len(panels) // 2)
    rows = -(-len(panels) // columns)
    each = 4.6 if len(panels) == 1 else 3.5
    sheet = figure(each * columns + 1.4, 3.0 * rows)
    sheet.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    looks = dict(zip(layers, depth_colours(len(layers)), strict=True))
    steps = sorted({step for c in panels.values() for line in c.values() for step in line})
    scaled = _spread(steps) if logarithmic is None else logarithmic
    for place, (ylabel, curves) in enumerate(panels.items()):
        axes = sheet.add_subplot(rows, columns, place + 1)
        _draw(axes, curves, looks, steps)
        _scale(axes, steps, logarithmic=scaled)
        axes.set_ylabel(label(ylabel, 40))
        axes.set_xlabel(label(xlabel, 40), color=MUTED)
    heading(sheet.axes[0], title, subtitle, limit=int(each * columns * 11))
    _legend(sheet, layers, looks)
    return sheet


def over_training(
    history: History,
    analyzer: str,
    name: str | Sequence[str] | None = None,
    grouping: str | None = None,
    **options: Any,
) -> Figure:
    """Draw single numbers of an analyzer over a training, a line for each layer.

    Args:
        history: of the training.
        analyzer: whose numbers.
        name: which, one or several; the first there is by default.
        grouping: which, where there are several; the first by default.
        options: of `over_steps`.

    Raises:
        LayerNotFoundError: there is no such number; says which there are.
    """
    known = history.names(analyzer)
    names = [name] if isinstance(name, str) else list(name or known[:1])
    if grouping is None:
        grouping = history.groupings(analyzer)[0]
    panels = {each.replace("_", " "): history.curves(analyzer, each, grouping) for each in names}
    by = "" if grouping is None else f"by {grouping}"
    return over_steps(panels, **{"title": analyzer, "subtitle": by, **options})


def drift(history: History, to: str | int = "previous", **options: Any) -> Figure:
    """Draw how far layers move over a training, in both measures of `torchprobe.drift.drift`.

    Args:
        history: of a probe with an analyzer that keeps rows, such as ``activation_sample``.
        to: from what: the "previous" step, the "first", or a step.
        options: of `over_steps`.
    """
    panels = {
        "1 − linear CKA": history.drift("cka", to),
        "Procrustes distance": history.drift("procrustes", to),
    }
    since = f"since the {to} step" if isinstance(to, str) else f"since step {to}"
    return over_steps(panels, **{"title": "drift", "subtitle": since, **options})


def _draw(axes: Axes, curves: Curves, looks: Mapping[str, Any], steps: Sequence[int]) -> None:
    for layer, line in curves.items():
        marker = "o" if len(line) <= _MOST_MARKED else ""
        values = [line.get(step, np.nan) for step in steps]
        axes.plot(steps, values, color=looks[layer], marker=marker, markersize=3.5)
    values = [value for line in curves.values() for value in line.values()]
    whole = all(value % 1 == 0 for value in values if np.isfinite(value))
    axes.grid(axis="y", color=GRID)
    axes.locator_params(axis="y", integer=whole, nbins=6)


def _spread(steps: Sequence[int]) -> bool:
    """Whether steps are crowded at the beginning, as those of a logarithmic schedule are."""
    after = [step for step in steps if step > 0]
    if len(after) < 4 or after[-1] < _DECADES * after[0]:  # noqa: PLR2004
        return False
    return after[len(after) // 2] < after[-1] / 4


def _scale(axes: Axes, steps: Sequence[int], *, logarithmic: bool) -> None:
    if logarithmic:
        first = min((step for step in steps if step > 0), default=1)
        axes.set_xscale("symlog", linthresh=first, linscale=0.4)
        axes.set_xlim(left=0 if steps[0] <= 0 else first)
    else:
        axes.locator_params(axis="x", integer=True, nbins=6)


def _legend(sheet: Figure, layers: Sequence[str], looks: Mapping[str, Any]) -> None:
    """The layers from top to bottom as they stand in the model."""
    from matplotlib.lines import Line2D

    step = -(-len(layers) // _MOST_NAMES)
    named = layers[::step]
    handles = [Line2D([], [], color=looks[layer]) for layer in named]
    told = [label(layer, 24) for layer in named]
    sheet.legend(handles, told, loc="outside right center")
