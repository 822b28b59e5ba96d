"""Jacobians of all chosen layers together, block of samples by block, by the cheapest route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from torchprobe.errors import MemoryBudgetError, SettingError, TorchprobeError
from torchprobe.sandbox import Sandbox
from torchprobe_slt.arguments import Arguments
from torchprobe_slt.differentiation import own
from torchprobe_slt.door import examine
from torchprobe_slt.jacobian import Jacobian, Jacobians
from torchprobe_slt.program import Program
from torchprobe_slt.readout import Readout
from torchprobe_slt.routes import Routes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor, nn

    from torchprobe import Layer
    from torchprobe_slt.door import Findings
    from torchprobe_slt.windows import WindowSpec

__all__ = ["ROUTES", "Sweep"]

ROUTES = ("auto", "push", "pull", "forward", "reverse")
"""The closed form from either end, automatic differentiation in either mode, or the cheapest."""

_CACHED = 12 << 20
"""Bytes of one block in closed form: what is multiplied next is still in the cache."""
_BLOCK = 128 << 20
"""Bytes of one block otherwise: enough samples for large products."""


class Sweep:
    """Jacobians of chosen layers of one model, for any number of batches.

    The first batch is looked at closely (`torchprobe_slt.door.examine`), and the Jacobians of its
    first sample are checked against gradients; a closed form that fails the check is not used.

    Args:
        model: any module differentiable in its input, in eval mode.
        layers: layers of a probe, or names of modules (``lstm[0]``, ``act@2``), whose outputs then
            have the sample axis first and nodes in the order in which they come.
        point: the layer by whose output to differentiate; the model's input by default.
        route: one of `ROUTES`.
        nodes: by layer, only these nodes.
        window: the receptive field of the positions, one for each position axis, for all layers or
            by name: rows are then (sample, position) pairs, nodes channels, and the input is the
            window.
        memory_budget: bytes that Jacobians may need at once; a quarter of the machine's memory by
            default.
        sample_axis: which axis of the input is the sample.
        block_bytes: bytes of one block; by default what is multiplied fastest.

    Raises:
        LayerNotFoundError: the model has no such layer.
        SettingError: an unknown route.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer | str],
        *,
        point: str | None = None,
        route: str = "auto",
        nodes: Mapping[str, Sequence[int]] | None = None,
        window: WindowSpec | None = None,
        memory_budget: int | None = None,
        sample_axis: int = 0,
        block_bytes: int | None = None,
    ) -> None:
        if route not in ROUTES:
            raise SettingError(f"route={route!r}; choose one of {', '.join(map(repr, ROUTES))}")
        chosen = {name: torch.as_tensor(list(each)) for name, each in (nodes or {}).items()}
        names = [each if isinstance(each, str) else each.name for each in layers]
        readouts = [
            Readout.of(each, chosen.get(name)) for each, name in zip(layers, names, strict=True)
        ]
        self.program = Program(model, readouts, point)
        self.route, self.window, self.sample_axis = route, window, sample_axis
        self.memory_budget = memory_budget or _quarter_of_memory()
        self.block_bytes = block_bytes
        self.used: dict[str, None] = {}
        """The routes taken so far."""
        self._findings: Findings | None = None
        self._checked: set[str] = set()
        self._unusable: dict[str, str] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Iterator[Jacobians]:
        """Jacobians for one batch, ``model(*args, **kwargs)``, a block of samples at a time.

        Raises:
            SettingError: the model cannot be differentiated sample by sample; says why.
            MemoryBudgetError: one sample's Jacobians exceed the budget; says what to choose
            instead.
        """
        return self.run(Arguments.of(args, kwargs, self.sample_axis))

    def run(self, arguments: Arguments) -> Iterator[Jacobians]:
        """The same for arguments that were put together already."""
        return self.blocks(self.open(arguments)) if arguments.n_samples else iter(())

    def blocks(self, routes: Routes) -> Iterator[Jacobians]:
        """The Jacobians of an opened batch, a block of samples at a time."""
        done, n = 0, len(routes.start)
        while done < n:
            with Sandbox(routes.start.device):
                block = self._block(routes, done)
            done = block.samples.stop
            yield block

    def open(self, arguments: Arguments) -> Routes:
        """The ways to the Jacobians of one batch, and what they cost; nothing is computed yet."""
        with Sandbox(arguments.input.device):
            arguments = arguments.detached()
            start = self.program.start(arguments)
            if self._findings is None:
                self._findings = examine(self.program, arguments, start)
            routes = Routes.of(self.program, arguments, start, self.window)
        self._unusable.update(routes.unusable)
        if routes.bytes_each > self.memory_budget:
            raise MemoryBudgetError(self._too_large(routes))
        return routes

    def own(self, arguments: Arguments, nodes: Tensor) -> Jacobian:
        """Jacobians of one node for each sample, another for every sample: [sample, 1, input].

        One backward pass gives them all, whatever the number of nodes; the output is that of all
        nodes. For one layer whose nodes see the whole input.
        """
        with Sandbox(arguments.input.device):
            arguments = arguments.detached()
            start = self.program.start(arguments)
            if self._findings is None:
                self._findings = examine(self.program, arguments, start)
            values, (output,) = own(self.program, arguments, start, nodes)
            at = output.gather(1, nodes[:, None])  # [sample, 1]
            through = (values @ start.flatten(1)[:, :, None])[:, :, 0]
            shape = tuple(start.shape[1:])
            return Jacobian(values, at - through, output, start.flatten(1), (1,), shape)

    @property
    def exact(self) -> bool:
        """Whether the network was found to be piecewise linear."""
        return self._findings is not None and self._findings.exact

    def _block(self, routes: Routes, first: int) -> Jacobians:
        """The next block by the cheapest route that works."""
        while True:
            route = self._choose(routes)
            part = slice(first, min(first + self._size(routes, route), len(routes.start)))
            try:
                found = routes.take(route, part)
            except torch.OutOfMemoryError:
                raise
            except (NotImplementedError, RuntimeError) as error:
                self._give_up(route, f"{type(error).__name__}: {_first_line(error)}", error)
                continue
            if route in self._checked or self._holds(routes, route, found, first):
                return self._jacobians(routes, route, part, found)

    def _holds(self, routes: Routes, route: str, found: list[Tensor], first: int) -> bool:
        """Whether a route's first Jacobians agree with gradients; it is not used again if not."""
        self._checked.add(route)
        if (
            first
            or self._findings is None
            or not routes.plain
            or self._findings.agrees([jacobian[0] for jacobian in found])
        ):
            return True
        self._give_up(route, "it disagrees with the gradients of the first sample", None)
        return False

    def _give_up(self, route: str, reason: str, error: Exception | None) -> None:
        """Note that a route cannot be used, or raise if it was asked for or was the last."""
        self._unusable[route] = reason
        left = {"forward", "reverse"} - self._unusable.keys()
        if self.route == route or not left:
            raise TorchprobeError(
                f"Jacobians by route {route!r} failed: {reason}. Choose route='auto', or layers "
                "before what cannot be differentiated"
            ) from error

    def _choose(self, routes: Routes) -> str:
        costs = {name: cost for name, cost in routes.flops.items() if name not in self._unusable}
        if self.route == "auto":
            return min(costs, key=lambda name: (costs[name], ROUTES.index(name)))
        if self.route not in costs:
            raise SettingError(
                f"route={self.route!r} is not possible here: {self._unusable.get(self.route, '')}; "
                f"possible are {', '.join(map(repr, costs))}"
            )
        return self.route

    def _size(self, routes: Routes, route: str) -> int:
        usual = _CACHED if route in ("push", "pull") else _BLOCK
        most = min(self.memory_budget, self.block_bytes or usual)
        return max(1, most // max(1, routes.bytes_each))

    def _jacobians(self, routes: Routes, route: str, part: slice, found: list[Tensor]) -> Jacobians:
        self.used[route] = None
        layers = {
            name: _jacobian(routes, number, part, values)
            for number, (name, values) in enumerate(zip(routes.windows, found, strict=True))
        }
        return Jacobians(layers, part, route, routes.flops, self.exact, self._notes(route))

    def _notes(self, route: str) -> tuple[str, ...]:
        closed = () if route in ("push", "pull") else ("push",)
        reasons = [
            self._unusable[name]
            for name in (*closed, "forward", "reverse")
            if name in self._unusable
        ]
        notes = [f"not used because {reason}" for reason in reasons]
        if not self.exact:
            notes.append("not piecewise linear: J and c are the tangent at each sample")
        return tuple(notes)

    def _too_large(self, routes: Routes) -> str:
        nodes = {n: routes.outputs[i].shape[1] for i, n in enumerate(routes.windows)}
        widest = max(nodes, key=lambda name: nodes[name])
        return (
            f"one sample's Jacobians need {routes.bytes_each:,} bytes ({sum(nodes.values()):,} "
            f"nodes, most of them in {widest!r}, by {routes.start[0].numel():,} inputs), more than "
            f"the budget of {self.memory_budget:,}. Choose fewer layers or nodes, "
            "positions='center', a window= of the input for layers with positions, a deeper "
            "point=, or raise memory_budget="
        )


def _jacobian(routes: Routes, number: int, part: slice, values: Tensor) -> Jacobian:
    name = list(routes.windows)[number]
    windows, output, start = routes.windows[name], routes.outputs[number][part], routes.start[part]
    shape, inputs = routes.node_shapes[name], start.flatten(1)
    input_shape: tuple[int, ...] = tuple(start.shape[1:])
    if windows is not None:
        output = output.unflatten(1, shape).movedim(1, -1).reshape(-1, shape[0])
        inputs, input_shape, shape = windows.inputs(start), windows.shape, shape[:1]
    through = (values @ inputs[:, :, None])[:, :, 0]  # [row, node]
    return Jacobian(values, output - through, output, inputs, shape, input_shape)


def _quarter_of_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().total // 4)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
