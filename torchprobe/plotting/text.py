"""Names from data as text in pictures and pages: visible, of bounded length, never markup."""

from __future__ import annotations

import unicodedata

__all__ = ["label", "shorten", "visible"]

_HARMLESS = "\xa0\u202f\u200c\u200d"
"""Spaces that do not break; joiners, part of how Persian, Indic scripts and emoji are written."""


def visible(text: object) -> str:
    r"""Text on one line in which every character shows: control characters as Python writes them.

    An escape sequence, a line break or a change of writing direction in a class name would
    otherwise move, hide or recolour what stands around it.

    >>> print(visible("a\x1b[31mb\n"), visible("x\u202ey\ud800"), visible("ʃ 你"))
    a\x1b[31mb\n x\u202ey\ud800 ʃ 你
    """
    text = str(text)
    return text if text.isprintable() else "".join(map(_shown, text))


def shorten(text: str, limit: int) -> str:
    """At most ``limit`` characters, the middle left out: both ends of a name tell.

    >>> shorten("encoder.layers.11.mlp.fc2", 16)
    'encoder.…mlp.fc2'
    """
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 2
    return f"{text[: limit - 1 - tail]}…{text[len(text) - tail :]}"


def label(text: object, limit: int = 32) -> str:
    r"""Any text as a label in a figure: visible, shortened, and no formula.

    matplotlib sets what stands between two dollars as a formula and fails on one that is malformed.

    >>> label("$\\frac{$"), label("_" * 99, 5)
    ('\\$\\frac{\\$', '__…__')
    >>> label(" ")  # the letter between words
    '␣'
    """
    shown = visible(text)
    if shown.isspace():
        shown = "␣" * len(shown)
    return shorten(shown, limit).replace("$", r"\$")


def _shown(character: str) -> str:
    if character.isprintable() or character in _HARMLESS:
        return character
    return " " if unicodedata.category(character) == "Zs" else repr(character)[1:-1]
