"""What a report is made of: sections of text, tables and figures, never of HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from torchprobe.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib import figure as mpl

__all__ = ["Cell", "Figure", "Section", "Table"]

Cell: TypeAlias = "str | float | int | bool | None"
"""What stands in a table; None and NaN leave it empty."""


@dataclass(frozen=True)
class Table:
    """Rows under named columns; columns that hold only numbers are set as such.

    Args:
        columns: their names.
        rows: as many cells each as there are columns.
        caption: what it shows.
        bars: draw under each number a bar, as long as the number is large in its column.

    Raises:
        SettingError: a row has more or fewer cells than there are columns, or a cell is no text,
            number or None.

    Example:
        >>> Table(["layer", "clusters"], [["hidden.1", 12], ["hidden.2", 31]]).numeric
        (False, True)
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    bars: bool = False

    def __post_init__(self) -> None:
        rows = tuple(tuple(map(_plain, row)) for row in self.rows)
        uneven = [row for row in rows if len(row) != len(self.columns)]
        if uneven:
            raise SettingError(
                f"a row of a table has {len(uneven[0])} cells for {len(self.columns)} columns: "
                f"{uneven[0]!r:.200}"
            )
        object.__setattr__(self, "columns", tuple(map(str, self.columns)))
        object.__setattr__(self, "rows", rows)

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column holds numbers and nothing else."""
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.columns)
        return tuple(_numeric(cells) for cells in columns)


@dataclass(frozen=True)
class Figure:
    """A picture and the words under it.

    Args:
        figure: drawn with matplotlib, as by the functions of `torchprobe.plotting`.
        caption: what it shows and how to read it; it also speaks for the picture to those who
            cannot see it.
    """

    figure: mpl.Figure
    caption: str = ""

    def __post_init__(self) -> None:
        if not hasattr(self.figure, "savefig"):
            raise SettingError(
                f"{self.figure!r:.200} is no matplotlib figure; draw one with torchprobe.plotting"
            )


@dataclass(frozen=True)
class Section:
    """A part of a report under a heading of its own.

    Everything is text: names from models and data can hold what they like, nothing is read as
    HTML, as a formula or as a link. A blank line begins a paragraph, backticks set code.

    Args:
        title: the heading.
        text: what the numbers mean, for a reader who does not know the method.
        tables: above the figures.
        figures: in order.
        more: further figures, folded away until a reader asks for them.
        analyzers: whose results it reports. Their settings and what they have seen are added under
            it, and they get no other section.

    Raises:
        SettingError: tables or figures are not `Table` and `Figure`.

    Example:
        >>> section = Section("Dead units", "Units never active.", analyzers=["dead_units"])
        >>> section.analyzers
        ('dead_units',)
    """

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    more: Sequence[Figure] = ()
    analyzers: Sequence[str] = ()

    def __post_init__(self) -> None:
        analyzers = (self.analyzers,) if isinstance(self.analyzers, str) else tuple(self.analyzers)
        object.__setattr__(self, "analyzers", analyzers)
        for name, kind in (("tables", Table), ("figures", Figure), ("more", Figure)):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            for part in getattr(self, name):
                if not isinstance(part, kind):
                    raise SettingError(
                        f"{name} of section {self.title!r:.80} hold {part!r:.100}; wrap it in "
                        f"torchprobe.report.{kind.__name__}"
                    )


def _plain(cell: Any) -> Cell:
    """Numbers of numpy and torch as Python's."""
    if hasattr(cell, "item") and not isinstance(cell, str):
        cell = cell.item()
    if cell is None or isinstance(cell, (str, float, int)):
        return cell
    raise SettingError(f"a cell of a table is {cell!r:.100}; give text, a number or None")


def _numeric(cells: Sequence[Cell]) -> bool:
    known = [cell for cell in cells if cell is not None]
    return bool(known) and not any(isinstance(cell, (str, bool)) for cell in known)
