"""A training as one HTML page: curves over it, then the newest results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torchprobe.drift import has_samples
from torchprobe.errors import EmptyStateError
from torchprobe.plotting import compare
from torchprobe.plotting import curves as draw
from torchprobe.report.page import write
from torchprobe.report.parts import Figure, Section, Table

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from torchprobe.history import Curves, History
    from torchprobe.report.parts import Cell

__all__ = ["history_sections", "write_history"]

_MOST_PANELS = 6  # of one figure
_ALIKE = 1e-12


def write_history(
    history: History,
    path: str | os.PathLike[str],
    *,
    title: str = "torchprobe: a training",
    intro: str = "",
    **options: Any,
) -> Path:
    """Write curves over a training and its newest results as one self-contained HTML page.

    Args:
        history: of the training.
        path: the file; its folder is made if need be, and what stood there is replaced.
        title: the heading of the page.
        intro: what was trained, as plain text.
        options: of `torchprobe.report.write`.

    Raises:
        EmptyStateError: there are no results yet.
        OSError: the file cannot be written; what was there before is intact.
    """
    if not history:
        raise EmptyStateError("the history has no results yet; train with its callback first")
    extra = [*history_sections(history), *options.pop("extra", ())]
    return write(history.last, path, title=title, intro=intro, extra=extra, **options)


def history_sections(history: History) -> list[Section]:
    """What there is to say about a training: when it was probed, curves, drift."""
    found = [_overview(history)]
    for analyzer in history.analyzers:
        for grouping in history.groupings(analyzer):
            found += _curves(history, analyzer, grouping)
    if has_samples(history):
        found.append(_drift(history))
    return found


def _overview(history: History) -> Section:
    steps = history.steps
    text = (
        f"The model was probed {len(steps)} time{'s' if len(steps) > 1 else ''}, from step "
        f"{steps[0]} to step {steps[-1]} of its training. The sections after the curves show "
        f"what was found at step {steps[-1]}."
    )
    rows: list[list[Cell]] = [
        [step, _notes(history, step)] for step in steps if not history[step].complete
    ]
    missing = Table(["step", "why"], rows, "Steps whose results miss something")
    return Section("Over training", text, [missing] if rows else [])


def _notes(history: History, step: int) -> str:
    return "; ".join(map(str, history[step].provenance.get("notes", ())))


def _curves(history: History, analyzer: str, grouping: str | None) -> list[Section]:
    """Curves of those numbers of an analyzer that change."""
    panels: dict[str, Curves] = {}
    for name in history.names(analyzer):
        try:
            curves = history.curves(analyzer, name, grouping)
        except KeyError:
            continue  # a number of another grouping
        if any(_changes(list(line.values())) for line in curves.values()):
            panels[name.replace("_", " ")] = curves
    if not panels:
        return []
    by = "" if grouping is None else f" by {grouping}"
    names = list(panels)
    parts = [names[i : i + _MOST_PANELS] for i in range(0, len(names), _MOST_PANELS)]
    figures = [
        Figure(
            draw.over_steps({name: panels[name] for name in part}),
            f"{', '.join(part)} by step of the training, from light to dark with depth.",
        )
        for part in parts
    ]
    title = f"{analyzer.replace('_', ' ').capitalize()}{by} over training"
    return [Section(title, figures=figures, more=_by_layer(history, analyzer, grouping, names))]


def _by_layer(
    history: History, analyzer: str, grouping: str | None, names: list[str]
) -> list[Figure]:
    """The same numbers by layer at a few steps, from the first to the last."""
    steps = history.some_steps(analyzer)
    models = {f"step {step}": history[step] for step in steps}
    numbers = [name.replace(" ", "_") for name in names[:_MOST_PANELS]]
    figure = compare(models, analyzer, numbers, grouping, title="")
    told = f"{', '.join(names[:_MOST_PANELS])} by layer at steps {', '.join(map(str, steps))}."
    return [Figure(figure, told)]


def _changes(values: list[float]) -> bool:
    known = [value for value in values if value == value]  # noqa: PLR0124 - not NaN
    return bool(known) and max(known) - min(known) > _ALIKE * max(1.0, *map(abs, known))


def _drift(history: History) -> Section:
    text = (
        "How far each layer has moved on the same rows: 1 − linear CKA (debiased) is 0 where it "
        "has only been rotated and scaled, and about 1 where nothing is left of it; the "
        "Procrustes distance is the share of variance that no rotation, reflection and scaling "
        "explains."
    )
    figures = [
        Figure(draw.drift(history, to), f"Drift since the {to} step.")
        for to in ("previous", "first")
    ]
    return Section("Drift", text, figures=figures)
