"""Tidy tables of named arrays, and CSV that a spreadsheet cannot be made to execute."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

__all__ = ["array_frame", "csv_bytes", "frame"]

# What makes a spreadsheet read a cell as a formula, in ASCII and in full width (OWASP's list).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def frame(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """A pandas table of rows."""
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(columns))


def array_frame(
    axes: Sequence[str], values: np.ndarray, coords: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """One row per element: its place along each axis, by name where there are names; its value."""
    import pandas as pd

    places = np.indices(values.shape).reshape(values.ndim, values.size)  # [axis, element]
    columns = [_named(coords.get(axis), place) for axis, place in zip(axes, places, strict=True)]
    names = _distinct([*axes, "value"])
    return pd.DataFrame(dict(zip(names, [*columns, values.reshape(-1)], strict=True)))


def _named(names: Sequence[str] | None, places: np.ndarray) -> np.ndarray:
    return places if names is None else np.array(names, dtype=object)[places]


def _distinct(names: Sequence[str]) -> list[str]:
    """Names with a number after each repetition: axes class class make class and class_2."""
    taken: list[str] = []
    for name in names:
        count = 1 + names[: len(taken)].count(name)
        taken.append(name if count == 1 else f"{name}_{count}")
    return taken


def csv_bytes(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    r"""A table as UTF-8 CSV in which no text can act as a formula.

    Layer and class names come from data: ``=HYPERLINK(...)`` as a class name would run in the
    spreadsheet of whoever opens the file. A text that begins like a formula gets a ``'`` in front,
    which spreadsheets show as text; numbers, also negative ones, stay numbers.

    Example:
        >>> csv_bytes(["class", "value"], [["=1+1", -0.5], ["ʃ", 2], ["-1", None]]).decode()
        "class,value\r\n'=1+1,-0.5\r\nʃ,2\r\n-1,\r\n"
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(map(_harmless, columns))
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8", errors="backslashreplace")  # lone surrogates have none


def _harmless(cell: Any) -> Any:
    if not isinstance(cell, str) or not cell.startswith(_FORMULA) or _is_number(cell):
        return cell
    return f"'{cell}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
