"""What the layers of a model make of changed inputs: which of their positions change."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import torch

from torchprobe.axes import Axes
from torchprobe.errors import LayoutError
from torchprobe.outputs import Leaf, leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

__all__ = ["Tap"]

_CALLS = 16
"""Calls of one module in a forward pass that are looked at; the probe's default."""

_NOISE = 8
"""How many times what two equal samples differ by counts as a change, where they differ at all
(kernels that add up in an order of their own)."""


class Tap:
    """Hooks on all modules that compare samples with the first of their batch.

    The last must be the same as the first: by it, what differs without reason is known.

    Args:
        modules: by canonical name.
        axes_of: (name, path, module, shape, call) → axes; `LayoutError` where unknown.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        axes_of: Callable[[str, str, nn.Module, tuple[int, ...], int | None], Axes],
    ) -> None:
        self.modules, self.axes_of = modules, axes_of
        self.axes: dict[str, tuple[str, ...]] = {}
        """By layer, the names of its position axes, in the order of execution."""
        self.whole: dict[str, Axes] = {}
        """By module that returns one tensor with positions, all of its axes."""
        self.met: dict[tuple[int, ...], tuple[str, ...]] = {}
        """By shape, the names of all axes, of the first layer of this shape."""
        self.nan = False
        """Whether inputs are replaced by NaN, so that a change is a NaN."""
        self._parts: dict[str, list[Tensor]] = {}
        self._calls: Counter[str] = Counter()
        self._expected, self._compares = 1, True
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
        for name, module in self.modules.items():

            def hook(module: nn.Module, _: Any, output: Any, name: str = name) -> None:
                self._returned(name, module, output)

            self._handles.append(module.register_forward_hook(hook))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def listen(self, call: Callable[[], None], n: int) -> None:
        """Run the model once on a batch of ``n``."""
        self._calls.clear()
        self._expected = n
        call()

    def shapes(self, call: Callable[[], None]) -> dict[str, tuple[int, ...]]:
        """By layer, how many positions it has along each axis for some input of one sample."""
        self._parts, self._compares = {}, False
        self.listen(call, 1)
        return {name: tuple(parts[0].shape[2:]) for name, parts in self._parts.items()}

    def changes(self, calls: list[Callable[[], None]], n: int) -> dict[str, Tensor]:
        """By layer, which positions change: bool [sample, *positions], for batches of ``n``.

        With one sample a call, the calls make up the batch.
        """
        self._parts, self._compares = {}, n > 1
        for call in calls:
            self.listen(call, n)
        if n > 1:
            return {name: parts[0] for name, parts in self._parts.items()}
        whole = {name: p for name, p in self._parts.items() if len(p) == len(calls)}
        same = {n: p for n, p in whole.items() if len({part.shape for part in p}) == 1}
        return {name: self._changed(torch.cat(parts)) for name, parts in same.items()}

    def _returned(self, name: str, module: nn.Module, output: Any) -> None:
        call = self._calls[name]
        self._calls[name] += 1
        if call >= _CALLS:
            return
        for leaf in leaves(output):
            layer = f"{name}{leaf.path}" + (f"@{call + 1}" if call else "")
            canonical = self._canonical(name, module, leaf, call, layer)
            if canonical is not None:
                values = self._changed(canonical) if self._compares else canonical.clone()
                self._parts.setdefault(layer, []).append(values)

    def _canonical(
        self, name: str, module: nn.Module, leaf: Leaf, call: int, layer: str
    ) -> Tensor | None:
        """[sample, channel, *positions], None where a layer has none or is not understood."""
        if leaf.tensor is None or leaf.tensor.ndim < 2:  # noqa: PLR2004 - channels and positions
            return None
        try:
            axes = self._axes(name, module, leaf, call)
        except LayoutError:
            return None
        self.met.setdefault(tuple(leaf.tensor.shape), axes.names)
        canonical = axes.canonical(leaf.tensor.detach())
        if canonical.ndim < 3 or canonical.shape[0] != self._expected:  # noqa: PLR2004
            return None
        self.axes[layer] = axes.positions
        if layer == name:
            self.whole[name] = axes
        return canonical

    def _axes(self, name: str, module: nn.Module, leaf: Leaf, call: int) -> Axes:
        if leaf.axes:
            return Axes.parse(leaf.axes)
        assert leaf.tensor is not None
        return self.axes_of(name, leaf.path, module, tuple(leaf.tensor.shape), call)

    def _changed(self, values: Tensor) -> Tensor:
        """[sample, channel, *positions] → bool [sample, *positions], beside the first sample."""
        base = values[:1]
        if self.nan:
            return (values.isnan() & ~base.isnan()).any(1).cpu()
        difference = values != base
        if bool(difference[-1].any()):  # equal samples differ: NaN, or an order of adding up
            apart = (values - base).abs().nan_to_num(0.0)
            return (apart.amax(1) > _NOISE * apart[-1].max()).cpu()
        return difference.any(1).cpu()
