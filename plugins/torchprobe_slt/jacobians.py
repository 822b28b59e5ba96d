"""Jacobians of several layers at a batch of inputs: the route chosen by cost, chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from torchprobe.errors import MemoryBudgetError, SettingError
from torchprobe_slt.chain import chain_of
from torchprobe_slt.recursion import chain_forward, chain_reverse, forward_cost, reverse_cost
from torchprobe_slt.routes import columns_of, forward, reverse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from torchprobe_slt.point import Point

__all__ = ["MEMORY", "ROUTES", "Chunk", "check_model", "jacobians", "refuse_training"]

MEMORY = 64 << 20
"""Bytes of Jacobians held at once: few enough for memory that is used again, not fetched anew."""
ROUTES = ("auto", "chain", "forward", "reverse")

_TANGENTS = 4
"""How many times the Jacobians' bytes what is needed on the way may take."""
_LOSES = 1e-3  # of a value, by the order in which a batch of other size is added up


@dataclass(frozen=True, eq=False)
class Chunk:
    """The Jacobians of some samples."""

    samples: slice
    values: dict[str, Tensor]
    """By layer: [sample, node, input]."""
    route: str
    """How they were found: "chain" (closed form), "forward" or "reverse"."""


def jacobians(point: Point, route: str = "auto", memory: int = MEMORY) -> Iterator[Chunk]:
    """J_i[m, f] = ∂h_m(x_i)/∂x_f of all layers' nodes, some samples at a time.

    Routes: "chain" multiplies out diag(slope)·W·J where the model is a chain of linear maps and
    elementwise functions, from the input up or from the nodes down; "forward" pushes a tangent of
    each input value through the model (one sweep for all layers); "reverse" takes a gradient of
    each node. "auto" takes the chain if there is one, else whichever of the two needs fewer
    sweeps, and "reverse" if an operation of the model has no forward derivative.

    Args:
        point: the model at a batch of inputs, with the nodes that are looked at.
        route: one of `ROUTES`.
        memory: bytes of Jacobians at once.

    Raises:
        MemoryBudgetError: those of one sample take more.
        SettingError: an unknown route, or "chain" where the model is none.
    """
    if route not in ROUTES:
        raise SettingError(f"route={route!r}; choose one of {', '.join(map(repr, ROUTES))}")
    each = sum(spot.n_nodes * spot.n_inputs for spot in point.spots) * point.x.element_size()
    if each > memory:
        raise MemoryBudgetError(_too_wide(point, each, memory))
    size = max(1, min(len(point), memory // max(each, 1)))
    for start in range(0, len(point), size):
        samples = slice(start, min(start + size, len(point)))
        part = point.part(samples)
        values, taken = _found(part, route, memory)
        yield Chunk(samples, values, taken)


def _found(point: Point, route: str, memory: int) -> tuple[dict[str, Tensor], str]:
    if route in ("auto", "chain"):
        chain = chain_of(point)
        if chain is not None:
            upwards = forward_cost(chain) < reverse_cost(chain)
            return (chain_forward if upwards else chain_reverse)(chain), "chain"
        if route == "chain":
            raise SettingError(
                "route='chain', but the model is no chain of linear maps and elementwise functions "
                "between two-dimensional values; take route='auto'"
            )
    if route == "forward" or (route == "auto" and _forward_is_cheaper(point)):
        try:
            return forward(point, _at_once(point, memory)), "forward"
        except (RuntimeError, NotImplementedError):
            if route == "forward":
                raise  # else an operation without a forward derivative: the other way
    return reverse(point, _at_once(point, memory)), "reverse"


def _forward_is_cheaper(point: Point) -> bool:
    """Whether there are fewer inputs than nodes, each node's gradient going its part of the way."""
    n = len(point.spots)
    sweeps = sum(spot.n_nodes * (at + 1) / n for at, spot in enumerate(point.spots))
    return len(columns_of(point)) <= sweeps


def _at_once(point: Point, memory: int) -> int:
    """Tangents or gradients that fit the memory, each as large as the largest value."""
    widest = max(point.x[0].numel(), *(spot.layer.width for spot in point.spots))
    wide = max(widest, *(_numel(spot.layer.shape) for spot in point.spots))
    each = len(point) * wide * point.x.element_size()
    return max(1, _TANGENTS * memory // max(each, 1))


def _numel(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape[1:]).numel())


def _too_wide(point: Point, each: int, memory: int) -> str:
    spot = max(point.spots, key=lambda spot: spot.n_nodes * spot.n_inputs)
    return (
        f"the transforms of one sample take {each:,} bytes, more than memory={memory:,}; the most "
        f"are of layer {spot.layer.name!r} ({spot.n_nodes:,} nodes × {spot.n_inputs:,} inputs, "
        f"window {spot.window}). Choose some nodes (nodes=16), window='field' where the receptive "
        "field is smaller than the input, fewer layers, or more memory"
    )


def refuse_training(model: nn.Module) -> None:
    """Raise `SettingError` where a module drops values or normalises by batches."""
    for name, module in model.named_modules():
        if module.training and isinstance(module, _RANDOM):
            raise SettingError(
                f"{name or 'the model'!r} ({type(module).__name__}) is in training mode, where a "
                "sample's output depends on chance or on the other samples; call model.eval()"
            )


def check_model(point: Point) -> None:
    """Raise `SettingError` where a sample's values depend on chance or on other samples."""
    refuse_training(point.model)
    few = point.part(slice(0, 1))
    with torch.no_grad():
        whole, again, alone = point.values(point.x), point.values(point.x), few.values(few.x)
    for name, values in whole.items():
        if not torch.equal(values, again[name]):
            raise SettingError(
                f"layer {name!r} gives other values when the model is called again: it is random "
                "even in eval mode. Fix what it draws (a seed, a mean) before taking transforms"
            )
        if not _close(values[:1], alone[name]):
            raise SettingError(
                f"layer {name!r} gives a sample other values in other company: samples depend on "
                "each other, so that none has a transform of its own"
            )


_RANDOM: Any = (
    nn.modules.batchnorm._BatchNorm,  # noqa: SLF001 - the base of all of them
    nn.modules.dropout._DropoutNd,  # noqa: SLF001
)


def _close(values: Tensor, others: Tensor) -> bool:
    scale = float(values.abs().max()) if values.numel() else 0.0
    return bool((values - others).abs().le(_LOSES * scale + 1e-30).all())
