"""The axes of every layer of one model."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from torchprobe import compat
from torchprobe.axes import Axes
from torchprobe.errors import LayoutError
from torchprobe.layouts.atoms import Label, Strength, fresh, known, relabel, unite
from torchprobe.layouts.flow import Flow
from torchprobe.layouts.given import Given, Plugin
from torchprobe.layouts.rules import Rule, input_rule, keeps_leading, output_rule, unknown
from torchprobe.layouts.settle import contradictions, settle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from torchprobe.layouts.atoms import Axis
    from torchprobe.outputs import Leaf

__all__ = ["Layouts"]


_MOST_CALLS = 64
"""Calls of one module that are told apart; a loop over time may make thousands of them."""
_OF_IMAGES = {"depth", "height", "width"}
"""Two-dimensional convolutions run over heads and tokens, too: these names may be wrong there."""


class _Seen(NamedTuple):
    """What was learnt of one part of a layer's output in one call."""

    axes: list[Axis]
    rule: Rule
    shape: tuple[int, ...]
    given: Axes | None


class _Pass(threading.local):
    """One forward pass of one thread."""

    def __init__(self) -> None:
        self.flow = Flow()
        self.running: list[str] = []
        self.calls: Counter[str] = Counter()


class Layouts:
    """Which axis of every layer's output is which.

    During one forward pass, `enter` and `leave` are told of every module. From the outermost
    `enter` to its `leave` the axes of all tensors are followed through every operation (see
    `Flow`), so that what is known at one place is known wherever the same axes turn up. In order
    of authority:

    1. the user's ``axes``, 2. a plugin's ``torchprobe_layout``: they also say what later and
    earlier tensors with the same axes are;
    3. the module's type, where it leaves no doubt: a convolution's output, ``batch_first``, the
    channels of a linear layer;
    4. the data flow: what the maker of an axis called it; else what modules that it reaches, even
    later ones, call it, the most frequent name first;
    5. what is usual after a module of this type: ``sample token channel`` after a linear layer.

    Where a sample axis and a position are confused by equally trusted modules, or an axis stays
    unknown, `axes` raises. Sizes never decide.

    Args:
        model: the model.
        user: axes by layer name or glob, for example ``{"lstm[0]": "time sample channel"}``.
        plugin: answers (name, module, shape) with axes or None.

    Raises:
        LayerNotFoundError: a key of ``user`` matches no layer.
        LayoutError: a value of ``user`` names no axes.

    Example:
        >>> import torch
        >>> from torchprobe.outputs import leaves
        >>> conv = torch.nn.Conv1d(2, 3, 5)
        >>> layouts, x = Layouts(conv), torch.zeros(4, 2, 9)
        >>> layouts.enter("model", conv, [x])
        >>> layouts.leave("model", conv, [x], list(leaves(conv(x))))
        >>> print(layouts.axes("model", "", conv, (4, 3, 5)))
        sample channel time
    """

    def __init__(
        self,
        model: nn.Module,
        user: Mapping[str, str | Axes] | None = None,
        plugin: Plugin | None = None,
    ) -> None:
        self._given = Given(model, user or {}, plugin)
        self._pass = _Pass()
        self._seen: dict[tuple[str, str], dict[int, _Seen]] = {}

    def enter(self, name: str, module: nn.Module, inputs: Sequence[Tensor]) -> None:
        """A module is about to run on these tensors; the outermost one starts following axes."""
        current = self._pass
        if not current.running:
            if compat.unsafe_context():
                return
            current.calls.clear()
            current.flow.start()
        current.running.append(name)
        if name == self._given.root_name and len(current.running) == 1:
            self._see_inputs(module, inputs)
        for index, tensor in enumerate(inputs):
            rule = input_rule(module, index, tensor.ndim)
            _claim(current.flow.axes(tensor), _labels(rule), name)

    def leave(
        self, name: str, module: nn.Module, inputs: Sequence[Tensor], leaves: Sequence[Leaf]
    ) -> None:
        """A module has returned these tensors; with the outermost one, following ends."""
        current = self._pass
        if name not in current.running:
            return
        input_rank = inputs[0].ndim if inputs else None
        delivered = [leaf for leaf in leaves if leaf.tensor is not None]
        for leaf in delivered:
            assert leaf.tensor is not None
            rule = output_rule(module, leaf.path, leaf.tensor.ndim, input_rank)
            if leaf.axes:
                rule = Rule(tuple(leaf.axes.split()), tuple(leaf.axes.split()))
            elif leaf is delivered[0] and inputs:
                _bridge(module, current.flow.axes(inputs[0]), current.flow.axes(leaf.tensor), rule)
            self._see(name, leaf.path, module, leaf.tensor, rule, main=leaf is delivered[0])
        current.calls[name] += 1
        while current.running.pop() != name:  # left by an exception that the model caught
            pass
        if not current.running:
            current.flow.stop()

    def forget(self) -> None:
        """The forward pass is over, well or badly: nothing is followed, no tensor known."""
        self._pass.flow.forget()
        self._pass.running.clear()

    def check_used(self) -> None:
        """Raise `LayoutError` where the user gave axes for what no layer has delivered."""
        self._given.check_used()

    def axes(
        self,
        name: str,
        path: str,
        module: nn.Module,
        shape: tuple[int, ...],
        call: int | None = None,
    ) -> Axes:
        """The axes of one part of a layer's output.

        Args:
            name: canonical name, or that of the model's input.
            path: "" or the part, as `torchprobe.outputs.leaves` gives it.
            module: the module; for the input, the model.
            shape: its shape; with another number of axes than in the pass that was followed, only
                the user, plugins and the module's type are asked.
            call: which call of one forward pass, counted from 0; None for whichever.

        Raises:
            LayoutError: the axes are unknown or contradictory; the message names the argument
                that settles it.
        """
        kind = "" if name == self._given.input_name else type(module).__name__
        of = _Part(name, path, tuple(shape), kind)
        met = self._met(of, call) or [self._unseen(of, module, call)]
        found = {_resolve(seen, of) for seen in met}
        if len(found) > 1:
            told = " and ".join(sorted(repr(str(axes)) for axes in found))
            raise LayoutError(
                f"layer {of} is called several times, with axes {told}; pass axes={{{name!r}: "
                f"'...'}} if one naming is right for all, or probe single calls: '{name}@2'"
            )
        return found.pop()

    def _see_inputs(self, module: nn.Module, inputs: Sequence[Tensor]) -> None:
        for index, tensor in enumerate(inputs):
            path = "" if index == 0 else f"[{index}]"
            rule = unknown(tensor.ndim)
            self._see(self._given.input_name, path, module, tensor, rule, main=index == 0)

    def _see(
        self, name: str, path: str, module: nn.Module, tensor: Tensor, rule: Rule, *, main: bool
    ) -> None:
        """Note what is known of a tensor's axes, and tell it to all that share them."""
        flow, shape = self._pass.flow, tuple(tensor.shape)
        call, axes = self._pass.calls[name], flow.axes(tensor)
        given = self._given.user(name, path, call, shape, main=main)
        if given is None:
            given = self._given.plugin(name, module, shape)
        if call < _MOST_CALLS:
            self._seen.setdefault((name, path), {})[call] = _Seen(axes, rule, shape, given)
        if given is not None and given.ndim == len(shape):
            labels: list[Label | None] = [Label(each, Strength.GIVEN) for each in given.names]
        else:
            labels = settle(axes, rule)
        _claim(axes, labels, name)
        flow.name(tensor, _renamed(axes, labels))

    def _met(self, of: _Part, call: int | None) -> list[_Seen]:
        """What was learnt of this call, or of all; a tensor may come alone or first of several."""
        also = {"": "[0]", "[0]": ""}.get(of.path, of.path)
        calls = self._seen.get((of.name, of.path)) or self._seen.get((of.name, also), {})
        alike = {at: seen for at, seen in calls.items() if len(seen.shape) == len(of.shape)}
        return [alike[call]] if call in alike else list(alike.values())

    def _unseen(self, of: _Part, module: nn.Module, call: int | None) -> _Seen:
        """What can be said of a part that was not met with so many axes."""
        main = of.path in ("", "[0]")
        given = self._given.user(of.name, of.path, call, of.shape, main=main)
        if given is None:
            given = self._given.plugin(of.name, module, of.shape)
        is_input = of.name == self._given.input_name
        rank = len(of.shape)
        rule = unknown(rank) if is_input else output_rule(module, of.path, rank)
        return _Seen(fresh(of.shape), rule, of.shape, given)


class _Part(NamedTuple):
    """One part of a layer's output, for messages."""

    name: str
    path: str
    shape: tuple[int, ...]
    kind: str

    def __str__(self) -> str:
        return f"'{self.name}{self.path}'" + (f" ({self.kind})" if self.kind else "")


def _labels(rule: Rule) -> list[Label | None]:
    """A rule's names and how far each can be trusted."""
    sure = [Label(name, Strength.SURE) if name else None for name in rule.sure]
    usual = [Label(name, Strength.USUAL) if name else None for name in rule.usual]
    return [one or other for one, other in zip(sure, usual, strict=True)]


def _claim(axes: Sequence[Axis], labels: Sequence[Label | None], source: str) -> None:
    """Tell what an axis is called to all that share it; merged axes are told nothing."""
    for axis, label in zip(axes, labels, strict=True):
        if label and label.strength > Strength.GUESSED and len(axis) == 1:
            doubtful = label.strength == Strength.SURE and label.name in _OF_IMAGES
            axis[0].role.claim(Label(label.name, Strength.USUAL) if doubtful else label, source)


def _renamed(axes: Sequence[Axis], labels: Sequence[Label | None]) -> list[Axis]:
    """Axes under the names that their module gives them."""
    return [_named(axis, label) for axis, label in zip(axes, labels, strict=True)]


def _named(axis: Axis, label: Label | None) -> Axis:
    before = known(axis)
    if label is None or label.strength == Strength.GUESSED:
        return axis
    if before and before.name == "channel" != label.name:
        label = Label(label.name, Strength.SURE)  # whatever it is, its channels are others
    return relabel(axis, label)


def _bridge(module: nn.Module, before: Sequence[Axis], after: Sequence[Axis], rule: Rule) -> None:
    """Unite axes of input and output that a module keeps, where its kernel was not followed."""
    if keeps_leading(module) and len(before) == len(after):
        for one, other in zip(before[:-1], after[:-1], strict=True):
            if known(other) is None:
                unite([one, other])
    names = input_rule(module, 0, len(before)).sure
    for name in set(names) & set(rule.sure) - {None, "channel"}:
        unite([before[names.index(name)], after[rule.sure.index(name)]])


def _resolve(seen: _Seen, of: _Part) -> Axes:
    if seen.given is not None:
        seen.given.check(of.shape, f"{of.name}{of.path}")
        return seen.given
    names = [label.name if label else None for label in settle(seen.axes, seen.rule)]
    if None in names or "channel" not in names:
        raise LayoutError(_unsettled(of, names, contradictions(seen.axes)))
    return Axes.parse([name for name in names if name])


def _unsettled(of: _Part, names: Sequence[str | None], contradicted: Sequence[str]) -> str:
    known = " ".join(name or "?" for name in names)
    why = f"; {contradicted[0]}" if contradicted else ""
    return (
        f"which axis is which in the output of layer {of} is not known: shape {of.shape}, of which "
        f"its type and the data flow tell {known!r}{why}; pass "
        f"axes={{'{of.name}{of.path}': '{_example(names)}'}} with your names, exactly one of them "
        "'channel', or leave the layer out"
    )


def _example(names: Sequence[str | None]) -> str:
    """A complete naming to start from."""
    free = [name for name in ("sample", "channel", "time", "height", "width") if name not in names]
    if "channel" not in names and None not in names:
        return " ".join([*(name or "" for name in names[:-1]), "channel"])
    if "channel" in free and len([name for name in names if name is None]) == 1:
        free = ["channel"]
    filled = (name or (free.pop(0) if free else f"axis_{at}") for at, name in enumerate(names))
    return " ".join(filled)
