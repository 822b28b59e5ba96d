"""Names in messages and tables: hints for typos, and nothing a terminal would obey."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["printable", "shorten", "unknown"]

MAX_NAME = 60  # a line of a terminal has room for the name and what is said about it
MAX_LISTED = 20


def unknown(kind: str, name: Any, known: Iterable[Any]) -> str:
    """A message for a name that is not among the known ones.

    Example:
        >>> unknown("layer", "conv9", ["conv1", "fc"])
        "layer 'conv9' not found; did you mean 'conv1'? There are: 'conv1', 'fc'"
    """
    known = list(known)
    close = difflib.get_close_matches(str(name), map(str, known), n=1)
    hint = f"; did you mean {_quoted(close[0])}?" if close else "."
    listed = ", ".join(shorten([_quoted(each) for each in known], MAX_LISTED)) or "none"
    return f"{kind} {_quoted(name)} not found{hint} There are: {listed}"


def _quoted(name: Any) -> str:
    return repr(name) if name is None else repr(printable(name))


def printable(name: Any) -> str:
    r"""A name with everything a terminal could obey written as an escape, and not too long.

    Names come from models and data: a layer can be called ``"\\x1b[2J"``, which clears a screen.

    Example:
        >>> printable("ʃ"), printable("\x1b[2J")
        ('ʃ', '\\x1b[2J')
    """
    text = str(name)
    if len(text) > MAX_NAME:
        text = f"{text[:MAX_NAME]}…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shorten(lines: list[str], limit: int) -> list[str]:
    """The first lines, and how many more there are."""
    if len(lines) <= limit:
        return lines
    return [*lines[:limit], f"… and {len(lines) - limit} more"]
