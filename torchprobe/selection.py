"""Which layers of a model are meant: names, globs, types, predicates."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import nn

from torchprobe.errors import CompileError, LayerNotFoundError, SettingError
from torchprobe.naming import aliases, canonical_names, input_name, never_called, root_name
from torchprobe.patterns import Pattern

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Selection",
    "Selector",
    "aliases",
    "canonical_names",
    "input_name",
    "root_name",
    "select",
    "types",
    "where",
]

Predicate: TypeAlias = Callable[[str, nn.Module], bool]
Choice: TypeAlias = "str | type | nn.Module | Predicate"
Selector: TypeAlias = "Choice | Iterable[Choice]"


@dataclass(frozen=True)
class Selection:
    """The chosen layers of one model."""

    modules: Mapping[str, nn.Module]
    """Chosen modules by canonical name, in the model's order."""
    input_name: str
    """What the model's input is called."""
    input: bool = False
    """Whether the model's input was chosen."""
    wanted: Mapping[str, tuple[Pattern, ...]] = field(default_factory=dict)
    """By layer, the patterns that chose it, where they choose parts or calls only."""
    unwanted: Mapping[str, tuple[Pattern, ...]] = field(default_factory=dict)
    """By layer, the exclusions of parts or calls."""
    _met: set[str] = field(default_factory=set, compare=False, repr=False)

    def wants(self, name: str, path: str = "", call: int | None = 0) -> bool:
        """Whether one part of a layer's output is wanted.

        Args:
            name: canonical name, or that of the input.
            path: as `torchprobe.outputs.leaves` gives it: "", "[0]", "[1][0]".
            call: which call of this forward pass, from 0 (``act@2`` is call 1); None: unknown.
        """
        if name not in self.modules and not (self.input and name == self.input_name):
            return False
        if name not in self.wanted and name not in self.unwanted:
            return True  # almost always: the whole of the layer was chosen
        excluded = [p for p in self.unwanted.get(name, ()) if p.matches_part(path, call)]
        patterns = self.wanted.get(name)
        chosen = [p for p in patterns or () if p.matches_part(path, call)]
        self._met.update(pattern.text for pattern in (*excluded, *chosen))
        return not excluded and (patterns is None or bool(chosen))

    def unmet(self) -> tuple[str, ...]:
        """Patterns for a part or call that no layer has delivered so far."""
        patterns = [p for some in (self.wanted, self.unwanted) for ps in some.values() for p in ps]
        return tuple(dict.fromkeys(p.text for p in patterns if p.text not in self._met))


@dataclass(frozen=True)
class _Types:
    """A predicate: is the module of one of these types?"""

    classes: tuple[type, ...]

    def __call__(self, _: str, module: nn.Module) -> bool:
        return isinstance(module, self.classes)

    def __repr__(self) -> str:
        return f"types({', '.join(cls.__name__ for cls in self.classes)})"


@dataclass(frozen=True)
class _Itself:
    """A predicate: is it this very module?"""

    module: nn.Module

    def __call__(self, _: str, module: nn.Module) -> bool:
        return module is self.module

    def __repr__(self) -> str:
        return f"this {type(self.module).__name__}"


def types(*classes: type) -> Predicate:
    """Choose the modules of these types, subclasses too.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> list(select(model, types(nn.ReLU, nn.GELU)).modules)
        ['1']
    """
    return _Types(classes)


def where(predicate: Predicate) -> Predicate:
    """Choose the modules for which ``predicate(name, module)`` is true.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 9))
        >>> wide = where(lambda name, module: getattr(module, "out_features", 0) > 5)
        >>> list(select(model, wide).modules)
        ['1']
    """
    return predicate


def select(model: nn.Module, selector: Selector | None = None) -> Selection:
    """The layers of a model that a selector means.

    A selector is a name (``"conv1"``), a glob (``"blocks.*.act"``; ``*`` stands for any
    characters, dots too), a type (``nn.ReLU``), a module of the model, a predicate of name and
    module, or several of these. Names may end in a part of the output and a call:
    ``"lstm[0]"``, ``"block.act@2"``. ``"!pattern"`` takes layers away again, wherever it stands;
    with nothing but such patterns, from the default. ``"input"`` is the model's input.

    None is the default: every module without children, `torch.nn.MultiheadAttention` as one
    because its ``out_proj`` is never called.

    Raises:
        LayerNotFoundError: a pattern, type or predicate matches no layer, or nothing is left.
        CompileError: a chosen module was scripted or traced, so that hooks would not fire.
        SettingError: something in the selector is none of the above.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> list(select(model, ["*", "!1", "!model"]).modules)
        ['0', '2']
    """
    modules = Modules(model)
    patterns, predicates = _sorted_out(selector, modules.names)
    chosen = modules.chosen([p for p in patterns if not p.exclude], predicates)
    unwanted = modules.by_layer([p for p in patterns if p.exclude])
    kept = {
        name: () if any(p.is_whole for p in ps) else ps
        for name, ps in chosen.items()
        if not any(p.is_whole for p in unwanted.get(name, ()))
    }
    if not kept:
        texts = ", ".join(repr(pattern.text) for pattern in patterns if pattern.exclude)
        raise LayerNotFoundError(f"no layer is left after {texts}; exclude fewer layers")
    found = {name: module for name, module in modules.modules.items() if name in kept}
    _refuse_scripted(found)
    return Selection(
        found,
        modules.input_name,
        modules.input_name in kept,
        {name: ps for name, ps in kept.items() if ps},
        {name: ps for name, ps in unwanted.items() if name in kept},
    )


def _sorted_out(
    selector: Selector | None, names: frozenset[str]
) -> tuple[list[Pattern], list[Predicate]]:
    """A selector's patterns and its predicates."""
    choices = _choices(selector)
    patterns = [Pattern.parse(choice, names) for choice in choices if isinstance(choice, str)]
    return patterns, [_predicate(choice) for choice in choices if not isinstance(choice, str)]


def _choices(selector: Selector | None) -> list[object]:
    """A selector as a list; containers of modules are modules, not lists of choices."""
    if selector is None:
        return []
    if isinstance(selector, (str, type, nn.Module)) or not isinstance(selector, Iterable):
        return [selector]
    return list(selector)


def _predicate(choice: object) -> Predicate:
    if isinstance(choice, type):
        return _Types((choice,))
    if isinstance(choice, nn.Module):
        return _Itself(choice)
    if callable(choice):
        return choice
    raise SettingError(
        f"layers: {choice!r} is no selector; pass names or globs ('blocks.*'), types (nn.ReLU), "
        "modules, or a predicate of (name, module)"
    )


class Modules:
    """A model's modules, and which of them patterns and predicates mean."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = canonical_names(model)
        self.aliases = aliases(model)
        self.root_name, self.input_name = root_name(model), input_name(model)
        others = [name for names in self.aliases.values() for name in names]
        self.names = frozenset((*self.modules, *others, self.input_name))

    def chosen(
        self, patterns: list[Pattern], predicates: list[Predicate]
    ) -> dict[str, tuple[Pattern, ...]]:
        """By layer, the patterns that chose it; a predicate counts as the layer's own name."""
        if not patterns and not predicates:
            return {name: (Pattern(name, name),) for name in self._default()}
        chosen = self.by_layer(patterns)
        for predicate in predicates:
            for name in self._fulfilling(predicate):
                chosen[name] = (*chosen.get(name, ()), Pattern(name, name))
        return chosen

    def by_layer(self, patterns: list[Pattern]) -> dict[str, tuple[Pattern, ...]]:
        """By layer, the patterns that mean it."""
        layers: dict[str, tuple[Pattern, ...]] = {}
        for pattern in patterns:
            for name in self.meant(pattern):
                layers[name] = (*layers.get(name, ()), pattern)
        return layers

    def meant(self, pattern: Pattern) -> list[str]:
        """The layers a pattern means, by canonical name.

        Other names of a shared module count too, except where a glob excludes: ``!decoder.*``
        must not take away an embedding that the encoder shares.
        """
        if pattern.name == self.input_name:
            return [self.input_name]
        others = {} if pattern.exclude and pattern.is_glob else self.aliases
        found = [
            name
            for name in self.modules
            if any(pattern.matches_name(each) for each in (name, *others.get(name, ())))
        ]
        called = [name for name in found if not never_called(self.modules[name])]
        if not called:
            raise LayerNotFoundError(self._not_found(pattern, found))
        return called

    def _fulfilling(self, predicate: Predicate) -> list[str]:
        found = [name for name, module in self.modules.items() if predicate(name, module)]
        called = [name for name in found if not never_called(self.modules[name])]
        if not called:
            raise LayerNotFoundError(
                f"no layer of {len(self.modules)} matches {predicate!r}{self._only(found)}; "
                "tp.layers(model) lists them"
            )
        return called

    def _default(self) -> list[str]:
        """Modules that call no other; attention and the projection it never calls are one."""
        opaque = [name for name, module in self.modules.items() if _is_attention(module)]
        called = [
            name
            for canonical, module in self.modules.items()
            for name in (canonical, *self.aliases.get(canonical, ()))
            if not never_called(module) and not self._inside(name, (canonical, *opaque))
        ]
        callers = {above for name in called for above in self._above(name)}
        return [name for name in called if name in self.modules and name not in callers]

    def _above(self, name: str) -> list[str]:
        """The names of the modules that a name stands in."""
        parts = name.split(".")
        inner = [".".join(parts[:depth]) for depth in range(1, len(parts))]
        return inner if name == self.root_name else [self.root_name, *inner]

    def _inside(self, name: str, outer: tuple[str, ...]) -> bool:
        return not set(outer).isdisjoint(self._above(name))

    def _not_found(self, pattern: Pattern, found: list[str]) -> str:
        close = difflib.get_close_matches(pattern.name, self.names, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close and not found else ""
        return (
            f"layer {pattern.text!r} not found among {len(self.modules)} layers"
            f"{self._only(found)}{hint}; tp.layers(model) lists them"
        )

    def _only(self, found: list[str]) -> str:
        """What to say where only containers were found."""
        if not found:
            return ""
        kind = type(self.modules[found[0]]).__name__
        return f": {found[0]!r} is a {kind}, which is never called itself; take {found[0] + '.*'!r}"


def _is_attention(module: nn.Module) -> bool:
    attention = nn.MultiheadAttention
    return isinstance(module, attention) and type(module).forward is attention.forward


def _refuse_scripted(modules: Mapping[str, nn.Module]) -> None:
    for name, module in modules.items():
        if isinstance(module, torch.jit.ScriptModule):
            raise CompileError(
                f"layer {name!r} is a {type(module).__name__}: hooks do not fire in scripted or "
                "traced modules; attach to the model before scripting or tracing it"
            )
