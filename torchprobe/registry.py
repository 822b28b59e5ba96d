"""pluggy's manager, stricter: everything a plugin offers is sound, or none of it is kept."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import pluggy

from torchprobe import hookspecs
from torchprobe.analyzer import Analyzer, check_analyzer_class
from torchprobe.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["HOOKS", "Registry"]

HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("torchprobe_"))
"""The names of all hooks."""


class Registry:
    """Plugin objects by name, and what they answer."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)

    def add(self, name: str, plugin: object) -> tuple[tuple[str, ...], dict[str, type[Analyzer]]]:
        """Register a plugin; the hooks it implements and its analyzers by name.

        Raises:
            PluginError: it has no hook, one of unknown name, or an unsound analyzer.
            pluggy.PluginValidationError: a hook has an argument that its specification has not.
        """
        if type(plugin).__hash__ is None or plugin is None:
            raise PluginError(_no_hooks(plugin))
        try:
            self._manager.register(plugin, name=name)
            return self._hooks(plugin), self._analyzers(name)
        except BaseException:
            self.remove(name)
            raise

    def remove(self, name: str) -> None:
        """Forget a plugin, if it is there."""
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)

    def implementing(self, hook: str) -> list[str]:
        """The plugins that implement a hook, in the order in which pluggy calls them."""
        implementations = getattr(self._manager.hook, hook).get_hookimpls()
        return list(dict.fromkeys(each.plugin_name for each in reversed(implementations)))

    def ask(self, name: str, hook: str, /, **arguments: Any) -> list[Any]:
        """What one plugin alone answers to a hook, without its Nones."""
        others = [plugin for other, plugin in self._manager.list_name_plugin() if other != name]
        answer = self._manager.subset_hook_caller(hook, others)(**arguments)
        if isinstance(answer, list):
            return answer
        return [] if answer is None else [answer]

    def _hooks(self, plugin: object) -> tuple[str, ...]:
        callers = self._manager.get_hookcallers(plugin) or []
        if not callers:
            raise PluginError(_no_hooks(plugin))
        for caller in callers:
            if not caller.has_spec():
                raise PluginError(f"{caller.name} is no hook of torchprobe; {_guess(caller.name)}")
        return tuple(sorted(caller.name for caller in callers))

    def _analyzers(self, name: str) -> dict[str, type[Analyzer]]:
        offered: dict[str, type[Analyzer]] = {}
        for answer in self.ask(name, "torchprobe_analyzers"):
            for cls in _classes(answer):
                if cls.name in offered:
                    raise PluginError(f"it offers two analyzers called {cls.name!r}")
                offered[cls.name] = cls
        return offered


def _classes(answer: Iterable[type[Analyzer]]) -> Iterable[type[Analyzer]]:
    """The analyzer classes that a plugin handed over, each of them checked."""
    if not hasattr(answer, "__iter__"):
        raise PluginError(f"torchprobe_analyzers returned {answer!r}; return a list of classes")
    for cls in answer:
        if not (isinstance(cls, type) and issubclass(cls, Analyzer)):
            raise PluginError(
                f"torchprobe_analyzers returned {cls!r}, which is no subclass of "
                "torchprobe.Analyzer; return classes, not instances or names"
            )
        check_analyzer_class(cls)
        yield cls


def _no_hooks(plugin: object) -> str:
    unmarked = [name for name in HOOKS if hasattr(plugin, name)]
    if unmarked:
        return f"its {unmarked[0]} is not marked; put @torchprobe.hookimpl above it"
    what = getattr(plugin, "__name__", type(plugin).__name__)
    return (
        f"{what} implements no hook; write functions such as {HOOKS[0]} marked with "
        "@torchprobe.hookimpl, and point the entry point at the module that holds them"
    )


def _guess(name: str) -> str:
    close = difflib.get_close_matches(name, HOOKS, n=1)
    return f"did you mean {close[0]}?" if close else f"the hooks are {', '.join(HOOKS)}"
