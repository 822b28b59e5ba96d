"""Axes that the user or a plugin says, by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from torchprobe.axes import Axes
from torchprobe.errors import LayoutError, SettingError
from torchprobe.patterns import Pattern
from torchprobe.selection import Modules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

__all__ = ["Given", "Plugin"]

Plugin: TypeAlias = "Callable[[str, nn.Module, tuple[int, ...]], str | None]"


class _Said(NamedTuple):
    pattern: Pattern
    layers: frozenset[str]
    axes: Axes


class Given:
    """What was said about axes: the user's word first, then a plugin's.

    Raises:
        LayerNotFoundError: a key matches no layer.
        LayoutError: axes that are none.
        SettingError: a key excludes.
    """

    def __init__(
        self, model: nn.Module, user: Mapping[str, str | Axes], plugin: Plugin | None
    ) -> None:
        modules = Modules(model)
        self.input_name, self.root_name = modules.input_name, modules.root_name
        self._plugin = plugin
        self._said = [_said(modules, key, axes) for key, axes in user.items()]
        self._said.sort(key=lambda said: said.pattern.is_glob)  # names before globs
        self._met: dict[str, list[str]] = {}
        """By key, the shapes that its layers delivered and it did not fit."""
        self._used: set[str] = set()

    def user(
        self, name: str, path: str, call: int | None, shape: tuple[int, ...], *, main: bool
    ) -> Axes | None:
        """What the user says of one part of a layer's output.

        A key without a part means the output proper: all of it, or the first of several. A glob
        speaks only of outputs with as many axes as it names.
        """
        for pattern, layers, axes in self._said:
            if name not in layers or not (pattern.path or main):
                continue
            right_rank = axes.ndim == len(shape) or not pattern.is_glob
            if pattern.matches_part(path, call) and right_rank:
                self._used.add(pattern.text)
                return axes
            self._met.setdefault(pattern.text, []).append(f"{name}{path} {shape}")
        return None

    def plugin(self, name: str, module: nn.Module, shape: tuple[int, ...]) -> Axes | None:
        """What a plugin says of a layer's output."""
        said = self._plugin(name, module, shape) if self._plugin else None
        return None if said is None else Axes.parse(said)

    def check_used(self) -> None:
        """Raise `LayoutError` for a key that fitted nothing that was delivered."""
        for pattern, layers, axes in self._said:
            if pattern.text in self._used:
                continue
            met = ", ".join(self._met.get(pattern.text, [])[:4])
            what = f"delivered {met}" if met else "did not run"
            raise LayoutError(
                f"axes={{{pattern.text!r}: {str(axes)!r}}} fits nothing: {_some(layers)} {what}; "
                "name every axis of what a layer delivers, or leave this key out"
            )


def _said(modules: Modules, key: str, axes: str | Axes) -> _Said:
    pattern = Pattern.parse(key, modules.names)
    if pattern.exclude:
        raise SettingError(f"axes: the key {key!r} excludes layers; name the layers it is about")
    return _Said(pattern, frozenset(modules.meant(pattern)), Axes.parse(axes))


def _some(layers: frozenset[str]) -> str:
    first = min(layers)
    return f"{first!r}" if len(layers) == 1 else f"{first!r} and {len(layers) - 1} more"
