"""The ways to the Jacobians of one batch, what each costs, and the memory they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from torchprobe_slt.arguments import samples
from torchprobe_slt.differentiation import forward, reverse
from torchprobe_slt.tracing import Trace
from torchprobe_slt.windows import Directions, Windows

if TYPE_CHECKING:
    from torch import Tensor

    from torchprobe_slt.arguments import Arguments
    from torchprobe_slt.chain import Chain
    from torchprobe_slt.program import Program
    from torchprobe_slt.windows import WindowSpec

__all__ = ["Routes"]


@dataclass(frozen=True, eq=False)
class Routes:
    """One batch, ready to be differentiated."""

    program: Program
    arguments: Arguments
    start: Tensor
    """The point's value: [sample, ...]."""
    outputs: tuple[Tensor, ...]
    """Each layer's nodes: [sample, node]."""
    node_shapes: Mapping[str, tuple[int, ...]]
    """By layer, what its nodes are made of: (channel, *positions)."""
    windows: Mapping[str, Windows | None]
    """By layer, the part of the input that its positions see; None where nodes see all of it."""
    chain: Chain | None
    unusable: Mapping[str, str]
    """Routes that this batch does not have, and why."""
    orders: Mapping[str, Tensor | None]
    """By layer, where its nodes stand in its flat output; None where they are not simply there."""
    flops_before: Mapping[str, float]
    """By layer, floating point operations of one forward pass of one sample up to it."""

    @classmethod
    def of(
        cls, program: Program, arguments: Arguments, start: Tensor, window: WindowSpec | None
    ) -> Routes:
        """Run the model once and see what it is made of."""
        with Trace(start) as trace:
            found = program.outputs(arguments, start, trace)
        each = [
            (read.name, read, output) for read, output in zip(program.readouts, found, strict=True)
        ]
        orders = {name: read.index(output) for name, read, output in each}
        shapes = {name: read.shape(output) for name, read, output in each}
        inputs = tuple(start.shape[1:])
        chain = None if None in orders.values() else trace.chain()
        reason = trace.broken or "a layer is pooled, or is not a plain output of the chain"
        return cls(
            program,
            arguments,
            start,
            tuple(read(output) for _, read, output in each),
            shapes,
            {name: _windows(window, name, inputs, shape) for name, shape in shapes.items()},
            chain,
            {} if chain is not None else dict.fromkeys(("push", "pull"), reason),
            orders,
            {name: flops / len(start) for name, flops in trace.flops.items()},
        )

    @property
    def plain(self) -> bool:
        """Whether nodes see the whole input."""
        return all(windows is None for windows in self.windows.values())

    def take(self, route: str, part: slice) -> list[Tensor]:
        """Jacobians of some samples by a route: [row, node, input] each."""
        if route in ("push", "pull"):
            found = self._push(part) if route == "push" else self._pull(part)
            return [self._cut(n, jacobian) for n, jacobian in enumerate(found)]
        index = samples(len(self.start), part, self.start.device)
        arguments, start = self.arguments.rows(index), self.start[part]
        if route == "reverse":
            found = reverse(self.program, arguments, start)
            return [self._cut(n, jacobian) for n, jacobian in enumerate(found)]
        tangents = forward(self.program, arguments, start, self.directions)
        return [self._uncompressed(n, each) for n, each in enumerate(tangents)]

    @cached_property
    def directions(self) -> Directions:
        """What the forward route follows."""
        return Directions.of(tuple(self.start.shape[1:]), self.windows)

    @cached_property
    def flops(self) -> dict[str, float]:
        """Estimated floating point operations a sample, by route.

        The closed form multiplies matrices only. Forwards, every direction costs what the pass up
        to the last layer costs; in reverse, every node costs what the pass up to its layer costs.
        """
        before, counts = (
            self.flops_before,
            {n: self.outputs[i].shape[1] for i, n in enumerate(self.windows)},
        )
        costs = {}
        if self.chain is not None:
            costs["push"] = self.chain.push_flops(self.start[0].numel())
            costs["pull"] = self.chain.pull_flops(counts)
        costs["forward"] = len(self.directions) * max(before.values())
        costs["reverse"] = sum(counts[layer] * before[layer] for layer in counts)
        return costs

    @cached_property
    def bytes_each(self) -> int:
        """Bytes that the Jacobians of one sample need, by any route."""
        entries = self.start[0].numel()
        nodes = sum(output.shape[1] for output in self.outputs)
        windowed = all(windows is not None for windows in self.windows.values())
        return self.start.element_size() * nodes * (len(self.directions) if windowed else entries)

    def _push(self, part: slice) -> list[Tensor]:
        assert self.chain is not None
        found = self.chain.push(part)
        return [self._ordered(layer, found[layer], part) for layer in self.windows]

    def _pull(self, part: slice) -> list[Tensor]:
        assert self.chain is not None
        return [self._ordered(layer, self.chain.pull(layer, part), part) for layer in self.windows]

    def _ordered(self, layer: str, jacobian: Tensor, part: slice) -> Tensor:
        order = self.orders[layer]
        assert order is not None
        if len(order) < jacobian.shape[1] or bool((order.diff() != 1).any()):
            jacobian = jacobian[:, order]
        return jacobian.expand(len(self.start[part]), -1, -1)

    def _nth(self, number: int) -> Windows | None:
        return list(self.windows.values())[number]

    def _uncompressed(self, number: int, tangents: Tensor) -> Tensor:
        """[direction, sample, node] → [row, node, input]."""
        windows = self._nth(number)
        if windows is not None:
            return windows.cut(tangents, self.directions.periods)
        return tangents.permute(1, 2, 0)

    def _cut(self, number: int, jacobian: Tensor) -> Tensor:
        windows = self._nth(number)
        if windows is None:
            return jacobian
        return windows.cut(jacobian.permute(2, 0, 1), tuple(self.start.shape[1:]))


def _windows(
    spec: WindowSpec | None, layer: str, inputs: tuple[int, ...], nodes: tuple[int, ...]
) -> Windows | None:
    """The windows of a layer's positions; None where it has none or nothing was said of it."""
    along = spec.get(layer) if isinstance(spec, Mapping) else spec
    return None if along is None or len(nodes) == 1 else Windows.of(along, inputs, nodes)
