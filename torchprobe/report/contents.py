"""The sections of a report: what plugins write of their results, a plain one for the rest."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING

from torchprobe.errors import PluginWarning
from torchprobe.plotting import plot, views
from torchprobe.plugins import plugins
from torchprobe.report.parts import Figure, Section, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torchprobe.report.parts import Cell
    from torchprobe.results import LayerResults, Result, Results

__all__ = ["number_table", "sections"]


def sections(results: Results) -> list[Section]:
    """Everything there is to say about results, in the order of their analyzers.

    Sections that plugins offer come first where they stand in for an analyzer; an analyzer of which
    no plugin speaks gets a section with its numbers by layer and its drawings. Those about no
    analyzer in particular come last.
    """
    offered = [each for each in plugins().report_sections(results) if isinstance(each, Section)]
    spoken_of = {analyzer for section in offered for analyzer in section.analyzers}
    plain = [_plain_section(results[name]) for name in results if name not in spoken_of]
    order = {analyzer: place for place, analyzer in enumerate(results)}
    return sorted([*offered, *plain], key=lambda section: _place(section, order))


def number_table(
    results: LayerResults,
    names: Mapping[str, str] | None = None,
    caption: str = "",
) -> Table:
    """The single numbers of an analyzer, a row for each layer and grouping.

    Args:
        results: of one analyzer.
        names: which numbers, and what to call them; all under their own names by default.
        caption: what the table shows.
    """
    known = dict.fromkeys(name for each in results.values() for name in each.scalars())
    named = dict(names) if names is not None else {name: name.replace("_", " ") for name in known}
    named = {name: title for name, title in named.items() if name in known}
    by = results.groupings != (None,)
    rows = [_number_row(result, list(named), by=by) for result in results.values()]
    columns = ["layer", *(["grouping"] if by else []), "rows", *named.values()]
    return Table(columns, rows, caption, bars=True)


def _number_row(result: Result, names: list[str], *, by: bool) -> list[Cell]:
    grouping: list[Cell] = [result.grouping] if by else []
    rows = result.provenance.get("rows")
    return [result.layer, *grouping, rows, *map(result.scalars().get, names)]


def _place(section: Section, order: Mapping[str, int]) -> int:
    return min((order.get(name, len(order)) for name in section.analyzers), default=len(order))


def _plain_section(results: LayerResults) -> Section:
    numbers = any(result.scalars() for result in results.values())
    drawn = [view for view in views(results.kind) if view not in {"", "numbers"}]
    if numbers or results.kind in plugins().plots():
        drawn = ["", *drawn]
    return Section(
        title=results.analyzer.replace("_", " ").capitalize(),
        text=_description(results.kind),
        tables=[number_table(results)] if numbers else [],
        figures=[figure for view in drawn for figure in _drawing(results, view)],
        analyzers=[results.analyzer],
    )


def _description(kind: str) -> str:
    """The first paragraph of the analyzer's docstring; nothing where it is not installed."""
    analyzer = plugins().analyzers().get(kind)
    documented = inspect.getdoc(analyzer) if analyzer else None
    return (documented or "").split("\n\n")[0].replace("``", "`")


def _drawing(results: LayerResults, view: str) -> list[Figure]:
    """What the plugin draws of these results; nothing, and a warning, where it fails."""
    try:
        return [Figure(plot(results, view=view), view.replace("_", " ").capitalize())]
    except Exception as error:  # noqa: BLE001 - a plugin's drawing may raise anything
        message = f"drawing {view!r} of {results.analyzer!r} failed: {error!r:.300}"
        warnings.warn(f"{message}; the report goes without it", PluginWarning, stacklevel=2)
        return []
