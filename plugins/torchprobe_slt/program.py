"""A model as a function of its input, or of an inner layer's output, to the nodes of its layers."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from torchprobe.errors import LayerNotFoundError, SettingError
from torchprobe.naming import aliases, canonical_names
from torchprobe.outputs import leaves
from torchprobe.patterns import Pattern
from torchprobe.wording import unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torchprobe_slt.arguments import Arguments
    from torchprobe_slt.readout import Readout
    from torchprobe_slt.tracing import Trace

__all__ = ["Program"]


class Program:
    """A model as a pure function: from a point in it to the nodes of layers behind that point.

    Hooks of its own, put on for one call and taken off again, catch the layers' outputs and put
    the point's value in its place; so it works inside `torch.func` transforms and leaves nothing on
    the model.

    Args:
        model: any module.
        readouts: the layers.
        point: the layer by whose output to differentiate, e.g. an embedding; the model's input
            where None.

    Raises:
        LayerNotFoundError: the model has no such layer.
    """

    def __init__(
        self, model: nn.Module, readouts: Sequence[Readout], point: str | None = None
    ) -> None:
        self.model = model
        self.readouts = tuple(readouts)
        self.point = None if point is None else Pattern.parse(point)
        self._modules = _by_name(model)
        for pattern in [*(readout.pattern for readout in self.readouts), self.point]:
            if pattern is not None and pattern.name not in self._modules:
                raise LayerNotFoundError(unknown("layer", pattern.name, self._modules))
        self.overwritten: set[str] = set()
        """Layers whose output something overwrites in place, and "" if it is the point's value."""

    def start(self, arguments: Arguments) -> Tensor:
        """The value by which to differentiate: [sample, ...].

        Raises:
            SettingError: it is not a floating tensor; says which point to choose.
        """
        if self.point is None:
            return self._differentiable(arguments.input, "the model's input")
        caught = _Catch(self, None)
        with caught:
            arguments.call(self.model)
        if caught.start is None:
            raise LayerNotFoundError(
                f"point {self.point.text!r} was not called in this forward pass"
            )
        value = caught.start.movedim(arguments.sample_axis, 0)
        return self._differentiable(value, f"the output of {self.point.text!r}")

    def outputs(
        self,
        arguments: Arguments,
        start: Tensor,
        trace: Trace | None = None,
    ) -> list[Tensor]:
        """What the layers deliver, as they deliver it, for a value of the point.

        Args:
            arguments: what the model is called with.
            start: the point's value, [sample, ...].
            trace: told of each layer's output at the moment it returns.
        """
        if "" in self.overwritten:
            start = start.clone()
        inside = self.point is not None
        caught = _Catch(self, start.movedim(0, arguments.sample_axis) if inside else None, trace)
        with caught, plain_kernels(self.model):
            (arguments if inside else arguments.with_input(start)).call(self.model)
        missing = [each.name for each in self.readouts if each.name not in caught.found]
        if missing:
            raise LayerNotFoundError(
                f"layer {missing[0]!r} delivered no tensor in this forward pass; choose layers "
                "that the model calls"
            )
        self.overwritten |= caught.overwritten(start)
        return [caught.found[readout.name] for readout in self.readouts]

    def nodes(self, arguments: Arguments, start: Tensor) -> tuple[Tensor, ...]:
        """The nodes of each layer, [sample, node], as a differentiable function of the point."""
        found = self.outputs(arguments, start)
        return tuple(read(output) for read, output in zip(self.readouts, found, strict=True))

    def listen(self, catch: Callable[..., Any], put: Callable[..., Any]) -> list[Any]:
        """Put hooks on the layers and the point; the handles."""
        names = {readout.pattern.name for readout in self.readouts}
        modules = {name: self._modules[name] for name in names}
        handles = []
        if self.point is not None:  # first, so that a layer that is the point delivers its value
            handles.append(self._modules[self.point.name].register_forward_hook(put))
        for name, module in modules.items():
            hook = _named(catch, name)
            handles.append(module.register_forward_hook(hook))
        return handles

    def _differentiable(self, value: Tensor, what: str) -> Tensor:
        if value.is_floating_point():
            return value.detach()
        raise SettingError(
            f"{what} is {value.dtype}, by which nothing can be differentiated; choose the layer "
            "that turns it into numbers as the input point: point='embedding'"
        )


class _Catch:
    """Hooks for one call: what the layers delivered, and the point's value put in place."""

    def __init__(
        self,
        program: Program,
        start: Tensor | None,
        trace: Trace | None = None,
    ) -> None:
        self.program, self.replacement, self.trace = program, start, trace
        self.start: Tensor | None = None
        self.found: dict[str, Tensor] = {}
        self._versions: dict[str, tuple[Tensor, int]] = {}
        self._calls: Counter[str] = Counter()
        self._thread = threading.get_ident()

    def __enter__(self) -> None:
        self._handles = self.program.listen(self.catch, self.put)

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def catch(self, name: str, output: Any) -> None:
        """Keep the parts of a module's output that were asked for."""
        if threading.get_ident() != self._thread:
            return
        with self.trace.aside() if self.trace else nullcontext():
            self._catch(name, output)

    def _catch(self, name: str, output: Any) -> None:
        self._calls[name] += 1
        for readout in self.program.readouts:
            pattern = readout.pattern
            if pattern.name != name or (pattern.call or 1) != self._calls[name]:
                continue
            for leaf in leaves(output):
                meant = leaf.path == pattern.path or not pattern.path
                if leaf.tensor is not None and meant and readout.name not in self.found:
                    self._keep(readout.name, leaf.tensor)

    def _keep(self, name: str, tensor: Tensor) -> None:
        if self.trace is not None:
            self.trace.mark(name, tensor)
        if name in self.program.overwritten:
            tensor = tensor.clone()
        self.found[name] = tensor
        self._versions[name] = tensor, version(tensor)

    def put(self, module: nn.Module, _: Any, output: Any) -> Any:
        """Note the point's own value, or give another in its place."""
        if threading.get_ident() != self._thread or self.start is not None:
            return None
        if not isinstance(output, Tensor):
            raise SettingError(
                f"the point {type(module).__name__} returns a {type(output).__name__}; choose a "
                "layer that returns one tensor"
            )
        self.start = output
        return self.replacement

    def overwritten(self, start: Tensor) -> set[str]:
        """The layers whose output has changed since it was caught."""
        changed = {name for name, (tensor, at) in self._versions.items() if version(tensor) != at}
        return changed | ({""} if version(start) else set())


def version(tensor: Tensor) -> int:
    """How often a tensor was written to in place."""
    return tensor._version  # noqa: SLF001 - torch's documented name


@contextmanager
def plain_kernels(model: nn.Module) -> Iterator[None]:
    """Use kernels that have derivatives of every kind: not the fused ones of attention and RNNs."""
    backends = torch.backends
    before = backends.mha.get_fastpath_enabled(), backends.mkldnn.enabled, backends.cudnn.enabled
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    backends.mha.set_fastpath_enabled(False)
    if recurrent:
        backends.mkldnn.enabled = backends.cudnn.enabled = False  # type: ignore[assignment]
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        backends.mha.set_fastpath_enabled(before[0])
        if recurrent:
            backends.mkldnn.enabled, backends.cudnn.enabled = before[1:]


def _by_name(model: nn.Module) -> dict[str, nn.Module]:
    """Modules by every name they have."""
    modules = canonical_names(model)
    others = {name: modules[first] for first, names in aliases(model).items() for name in names}
    return {**modules, **others}


def _named(catch: Callable[[str, Any], None], name: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ARG001
        catch(name, output)

    return hook
