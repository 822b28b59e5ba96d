"""Jacobians of any network by automatic differentiation, forwards or in reverse, in batches."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from torchprobe_slt.arguments import Arguments
    from torchprobe_slt.program import Program
    from torchprobe_slt.windows import Directions

__all__ = ["forward", "own", "reverse"]

_ENTRIES = 1 << 22
"""Entries of the widest layer's tangents handled at once: 16 MiB in float32. Fewer make products
too small to be fast, more do not fit the cache."""


def forward(
    program: Program, arguments: Arguments, start: Tensor, directions: Directions
) -> list[Tensor]:
    """Derivatives of all layers along directions, in one sweep: [direction, sample, node] each.

    One forward pass carries many directions at once (`torch.func.jvp` under `torch.func.vmap`); the
    same direction is followed in all samples, which must not influence each other.
    """

    def along(direction: Tensor) -> tuple[Tensor, ...]:
        tangent = direction[None].expand_as(start)
        done = torch.func.jvp(lambda value: program.nodes(arguments, value), (start,), (tangent,))
        tangents: tuple[Tensor, ...] = done[1]
        return tangents

    widths = [values.shape[1] for values in program.nodes(arguments, start)]
    size = max(1, _ENTRIES // max(1, max([*widths, start[0].numel()]) * len(start)))
    found = [start.new_empty(len(directions), len(start), width) for width in widths]
    with _quiet():
        for first in range(0, len(directions), size):
            part = slice(first, first + size)
            some = torch.func.vmap(along)(directions.tangents(part, start))
            for all_, tangents in zip(found, some, strict=True):
                all_[part] = tangents
    return found


def reverse(program: Program, arguments: Arguments, start: Tensor) -> list[Tensor]:
    """Derivatives of all layers' nodes by the whole input: [sample, node, input] each.

    One forward pass, then a backward pass for every node, of all samples together and many nodes at
    once; parameters get no gradients.
    """
    with torch.enable_grad():
        start = start.detach().clone().requires_grad_()
        layers = program.nodes(arguments, start)
        return [_layer(nodes, start) for nodes in layers]


def own(
    program: Program, arguments: Arguments, start: Tensor, nodes: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Derivative of one node of the first layer for each sample, and all layers' nodes.

    Nodes say which of each sample, int64 [sample]; what comes is [sample, 1, input], and
    [sample, node] of each layer.
    """
    with torch.enable_grad():
        start = start.detach().clone().requires_grad_()
        layers = program.nodes(arguments, start)
        (gradient,) = torch.autograd.grad(layers[0].gather(1, nodes[:, None]).sum(), start)
    return gradient.flatten(1)[:, None], tuple(values.detach() for values in layers)


def _layer(nodes: Tensor, start: Tensor) -> Tensor:
    count = nodes.shape[1]
    size = max(1, _ENTRIES // max(1, max(count, start[0].numel()) * len(start)))
    found = start.new_empty(len(start), count, start[0].numel())
    with _quiet():
        for first in range(0, count, size):
            wanted = torch.arange(first, min(first + size, count), device=start.device)
            found[:, wanted] = _pulled(nodes, start, wanted)
    return found


def _pulled(nodes: Tensor, start: Tensor, wanted: Tensor) -> Tensor:
    """Gradients of some nodes: [sample, node, input]."""
    hot = torch.nn.functional.one_hot(wanted, nodes.shape[1]).to(nodes.dtype)  # [wanted, node]
    cotangents = hot[:, None].expand(-1, len(start), -1)
    (gradients,) = torch.autograd.grad(
        nodes, start, cotangents, retain_graph=True, is_grads_batched=True
    )
    return gradients.flatten(2).movedim(0, 1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's remarks on what it does itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
        warnings.filterwarnings("ignore", "`torch.jit.script`", DeprecationWarning)
        yield
