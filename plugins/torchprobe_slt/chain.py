"""Whether a model is a chain of linear maps and rectifiers (or other elementwise functions)."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from torchprobe import compat
from torchprobe.naming import canonical_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torchprobe_slt.point import Point
    from torchprobe_slt.spots import Spot

__all__ = ["Chain", "Link", "chain_of"]

_SAME = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.AlphaDropout, nn.Flatten)
_ELEMENTWISE = (
    nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish,
    nn.LogSigmoid,
)  # fmt: skip

_CLOSE = {torch.float64: 1e-12, torch.float32: 1e-5}
"""How far, beside the largest value, a module may be from what it gave; rounding, no more."""
_AGAIN = 2
"""Samples on which the modules are run again."""


@dataclass(eq=False)
class Link:
    """A step of a chain: a linear map, or a factor for each unit."""

    weight: Tensor | None = None
    """[unit, unit before]; None where the step is elementwise."""
    slope: Tensor | None = None
    """The step's derivative, [sample, unit] or [1, unit]; None where it is linear or 1."""
    switches: bool = False
    """Whether the slopes are 0 and 1."""
    read: list[Spot] = field(default_factory=list)
    """Layers that put out what stands after this step."""

    def at(self, samples: slice) -> Tensor:
        """The slopes of some samples: [sample, unit], or [1, unit] where all are alike."""
        assert self.slope is not None
        return self.slope if len(self.slope) == 1 else self.slope[samples]

    def of(self, sample: int) -> Tensor:
        """The slopes of one sample: [unit]."""
        return self.at(slice(sample, sample + 1))[0]

    @cached_property
    def density(self) -> float:
        """The share of units that are not switched off."""
        return 1.0 if self.slope is None else float((self.slope != 0).double().mean())


@dataclass(frozen=True, eq=False)
class Chain:
    """J_l = diag(slope)·W_l·J_(l−1), for the samples of one batch."""

    links: Sequence[Link]
    n_samples: int
    n_inputs: int
    like: Tensor
    """Of the dtype and on the device of all that is computed."""


def chain_of(point: Point) -> Chain | None:
    """The chain that a model is at these samples; None where it is none, or another kind of model.

    The data flow is followed: each module must be given the very tensor that the one before put
    out, unchanged since, and each layer that is looked at must put out the tensor of the last
    module that ran. That the modules do what they say (nobody's hook changes it) is seen by running
    them again, one after the other, on two samples.
    """
    if point.embedded or not _flat(point):
        return None
    trace = _Trace(point)
    with ExitStack() as stack:
        for name, module in canonical_names(point.model).items():
            if _is_leaf(module):
                stack.callback(module.register_forward_pre_hook(trace.enter).remove)
            handle = module.register_forward_hook(trace.leaving(name))
            stack.callback(handle.remove)
        with torch.no_grad():
            point.output(trace.flow.tensor)
    if trace.broken or trace.wanted or not trace.confirmed():
        return None
    columns = point.spots[0].columns
    if columns is None:
        return Chain(trace.links, len(point), point.x[0].numel(), point.x)
    links = _narrowed(trace.links, columns[0])
    return Chain(links, len(point), columns.shape[1], point.x) if links else None


def _flat(point: Point) -> bool:
    """Whether layers have no positions and all see the same inputs, of every sample."""
    columns = [spot.columns for spot in point.spots]
    if any(spot.layer.axes.names != ("sample", "channel") for spot in point.spots):
        return False
    if all(each is None for each in columns):
        return True
    first = columns[0]
    if first is None or not bool(((first == first[:1]) & (first >= 0)).all()):
        return False
    return all(each is not None and each.equal(first) for each in columns)


def _narrowed(links: list[Link], columns: Tensor) -> list[Link] | None:
    """The links for some inputs only; None where something comes before the first linear map."""
    first = next((at for at, link in enumerate(links) if link.weight is not None), len(links))
    if first == len(links) or any(each.slope is not None or each.read for each in links[:first]):
        return None
    weight = links[first].weight
    assert weight is not None
    narrow = replace(links[first], weight=weight.index_select(1, columns.to(weight.device)))
    return [*links[:first], narrow, *links[first + 1 :]]


def _is_leaf(module: nn.Module) -> bool:
    return not list(module.children())


class _Flow(NamedTuple):
    """A tensor as it was at one time."""

    tensor: Tensor
    version: int

    @classmethod
    def of(cls, tensor: Tensor) -> _Flow:
        return cls(tensor, compat.version_of(tensor))

    def is_at(self, value: Any) -> bool:
        return value is self.tensor and compat.version_of(self.tensor) == self.version


class _Trace:
    """Follows one call of the model from module to module."""

    def __init__(self, point: Point) -> None:
        self.x = point.x[:_AGAIN]
        self.wanted = {spot.layer.name: spot for spot in point.spots}
        self.flow = _Flow.of(point.x.clone())
        self.links = [Link()]
        self.steps: list[tuple[nn.Module, Tensor]] = []
        """Modules and the beginning of what they put out."""
        self.broken = False

    def enter(self, module: nn.Module, inputs: Any) -> None:
        """A module without children is about to run."""
        same = len(inputs) == 1 and self.flow.is_at(inputs[0])
        link = _link(module, inputs[0]) if same and not self.broken else None
        self.broken |= link is None
        self.links.append(link or Link())

    def leaving(self, name: str) -> Any:
        """A hook on the module of a name."""
        return lambda module, _, output: self.leave(name, module, output)

    def leave(self, name: str, module: nn.Module, output: Any) -> None:
        """A module has returned."""
        if self.broken:
            return
        if _is_leaf(module):
            self.broken = not isinstance(output, Tensor) or output.ndim != 2  # noqa: PLR2004
            if self.broken:
                return
            self.flow = _Flow.of(output)
            self.steps.append((module, output[:_AGAIN].clone()))
            if type(module) is nn.ReLU:
                self.links[-1].slope = (output > 0).to(output.dtype)  # 0 at the kink, as in torch
        if name in self.wanted:
            self.broken = not self.flow.is_at(output)
            self.links[-1].read.append(self.wanted.pop(name))

    def confirmed(self) -> bool:
        """Whether the modules, run again one after the other, put out the same."""
        value = self.x
        for module, output in self.steps:
            with torch.no_grad():
                value = type(module).forward(module, value.clone())  # without hooks
            if not _equal(value, output):
                return False
        return True


def _link(module: nn.Module, value: Tensor) -> Link | None:
    """A module's link at a value; None for modules that are no links."""
    kind = type(module)  # no subclass: it may do anything
    if kind in _SAME:
        dropped = module.training and kind not in (nn.Identity, nn.Flatten)
        return None if dropped else Link()
    if value.ndim != 2:  # noqa: PLR2004 - [sample, unit]
        return None
    if isinstance(module, nn.Linear) and kind is nn.Linear:
        return Link(weight=module.weight.detach())
    if isinstance(module, nn.BatchNorm1d) and kind is nn.BatchNorm1d:
        return None if module.training or module.running_var is None else Link(slope=_scale(module))
    if kind is nn.ReLU:
        return Link(switches=True)  # the slope is seen in what it puts out
    return Link(slope=_slope(module, value)) if kind in _ELEMENTWISE else None


def _scale(norm: nn.BatchNorm1d) -> Tensor:
    """What batch normalisation in eval mode multiplies each unit by: [1, unit]."""
    assert norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    return (scale if norm.weight is None else scale * norm.weight.detach())[None]


def _slope(module: nn.Module, value: Tensor) -> Tensor:
    """The derivative of an elementwise function: [sample, unit]."""
    with torch.enable_grad():
        before = value.detach().clone().requires_grad_()
        after = type(module).forward(module, before.clone())  # without hooks
        return torch.autograd.grad(after.sum(), before)[0]


def _equal(value: Tensor, output: Tensor) -> bool:
    if value.shape != output.shape:
        return False
    tolerance = _CLOSE.get(value.dtype, 1e-2) * float(value.abs().max())
    return bool((value - output).abs().le(tolerance).all())
