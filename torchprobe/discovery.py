"""Which plugins are installed: found by entry point, none of them imported yet."""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from collections import defaultdict
from dataclasses import dataclass
from importlib import metadata
from traceback import TracebackException
from typing import TYPE_CHECKING

import torch

from torchprobe.errors import TorchprobeError
from torchprobe.sandbox import all_generators_kept

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FailedPlugin", "InstalledPlugin", "cause", "installed", "undisturbed"]


@dataclass(frozen=True)
class FailedPlugin:
    """A plugin that was left out, and why."""

    name: str
    distribution: str
    version: str
    error: str

    def __str__(self) -> str:
        source = f"{self.distribution} {self.version}".strip()
        return f"plugin {self.name!r} of {source} was left out, the rest works: {self.error}"


@dataclass(frozen=True)
class InstalledPlugin:
    """An entry point: the name a distribution claims and what to import for it."""

    name: str
    distribution: str
    version: str
    entry: metadata.EntryPoint

    @property
    def source(self) -> str:
        """The distribution and its version."""
        return f"{self.distribution} {self.version}".strip()

    def failed(self, error: BaseException | str) -> FailedPlugin:
        """This plugin, left out because of an error."""
        if isinstance(error, TorchprobeError):
            error = str(error)
        elif isinstance(error, BaseException):
            module = self.entry.value.partition(":")[0]
            error = f"{cause(error)} (python -c 'import {module}' shows where)"
        return FailedPlugin(self.name, self.distribution, self.version, error)


def installed(group: str) -> tuple[list[InstalledPlugin], list[FailedPlugin]]:
    """The plugins of an entry-point group, by name, and those that cannot even be imported.

    A name that two distributions claim is given to neither.
    """
    failed: list[FailedPlugin] = []
    try:
        entries = list(metadata.entry_points(group=group))
    except Exception:  # noqa: BLE001 - one malformed file of any distribution hides all the others
        entries, failed = _one_by_one(group)
    claims = defaultdict(list)
    for entry in entries:
        claims[entry.name].append(_claim(entry))
    unique = [plugins[0] for _, plugins in sorted(claims.items()) if len(plugins) == 1]
    for plugins in claims.values():
        if len(plugins) > 1:
            failed += [plugin.failed(_contested(plugins)) for plugin in plugins]
    return unique, failed


def cause(error: BaseException) -> str:
    """An exception on one line, with its type, even one that cannot be printed."""
    text = TracebackException(type(error), error, None)
    return " ".join(f"{type(error).__name__}: {text}".split()).removesuffix(":")


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Put back what a plugin changes for the whole process while it is imported.

    That is: torch's default dtype, the random states of torch, numpy and Python, and the warning
    filters. What it prints goes to standard error, so that output meant for machines stays whole.
    """
    dtype = torch.get_default_dtype()
    device = torch.device("cuda" if torch.cuda.is_initialized() else "cpu")
    with (
        all_generators_kept(device),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(sys.stderr),
    ):
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def _one_by_one(group: str) -> tuple[list[metadata.EntryPoint], list[FailedPlugin]]:
    """Entry points of each distribution by itself, so that a damaged one only hides its own."""
    entries: list[metadata.EntryPoint] = []
    failed: list[FailedPlugin] = []
    seen: set[str] = set()
    for distribution in metadata.distributions():
        name, version = _identity(distribution)
        canonical = re.sub(r"[-_.]+", "-", name).lower()
        if canonical in seen:
            continue  # an earlier folder of sys.path shadows it
        seen.add(canonical)
        try:
            entries += distribution.entry_points.select(group=group)
        except Exception as error:  # noqa: BLE001 - whatever the damage, the others must be heard
            failed.append(FailedPlugin("?", name, version, _damaged(name, error)))
    return entries, failed


def _damaged(distribution: str, error: Exception) -> str:
    return (
        f"its entry_points.txt is malformed ({cause(error)}); "
        f"pip install --force-reinstall {distribution}"
    )


def _claim(entry: metadata.EntryPoint) -> InstalledPlugin:
    name, version = _identity(entry.dist) if entry.dist else ("an unknown distribution", "")
    return InstalledPlugin(entry.name, name, version, entry)


def _identity(distribution: metadata.Distribution) -> tuple[str, str]:
    """Name and version; where it sits if its metadata is damaged or names neither."""
    where = f"the unnamed distribution in {distribution.locate_file('')}"
    try:
        fields = distribution.metadata.json
    except Exception:  # noqa: BLE001 - the name is for messages; its lack is part of the message
        fields = {}
    return str(fields.get("name", where)), str(fields.get("version", ""))


def _contested(claims: list[InstalledPlugin]) -> str:
    names = " and ".join(f"{claim.source} ({claim.entry.value})" for claim in claims)
    return (
        f"the name {claims[0].name!r} is claimed by {names}; uninstall one of them, or have its "
        "author choose another entry-point name"
    )
