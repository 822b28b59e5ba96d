"""How layers are written down: a name or glob, then a part of the output, then a call."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

__all__ = ["Pattern"]

_TAIL = re.compile(r"(?P<name>.*?)(?P<path>(?:\[[^\[\]]*\])*)(?:@(?P<call>\d+|\*))?", re.DOTALL)


@dataclass(frozen=True)
class Pattern:
    """One pattern: ``block.*``, ``lstm[0]``, ``act@2``, ``!head``.

    ``*`` stands for any characters, dots too, and ``?`` for one; nothing else is special, so that
    ``[0]`` can name a part of an output.

    Example:
        >>> pattern = Pattern.parse("!rnn.*[1]@2")
        >>> pattern.name, pattern.path, pattern.call, pattern.exclude
        ('rnn.*', '[1]', 1, True)
    """

    text: str
    name: str
    path: str = ""
    """Part of the output, ``""`` for all of it."""
    call: int | None = None
    """Which call of one forward pass, counted from 0; None for every call."""
    exclude: bool = False
    literal: bool = False
    """Whether the name is taken as it stands, stars and all."""

    @classmethod
    def parse(cls, text: str, names: frozenset[str] = frozenset()) -> Pattern:
        """The pattern written as ``text``; what is a name as it stands is that name."""
        if text in names:
            return cls(text, text, literal=True)
        exclude = text.startswith("!")
        body = text[1:] if exclude else text
        if body in names:
            return cls(text, body, exclude=exclude, literal=True)
        match = _TAIL.fullmatch(body)
        assert match is not None
        call = match["call"]
        number = None if call in (None, "*") else int(call) - 1
        return cls(text, match["name"], match["path"], number, exclude)

    @cached_property
    def _name(self) -> re.Pattern[str]:
        return _glob(self.name)

    @cached_property
    def _path(self) -> re.Pattern[str]:
        return _glob(self.path)

    @property
    def is_glob(self) -> bool:
        """Whether the name may stand for several layers."""
        return not self.literal and ("*" in self.name or "?" in self.name)

    @property
    def is_whole(self) -> bool:
        """Whether every part of every call is meant."""
        return not self.path and self.call is None

    def matches_name(self, name: str) -> bool:
        """Whether a layer is meant, by name."""
        return name == self.name or (self.is_glob and self._name.fullmatch(name) is not None)

    def matches_part(self, path: str, call: int | None) -> bool:
        """Whether one part of the output of one call (from 0; None for unknown) is meant.

        A part includes its own parts: ``[1]`` means ``[1][0]`` and ``[1][1]``. A module that
        returns its tensor bare has it as ``[0]`` too, since the same model may return a tuple in
        another version of its library.
        """
        if self.call is not None and call != self.call:
            return False
        if not self.path:
            return True
        match = self._path.match(path or "[0]")
        return match is not None and (path or "[0]")[match.end() :][:1] in ("", "[")


def _glob(text: str) -> re.Pattern[str]:
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(char) or re.escape(char) for char in text), re.DOTALL)
