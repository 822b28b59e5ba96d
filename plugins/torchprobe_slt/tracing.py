"""Whether a forward pass is a chain of matrices and pointwise functions, and of which."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from torchprobe_slt.chain import Chain, Linear, Scale

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Trace"]

_aten = torch.ops.aten
_VIEWS = {
    getattr(_aten, name)
    for name in ("view", "_unsafe_view", "squeeze", "unsqueeze", "permute", "transpose")
}
"""Other shapes of a value; they count only if all entries stay where they are."""
_PRODUCTS = {_aten.mm: 0, _aten.addmm: 1}
"""Matrix products, and which argument is the matrix whose rows are samples."""
_ALSO_POINTWISE = {
    getattr(_aten, name)
    for name in ("_prelu_kernel", "hardswish", "hardswish_", "log_sigmoid_forward")
}
"""Functions of each entry by itself that torch does not mark as such."""
_BATCH_NORMS = {_aten.native_batch_norm: 5, _aten.cudnn_batch_norm: 5}
"""Batch norms, and which argument says whether they normalise by the batch."""


@dataclass(frozen=True)
class _Place:
    """Where a value lies in memory: the same place holds the same value until it is overwritten."""

    address: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> _Place:
        return cls(tensor.data_ptr(), tuple(tensor.shape))


@dataclass
class _Head:
    """The value that the chain has reached."""

    tensor: Tensor
    stores: set[int] = field(default_factory=set)
    """Where every value that depends on the input is kept."""

    def __post_init__(self) -> None:
        self.stores.add(_store(self.tensor))

    def reached_by(self, args: Any) -> list[Tensor]:
        """The tensors among arguments that depend on the input."""
        return [tensor for tensor in _tensors(args) if _store(tensor) in self.stores]

    def move(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.stores.add(_store(tensor))


@dataclass(frozen=True, eq=False)
class Pointwise:
    """An operation on each entry by itself, whose slopes are asked of torch afterwards."""

    func: Any
    args: tuple[Any, ...]
    """With `_Here` where the chain's value stood; so too in the keyword arguments."""
    kwargs: Mapping[str, Any]
    at: Tensor
    """What it was applied to; a copy if it overwrote it."""

    @classmethod
    def of(cls, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], at: Tensor) -> Self:
        """The operation that is about to run."""
        name: str = func._schema.name  # noqa: SLF001
        overwrites = name.endswith("_")
        marked = pytree.tree_map(
            lambda part: _Here if _at(part, _Place.of(at)) else part, (args, dict(kwargs))
        )
        if overwrites:
            func = getattr(torch.ops.aten, name.split("::")[1][:-1])
        args, kwargs = marked
        return cls(func, args, kwargs, at.clone() if overwrites else at)

    def scale(self, samples: int) -> Scale:
        """Its slopes [sample, node], the derivative at a kink being what torch says it is."""
        with torch.enable_grad():
            at = self.at.detach().requires_grad_()
            args, kwargs = pytree.tree_map(
                lambda part: at if part is _Here else part, (self.args, dict(self.kwargs))
            )
            out = self.func(*args, **kwargs)
            out = out[0] if isinstance(out, (tuple, list)) else out
            (slopes,) = torch.autograd.grad(out.sum(), at)
        return Scale(slopes.reshape(samples, -1))


class _Here:
    """Stands for the chain's value among the arguments of an operation."""


class Trace(TorchDispatchMode):
    """Follows one forward pass, operation by operation, as torch itself executes it.

    While every operation on the value that comes from the input is a product with a matrix, a
    function of each entry by itself (activations, eval batch norm, adding a bias) or another shape
    of the same entries, the pass is a chain. `mark` notes where on it a layer's output stands.

    Args:
        start: the input, [sample, ...].
    """

    def __init__(self, start: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: list[Linear | Pointwise] = []
        self.places: dict[str, int] = {}
        """By layer, after how many steps of the chain its output stands."""
        self.flops: dict[str, float] = {}
        """By layer, floating point operations before its output."""
        self.broken = "" if start.is_contiguous() else "the input is not contiguous"
        self._n, self._aside = len(start), False
        self._head = _Head(start)
        self._keep = [start]  # so that no address is used twice
        self._flops = 0.0

    def mark(self, layer: str, output: Tensor) -> None:
        """A layer has returned this."""
        self.flops[layer] = self._flops
        at_head = _Place.of(output) == _Place.of(self._head.tensor) and output.is_contiguous()
        if not self.broken and at_head:
            self.places[layer] = len(self.steps)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Operations inside are no part of the pass."""
        self._aside = True
        try:
            yield
        finally:
            self._aside = False

    def chain(self) -> Chain | None:
        """The chain, if every marked layer stands on it."""
        if self.places.keys() != self.flops.keys():
            return None
        last = max(self.places.values(), default=0)
        each = self.steps[:last]
        steps = [s if isinstance(s, Linear) else s.scale(self._n) for s in each]
        return Chain(steps, self.places, self._keep[0].flatten(1))

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self._aside:
            return func(*args, **kwargs)
        step = None if self.broken else self._before(func, args, kwargs)
        result = func(*args, **kwargs)
        if not self.broken and step is not None:
            self._after(func, step, result)
        count = flop_registry.get(func._overloadpacket)  # noqa: SLF001
        if count is not None:
            self._flops += count(*args, **kwargs, out_val=result)
        return result

    def _before(
        self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Linear | Pointwise | str | None:
        """The step that an operation is; "" for a mere view; None if it is not about the chain."""
        reached = self._head.reached_by((args, kwargs))
        if not reached:
            return None
        head = self._head.tensor
        if any(_Place.of(tensor) != _Place.of(head) for tensor in reached):
            self.broken = f"{func} uses an earlier value again"
            return None
        packet = func._overloadpacket  # noqa: SLF001
        if packet in _VIEWS:
            return ""
        if packet in _PRODUCTS:
            return self._product(packet, args, kwargs)
        if _is_pointwise(func, args):
            return Pointwise.of(func, args, kwargs, head)
        self.broken = f"{func} is neither a matrix nor pointwise"
        return None

    def _product(
        self, packet: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Linear | None:
        rows, matrix = args[_PRODUCTS[packet] : _PRODUCTS[packet] + 2]
        on_the_left = _Place.of(rows) == _Place.of(self._head.tensor)
        plain = not kwargs and on_the_left and len(self._head.reached_by(args)) == 1
        if plain and len(rows) % self._n == 0:
            return Linear(matrix.mT, len(rows) // self._n)
        self.broken = f"{packet} is no product of samples with a constant matrix"
        return None

    def _after(self, func: Any, step: Linear | Pointwise | str, result: Any) -> None:
        """Move on to the result of a step."""
        result = result[0] if isinstance(result, (tuple, list)) else result
        head = self._head.tensor
        same = isinstance(step, Linear) or result.numel() == head.numel()
        if not (same and result.is_contiguous() and result.dtype == head.dtype):
            self.broken = f"{func} changes the order, number or type of entries"
            return
        self._keep.append(result)
        self._head.move(result)
        if not isinstance(step, str):
            self.steps.append(step)


def _is_pointwise(func: Any, args: tuple[Any, ...]) -> bool:
    packet = func._overloadpacket  # noqa: SLF001
    if packet in _BATCH_NORMS:
        return not args[_BATCH_NORMS[packet]]
    random = torch.Tag.nondeterministic_seeded in func.tags
    return (torch.Tag.pointwise in func.tags or packet in _ALSO_POINTWISE) and not random


def _at(part: Any, place: _Place) -> bool:
    return isinstance(part, Tensor) and _Place.of(part) == place


def _store(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in pytree.tree_leaves(values) if isinstance(value, Tensor)]
