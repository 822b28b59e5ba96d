"""Layers × measures × methods: Table 1 of Grósz & Kurimo 2020 for any model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchprobe import tables
from torchprobe.errors import SettingError
from torchprobe.plotting.text import visible
from torchprobe_projection.linear import Random
from torchprobe_projection.measures import MEASURES
from torchprobe_projection.registry import title

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from torchprobe import Result
    from torchprobe.report import Table
    from torchprobe.results import LayerResults

__all__ = ["MeasureRow", "MeasureTable", "table"]


@dataclass(frozen=True)
class MeasureRow:
    """One measure of every picture of a layer."""

    layer: str
    measure: str
    grouping: str | None
    values: Mapping[str, float]
    """By method; NaN where it is undefined."""
    reference: float
    """What to hold them against: for `pd` the PCA bound, for `hit` and `accuracy` the layer."""

    @property
    def best(self) -> tuple[str, ...]:
        """The methods with the best value; "random" does not compete."""
        known = {
            name: value
            for name, value in self.values.items()
            if name != Random.name and not math.isnan(value)
        }
        lower = MEASURES[self.measure].lower_is_better
        top = (min if lower else max)(known.values(), default=math.nan)
        return tuple(name for name, value in known.items() if value == top)

    @property
    def heading(self) -> str:
        """The measure, the grouping where it has one, and which direction is better."""
        by = f" ({self.grouping})" if self.grouping else ""
        return f"{self.measure}{by} {'↓' if MEASURES[self.measure].lower_is_better else '↑'}"


@dataclass(frozen=True)
class MeasureTable:
    """Rows of measures under the methods they compare.

    ``print`` it, or take it as `to_frame` or, for a report, as `to_report`.
    """

    rows: tuple[MeasureRow, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of any row, "random" last."""
        named = dict.fromkeys(name for row in self.rows for name in row.values)
        return tuple(sorted(named, key=lambda name: name == Random.name))

    def to_frame(self) -> pd.DataFrame:
        """As a pandas table: layer, measure, grouping, a column by method, reference, best."""
        columns = ["layer", "measure", "grouping", *self.methods, "reference", "best"]
        return tables.frame(columns, (self._cells(row) for row in self.rows))

    def _cells(self, row: MeasureRow) -> list[str | float | None]:
        values = [row.values.get(name) for name in self.methods]
        best = " ".join(row.best)
        return [row.layer, row.measure, row.grouping, *values, row.reference, best]

    def to_report(self, caption: str = "") -> Table:
        """As a table of a report, which names the best method of each row in its last column."""
        from torchprobe.report import Table

        columns = ["layer", "measure", *map(title, self.methods), "reference", "best"]
        rows = [
            [
                row.layer,
                row.heading,
                *(row.values.get(name) for name in self.methods),
                row.reference,
                ", ".join(map(title, row.best)),
            ]
            for row in self.rows
        ]
        return Table(columns, rows, caption)

    def __str__(self) -> str:
        """As text, the best of each row marked by a star."""
        head = ["layer", "measure", *map(title, self.methods), "reference"]
        lines = [head, *self._lines()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(_line(cells, widths) for cells in lines)

    def _lines(self) -> Iterator[list[str]]:
        before = None
        for row in self.rows:
            marked = (
                _number(row.values.get(name, math.nan)) + ("*" if name in row.best else " ")
                for name in self.methods
            )
            layer = "" if row.layer == before else visible(row.layer)
            yield [layer, visible(row.heading), *marked, _number(row.reference)]
            before = row.layer


def table(results: LayerResults, measures: str | Iterable[str] | None = None) -> MeasureTable:
    """Every measure of every method and layer, best per row marked.

    Args:
        results: of the analyzer "projection".
        measures: only these, e.g. ``("pd", "mi", "dc")`` as in the paper; all by default.

    Raises:
        SettingError: a measure that no layer has.

    Source: Grósz & Kurimo 2020, Table 1.
    """
    asked = (measures,) if isinstance(measures, str) else measures
    wanted = tuple(MEASURES) if asked is None else tuple(asked)
    known = [name for name in MEASURES if any(name in result for result in results.values())]
    for name in wanted:
        if asked is not None and name not in known:
            raise SettingError(f"measure {name!r} is in no layer; there are {', '.join(known)}")
    return MeasureTable(
        tuple(row for result in results.values() for name in wanted for row in _rows(result, name))
    )


def _rows(result: Result, measure: str) -> Iterator[MeasureRow]:
    """A row of a measure; one for each grouping where it is about labels."""
    if measure not in result:
        return
    methods = result.coords["method"]
    if MEASURES[measure].of != "labels":
        reference = result.pca_bound if measure == "pd" else math.nan
        yield _row(result.layer, measure, None, methods, result[measure].values, reference)
        return
    layer = result[f"layer_{measure}"].values
    for place, grouping in enumerate(result.coords["grouping"]):
        values = result[measure].values[place]
        yield _row(result.layer, measure, grouping, methods, values, layer[place])


def _row(
    layer: str,
    measure: str,
    grouping: str | None,
    methods: Sequence[str],
    values: Iterable[float],
    reference: float,
) -> MeasureRow:
    by_method = dict(zip(methods, map(float, values), strict=True))
    return MeasureRow(layer, measure, grouping, by_method, float(reference))


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Cells in columns, words to the left and numbers to the right."""
    words = [cell.ljust(width) for cell, width in zip(cells[:2], widths, strict=False)]
    numbers = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
    return "  ".join([*words, *numbers]).rstrip()
