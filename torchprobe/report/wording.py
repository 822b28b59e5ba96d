"""Text and numbers as a page shows them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchprobe.plotting.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from torchprobe.report.parts import Cell, Table

__all__ = ["ShownCell", "cells", "paragraphs"]

_DIGITS = 4  # of the largest number of a column
_UNDEFINED = "–"


@dataclass(frozen=True)
class ShownCell:
    """A cell as text, and how much of its column's largest number it is, in percent."""

    text: str
    numeric: bool = False
    share: int | None = None


def cells(table: Table) -> list[list[ShownCell]]:
    """The rows of a table as they are shown."""
    columns = zip(zip(*table.rows, strict=True), table.numeric, strict=bool(table.rows))
    shown = [_numbers(c, bars=table.bars) if numeric else _texts(c) for c, numeric in columns]
    return [list(row) for row in zip(*shown, strict=True)]


def paragraphs(text: str) -> list[Markup]:
    r"""Paragraphs of plain text, escaped; what stands between backticks becomes code.

    >>> print(*paragraphs("of `x<y>`:\n1 & 2\n\nthe `end"), sep=" | ")
    of <code>x&lt;y&gt;</code>: 1 &amp; 2 | the `end
    """
    blocks = [re.sub(r"[ \t\r\n]+", " ", block).strip() for block in text.split("\n\n")]
    return [_marked(visible(block)) for block in blocks if block]


def _marked(text: str) -> Markup:
    from markupsafe import Markup, escape

    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # a backtick without partner is a backtick
        return escape(text)
    code = Markup("<code>{}</code>")
    marked = [code.format(piece) if i % 2 else escape(piece) for i, piece in enumerate(pieces)]
    return Markup("").join(marked)


def _texts(column: Sequence[Cell]) -> list[ShownCell]:
    words = {None: _UNDEFINED, True: "yes", False: "no"}
    return [
        ShownCell(str(words[cell] if cell is None or isinstance(cell, bool) else cell))
        for cell in column
    ]


def _numbers(column: Sequence[Cell], *, bars: bool) -> list[ShownCell]:
    numbers = [math.nan if cell is None else float(cell) for cell in column]
    shares = _shares(numbers) if bars else [None] * len(numbers)
    form = _format([number for number in numbers if math.isfinite(number)])
    return [
        ShownCell(_number(number, form), numeric=True, share=share)
        for number, share in zip(numbers, shares, strict=True)
    ]


def _number(number: float, form: str) -> str:
    return _UNDEFINED if math.isnan(number) else format(number, form).replace("-", "−")


def _format(known: Sequence[float]) -> str:
    """The same number of decimals for a whole column, unless its numbers differ too much in size.

    >>> [_format(numbers) for numbers in ([2048, 7], [0.415, 0.0523], [12.5, 3], [1.5, 1e-5])]
    [',.0f', ',.4f', ',.2f', ',.4g']
    """
    sizes = [abs(number) for number in known if number]
    if all(size % 1 == 0 and size < 1e15 for size in sizes):  # noqa: PLR2004 - exact in float64
        return ",.0f"
    largest = math.floor(math.log10(max(sizes)))
    decimals = max(0, _DIGITS - max(largest, 0) - 1 + (largest < 0))
    crowded = min(sizes) < 10.0**-decimals or largest > 7 or largest < -2  # noqa: PLR2004
    return f",.{_DIGITS}g" if crowded else f",.{decimals}f"


def _shares(numbers: Sequence[float]) -> Sequence[int | None]:
    known = [number for number in numbers if math.isfinite(number)]
    largest, least = max(known, default=0.0), min(known, default=0.0)
    if least < 0 or least == largest:  # equal bars would say nothing
        return [None] * len(numbers)
    return [round(100 * number / largest) if math.isfinite(number) else None for number in numbers]
