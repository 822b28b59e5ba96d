"""The plugins at hand: loaded on first need, each from a known place, none harming the rest."""

from __future__ import annotations

import functools
import sys
import threading
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from torchprobe.analyzer import Analyzer
from torchprobe.discovery import FailedPlugin, InstalledPlugin, cause, installed, undisturbed
from torchprobe.errors import LayerNotFoundError, PluginError, PluginWarning
from torchprobe.hookspecs import PROJECT, hookimpl
from torchprobe.registry import Registry
from torchprobe.wording import unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import nn

    from torchprobe.hookspecs import Subparsers
    from torchprobe.plotting import PlotFunction
    from torchprobe.report import Section
    from torchprobe.results import Results

__all__ = ["FailedPlugin", "LoadedPlugin", "Plugins", "plugins"]

T = TypeVar("T")

NOT_INSTALLED = "torchprobe is not installed: pip install -e ."
"""Run from a folder that was not installed, there is no plugin, not even torchprobe's own."""


@dataclass(frozen=True)
class LoadedPlugin:
    """A plugin that works, and where it came from."""

    name: str
    distribution: str
    """Empty for a plugin handed to `Plugins.register`."""
    version: str
    path: str
    """The file it was imported from."""
    hooks: tuple[str, ...]
    analyzers: tuple[str, ...]
    seconds: float
    """What importing it took."""

    @property
    def source(self) -> str:
        """The distribution and its version, or that it was registered by hand."""
        return f"{self.distribution} {self.version}".strip() or "registered by hand"

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.source})"


class Plugins:
    """Everything that plugins offer, behind one typed face.

    Nothing is imported before the first question. Then every entry point of the group is loaded,
    one at a time: one that cannot be is left out with a `PluginWarning` that names it, its
    distribution and the cause, and is listed in `failed`.

    Args:
        group: the entry-point group.

    Example:
        >>> from torchprobe.analyzer import Analyzer
        >>> mine = Plugins(group="my_group")
        >>> @mine.register
        ... class Silent(Analyzer):
        ...     name = "silent"
        >>> mine.analyzer("silent") is Silent
        True
        >>> print(*mine.loaded)
        plugin 'torchprobe.plugins.Silent' (registered by hand)
    """

    def __init__(self, group: str = PROJECT) -> None:
        self.group = group
        self._registry = Registry()
        self._waiting: list[InstalledPlugin] | None = None
        self._loaded: dict[str, LoadedPlugin] = {}
        self._failed: list[FailedPlugin] = []
        self._analyzers: dict[str, dict[str, type[Analyzer]]] = {}
        self._told: set[str] = set()
        self._lock = threading.RLock()

    # -- what plugins offer

    def analyzers(self) -> dict[str, type[Analyzer]]:
        """Analyzers by name; a name that two plugins offer is left out."""
        self._load()
        return self._unique("analyzer", self._analyzers)

    def analyzer(self, name: str) -> type[Analyzer]:
        """The analyzer of that name.

        Raises:
            LayerNotFoundError: there is none; the message lists those there are and what failed.
            PluginError: two plugins offer one of that name.
        """
        known = self.analyzers()
        if name in known:
            return known[name]
        owners = [owner for owner, offered in self._analyzers.items() if name in offered]
        if owners:
            raise PluginError(self._collision("analyzer", name, owners))
        raise LayerNotFoundError(self._unknown(name))

    def plots(self) -> dict[str, PlotFunction]:
        """The drawing function of each kind of result; a kind that two plugins draw is left out."""
        offers: dict[str, dict[str, PlotFunction]] = defaultdict(dict)
        for plugin, drawings in self._ask_each("torchprobe_plots", dict):
            offers[plugin.name].update(drawings)
        return self._unique("plot", offers)

    def layout(self, name: str, module: nn.Module, shape: tuple[int, ...]) -> str | None:
        """The axes of a layer as the first plugin that knows its module says them, or None.

        Raises:
            PluginError: a plugin failed; axes given by the user for this layer overrule plugins.
        """
        self._load()
        for owner in self._registry.implementing("torchprobe_layout"):
            plugin = self._loaded[owner]
            for axes in self._ask(
                plugin, "torchprobe_layout", _text, name=name, module=module, shape=shape
            ):
                return axes
        return None

    def report_sections(self, results: Results) -> list[Section]:
        """What plugins add to the report about these results."""
        answers = self._ask_each("torchprobe_report_sections", list, results=results)
        return [section for _, sections in answers for section in sections]

    def commands(self, subparsers: Subparsers) -> None:
        """Let plugins add commands to the command line."""
        for _ in self._ask_each("torchprobe_commands", bool, subparsers=subparsers):
            pass

    # -- which plugins there are

    @property
    def loaded(self) -> list[LoadedPlugin]:
        """The plugins that work, by name."""
        self._load()
        return [self._loaded[name] for name in sorted(self._loaded)]

    @property
    def failed(self) -> list[FailedPlugin]:
        """The plugins that were left out."""
        self._load()
        return list(self._failed)

    def register(self, plugin: T, *, name: str | None = None) -> T:
        """Add a plugin that is not packaged: a module, an object with hooks, or an analyzer class.

        Registering under the same name again replaces what was there, so that a notebook cell can
        be run twice.

        Args:
            plugin: what is returned, so that this can decorate an analyzer class.
            name: what to call it, its own name by default.

        Raises:
            PluginError: it offers nothing usable, or an installed plugin has its name.
        """
        offers: object = plugin
        if isinstance(plugin, type) and issubclass(plugin, Analyzer):
            offers = _Holder(plugin)
        name = name or _name_of(plugin)
        with self._lock:
            if name in self._loaded and not self._loaded[name].distribution:
                self._registry.remove(name)
                del self._loaded[name], self._analyzers[name]
            self._add(offers, name, path=_file_of(plugin))
        return plugin

    def __repr__(self) -> str:
        names = ", ".join(plugin.name for plugin in self.loaded) or NOT_INSTALLED
        return f"<Plugins {names}; {len(self.failed)} left out>"

    # -- loading

    def _load(self) -> None:
        """Load what is waiting; nothing is left to do after the first time."""
        with self._lock:
            if self._waiting is None:
                self._waiting, self._failed = installed(self.group)
            while self._waiting:  # from the end: pluggy asks first what was registered last
                plugin = self._waiting.pop()  # before the import, which may ask for plugins itself
                try:
                    self._load_one(plugin)
                except BaseException:  # an interrupt; the next question tries again
                    self._waiting.append(plugin)
                    raise
        for failure in self._failed:
            self._tell(str(failure))

    def _load_one(self, plugin: InstalledPlugin) -> None:
        started = time.perf_counter()
        try:
            with undisturbed():
                module = plugin.entry.load()
                seconds = time.perf_counter() - started
                self._add(module, plugin.name, plugin, _file_of(module), seconds)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it raises is its own
            self._failed.append(plugin.failed(error))

    def _add(
        self,
        plugin: object,
        name: str,
        installed_as: InstalledPlugin | None = None,
        path: str = "",
        seconds: float = 0.0,
    ) -> None:
        if name in self._loaded:
            raise PluginError(f"{self._loaded[name]} has that name already; choose another")
        hooks, analyzers = self._registry.add(name, plugin)
        self._analyzers[name] = analyzers
        self._loaded[name] = LoadedPlugin(
            name=name,
            distribution=installed_as.distribution if installed_as else "",
            version=installed_as.version if installed_as else "",
            path=path,
            hooks=hooks,
            analyzers=tuple(analyzers),
            seconds=seconds,
        )

    # -- asking

    def _ask(
        self, plugin: LoadedPlugin, hook: str, convert: Callable[[Any], T], /, **arguments: Any
    ) -> list[T]:
        """What one plugin answers; whatever it raises becomes a `PluginError` that names it."""
        try:
            return [convert(each) for each in self._registry.ask(plugin.name, hook, **arguments)]
        except (Exception, SystemExit) as error:
            raise PluginError(f"{plugin} failed in {hook}: {cause(error)}") from error

    def _ask_each(
        self, hook: str, convert: Callable[[Any], T], /, **arguments: Any
    ) -> Iterator[tuple[LoadedPlugin, T]]:
        """What every plugin answers; one that fails is left out with a warning."""
        self._load()
        for owner in self._registry.implementing(hook):
            plugin = self._loaded[owner]
            try:
                answers = self._ask(plugin, hook, convert, **arguments)
            except PluginError as error:
                self._tell(f"{error}; the rest works")
                continue
            yield from ((plugin, answer) for answer in answers)

    def _unique(self, what: str, offers: Mapping[str, Mapping[str, T]]) -> dict[str, T]:
        """What each name stands for, without the names that several plugins offer."""
        owners = defaultdict(list)
        for owner, offered in offers.items():
            for name in offered:
                owners[name].append(owner)
        for name, claimants in owners.items():
            if len(claimants) > 1:
                self._tell(self._collision(what, name, claimants))
        return {name: offers[own[0]][name] for name, own in sorted(owners.items()) if len(own) == 1}

    # -- messages

    def _tell(self, message: str) -> None:
        """Warn, once for each message."""
        if message not in self._told:
            self._told.add(message)
            warnings.warn(message, PluginWarning, stacklevel=2)

    def _collision(self, what: str, name: str, owners: list[str]) -> str:
        plugins = " and ".join(str(self._loaded[owner]) for owner in sorted(owners))
        return (
            f"{what} {name!r} is offered by {plugins}, so the name means neither; "
            "uninstall one of them, or use its class instead of the name"
        )

    def _unknown(self, name: str) -> str:
        parts = [unknown("analyzer", name, self.analyzers()), *map(str, self._failed)]
        return "; ".join(parts if self._loaded or self._failed else [*parts, NOT_INSTALLED])


@functools.cache
def plugins() -> Plugins:
    """This process's plugins: found and loaded once, on first need.

    Example:
        >>> plugins() is plugins()
        True
    """
    return Plugins()


class _Holder:
    """A plugin made of a single analyzer class."""

    def __init__(self, analyzer: type[Analyzer]) -> None:
        self._analyzer = analyzer

    @hookimpl
    def torchprobe_analyzers(self) -> list[type[Analyzer]]:
        return [self._analyzer]


def _text(axes: object) -> str:
    if not isinstance(axes, str):
        raise TypeError(f"it answered {axes!r} instead of a string such as 'sample channel'")
    return axes


def _name_of(plugin: object) -> str:
    if isinstance(plugin, ModuleType):
        return plugin.__name__
    kind = plugin if isinstance(plugin, type) else type(plugin)
    return f"{kind.__module__}.{kind.__qualname__}"


def _file_of(plugin: object) -> str:
    """The file that defines it; empty where it was typed in."""
    if not isinstance(plugin, ModuleType):
        kind = plugin if isinstance(plugin, type) else type(plugin)
        plugin = sys.modules.get(kind.__module__)
    return getattr(plugin, "__file__", None) or ""
