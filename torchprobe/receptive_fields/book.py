"""The maps of a model's layers: as the user states them, else as measured once they are needed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from torchprobe.axes import Axes
from torchprobe.errors import LabelError, LayoutError, SettingError
from torchprobe.matching import Matching, Rules
from torchprobe.naming import canonical_names, input_name, root_name
from torchprobe.outputs import leaves
from torchprobe.patterns import Pattern
from torchprobe.positions import Map, PositionsMap
from torchprobe.receptive_fields.measure import Measured, measure
from torchprobe.receptive_fields.source import axes_of_input, main_input, sizes_of_input
from torchprobe.selection import Modules

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.nn.utils.rnn import PackedSequence

    from torchprobe.labels import Labels
    from torchprobe.layer import Layer
    from torchprobe.layouts import Layouts

__all__ = ["Book", "Stated"]

Stated: TypeAlias = "Map | str | Mapping[str, Map | str]"
"""What a user says of a layer: a map, "identity" or "ratio", or one of these by axis."""

_WORDS = {"identity": Map(1), "ratio": Map(None)}


class _Said(NamedTuple):
    pattern: Pattern
    layers: frozenset[str]
    maps: Mapping[str, Map]
    """By axis; "" for all."""


class Book:
    """What is known of the positions of one model's layers.

    Measured is once for each kind of input, when something is first asked that sizes do not
    answer, and kept for all passes of a probe.

    Args:
        model: the model.
        stated: by layer name or glob, what the user says.
        rules: how labels are matched.

    Raises:
        LayerNotFoundError: a key matches no layer.
        SettingError: something else than a map, "identity" or "ratio".
    """

    def __init__(self, model: nn.Module, stated: Mapping[str, Stated], rules: Rules) -> None:
        self.model, self.rules = model, rules
        self.root, self.input = root_name(model), input_name(model)
        found = Modules(model) if stated else None
        self._said = [_said(found, key, what) for key, what in stated.items()] if found else []
        self._said.sort(key=lambda said: said.pattern.is_glob)  # names before globs
        self._measured: dict[tuple[object, ...], Measured | LayoutError] = {}
        self._lock = threading.RLock()

    def opened(
        self, call: tuple[nn.Module, Any], layouts: Layouts, layers: Mapping[str, Layer]
    ) -> Matching:
        """The matching of one forward pass of the model, called with these (args, kwargs)."""
        current = _Pass(self, call, layouts, layers)
        return Matching(current.sizes, current.map_of, self.rules, current.axes)

    def closed(self, labels: Labels, layouts: Layouts, output: Any) -> None:
        """The pass that these labels are about has ended with this output.

        Raises:
            LabelError: labels that were taken for those of the output are not.
        """
        matching = labels.matching
        for leaf in leaves(output) if matching else ():
            if leaf.tensor is None or matching is None:
                continue
            shape = tuple(leaf.tensor.shape)
            try:
                axes = leaf.axes or layouts.axes(self.root, leaf.path, self.model, shape)
            except LayoutError:
                continue
            found = Axes.parse(axes)
            if found.positions:
                matching.end(tuple(found.size(shape, axis) for axis in found.positions))
                return

    def stated(
        self, layer: str, axes: tuple[str, ...], inputs: tuple[str, ...]
    ) -> PositionsMap | None:
        """What the user says of a layer with these axes; None where nothing."""
        part = Pattern.parse(layer)
        for pattern, names, maps in self._said:
            if part.name in names and pattern.matches_part(part.path, part.call or 0):
                return _stated_map(layer, axes, inputs, maps)
        return None

    def known(self, current: _Pass) -> Measured | None:
        """What was measured for inputs of this kind, so far."""
        found = self._measured.get(current.kind)
        return found if isinstance(found, Measured) else None

    def measured(self, current: _Pass) -> Measured:
        """What was measured, or is now.

        Raises:
            LayoutError: it cannot be.
        """
        with self._lock:
            found = self._measured.get(current.kind)
            if isinstance(found, Measured) and not found.holds(current.sizes()):
                found = None
            if found is None:
                found = self._measured[current.kind] = self._measure(current)
        if isinstance(found, LayoutError):
            raise found
        return found

    def _measure(self, current: _Pass) -> Measured | LayoutError:
        module, inputs = current.call
        modules, axes_of = canonical_names(self.model), current.layouts.axes
        try:
            return measure(module, modules, inputs, current.axes(), axes_of)
        except LayoutError as error:
            return error


@dataclass
class _Pass:
    """One forward pass, as far as positions go."""

    book: Book
    call: tuple[nn.Module, Any]
    layouts: Layouts
    layers: Mapping[str, Layer]
    _maps: dict[str, PositionsMap] = field(default_factory=dict)
    """Those asked for: every layer and grouping of a pass asks again."""
    _output: PositionsMap | None = None
    """That of the output, as it was measured."""

    @cached_property
    def leaf(self) -> Tensor | PackedSequence | None:
        """The input among the call's arguments."""
        return main_input(self.call[1])

    @property
    def kind(self) -> tuple[object, ...]:
        """Inputs of one kind are measured once."""
        leaf = self.leaf
        return type(leaf), getattr(leaf, "ndim", 0), str(getattr(leaf, "dtype", ""))

    def axes(self) -> tuple[str, ...]:
        """The axes of the input."""
        known = self.book.known(self)
        if known is not None:
            return known.axes
        if self.leaf is None:
            raise LayoutError("the model is called without a tensor that has positions")
        return axes_of_input(self.leaf, self._layout)

    def _layout(self, tensor: Tensor) -> Axes:
        shape = tuple(tensor.shape)
        return self.layouts.axes(self.book.input, "", self.book.model, shape)

    def sizes(self) -> dict[str, int]:
        """Positions of the input, by axis."""
        try:
            return {} if self.leaf is None else sizes_of_input(self.leaf, self.axes())
        except LayoutError as error:
            raise LabelError(str(error)) from error

    def map_of(self, name: str) -> PositionsMap:
        """The map of a layer, or of the "output".

        Raises:
            LabelError: nothing was stated, and it cannot be measured.
        """
        if name not in self._maps:
            self._maps[name] = self._map_of(name)
        return self._maps[name]

    def _map_of(self, name: str) -> PositionsMap:
        inputs = tuple(self.sizes())
        layer = self.layers.get(name)
        axes = layer.axes.positions if layer else inputs
        if name == self.book.input:
            return PositionsMap(name, inputs, inputs, (Map(field=1),) * len(inputs))
        place = self.book.root if name == "output" else name
        return self.book.stated(place, axes, inputs) or self._measured(name)

    def _measured(self, name: str) -> PositionsMap:
        try:
            maps = self.book.measured(self).layers
        except LayoutError as error:
            raise LabelError(f"{error}. {_REMEDY.format(name)}") from error
        if self._output is None:
            ends = (each for key, each in maps.items() if Pattern.parse(key).name == self.book.root)
            self._output = next(ends, PositionsMap("output", (), (), ()))
        if name == "output":
            return self._output
        if name not in maps:
            what = "how its positions lie over the input's is not known"
            raise LabelError(f"{what}. {_REMEDY.format(name)}")
        return replace(maps[name], output=self._output)


_REMEDY = (
    "State it: Probe(positions={{{0!r}: tp.positions.Map(stride, offset, field)}}), 'identity' or "
    "'ratio'"
)


def _said(modules: Modules, key: str, what: Stated) -> _Said:
    pattern = Pattern.parse(key, modules.names)
    if pattern.exclude:
        raise SettingError(f"positions: the key {key!r} excludes layers; name those it is about")
    given = what if isinstance(what, Mapping) else {"": what}
    maps = {axis: _map(key, each) for axis, each in given.items()}
    return _Said(pattern, frozenset(modules.meant(pattern)), maps)


def _map(key: str, what: Map | str) -> Map:
    if isinstance(what, Map):
        return what
    if what not in _WORDS:
        raise SettingError(
            f"positions={{{key!r}: {what!r}}}; give tp.positions.Map(stride, offset, field), "
            "'identity' or 'ratio', or a dictionary of these by axis"
        )
    return _WORDS[what]


def _stated_map(
    layer: str, axes: tuple[str, ...], inputs: tuple[str, ...], maps: Mapping[str, Map]
) -> PositionsMap:
    wrong = [axis for axis in maps if axis and axis not in axes]
    if wrong:
        raise LabelError(
            f"positions of layer {layer!r} are stated along {wrong[0]!r}, but its positions run "
            f"along {', '.join(axes) or 'nothing'}"
        )
    rest = [axis for axis in inputs if axis not in axes]
    along = [axis if axis in inputs else (rest.pop(0) if rest else None) for axis in axes]
    mine = tuple(maps.get(axis, maps.get("", Map())) for axis in axes)
    return PositionsMap(layer, axes, tuple(along), mine, note="as stated")
