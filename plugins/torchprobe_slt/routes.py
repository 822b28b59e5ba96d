"""Jacobians by automatic differentiation: a tangent for each input, or a gradient for each node."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torchprobe_slt.point import Point

__all__ = ["columns_of", "forward", "reverse"]


def forward(point: Point, at_once: int) -> dict[str, Tensor]:
    """J of every layer, [sample, node, input], by pushing tangents of the input through the model.

    One sweep gives all layers; ``at_once`` tangents go through together.
    """
    columns = columns_of(point)
    parts = [_pushed(point, part) for part in columns.split(at_once)]
    return {
        spot.layer.name: _windowed(
            torch.cat([part[spot.layer.name] for part in parts]).movedim(0, -1),
            columns,
            spot.columns,
        )
        for spot in point.spots
    }


def _pushed(point: Point, columns: Tensor) -> dict[str, Tensor]:
    """What the nodes do when one input value of every sample moves: [input, sample, node]."""
    x = point.x
    tangents = x.new_zeros(len(columns), len(x), x[0].numel())
    tangents[torch.arange(len(columns)), :, columns] = 1

    def along(tangent: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = torch.func.jvp(point.values, (x,), (tangent,))[1]
        return found

    with (
        warnings.catch_warnings()
    ):  # torch scripts decompositions on the first call, and warns of it
        warnings.simplefilter("ignore", DeprecationWarning)
        pushed: dict[str, Tensor] = torch.func.vmap(along)(tangents.view(-1, *x.shape))
    return pushed


def columns_of(point: Point) -> Tensor:
    """The input values that any node of any sample sees: int64 [input]."""
    seen = [spot.columns for spot in point.spots]
    if any(columns is None for columns in seen):
        return torch.arange(point.x[0].numel())
    every = torch.cat([columns.flatten() for columns in seen if columns is not None]).unique()
    inside: Tensor = every[every >= 0]
    return inside


def _windowed(found: Tensor, columns: Tensor, wanted: Tensor | None) -> Tensor:
    """[sample, node, value] of some of the input's values → the windows that are wanted."""
    if wanted is None:
        return found
    at = torch.searchsorted(columns, wanted.clamp(min=0)).clamp(max=len(columns) - 1)
    at = at.to(found.device)[:, None].expand(-1, found.shape[1], -1)
    return found.gather(2, at).masked_fill_((wanted < 0).to(found.device)[:, None], 0)


def reverse(point: Point, at_once: int) -> dict[str, Tensor]:
    """J of every layer, [sample, node, input], from gradients of its nodes.

    ``at_once`` nodes are differentiated together where the model allows it.
    """
    found = {}
    with torch.enable_grad():
        x = point.x.detach().requires_grad_()
        values = point.values(x)
        for spot in point.spots:
            nodes = torch.eye(spot.n_nodes, dtype=x.dtype, device=x.device)
            pulled = (_pulled(values[spot.layer.name], x, part) for part in nodes.split(at_once))
            parts = [spot.inputs(part.flatten(2).movedim(0, 1)) for part in pulled]
            found[spot.layer.name] = torch.cat(parts, 1)  # [sample, node, input]
    return found


def _pulled(values: Tensor, x: Tensor, nodes: Tensor) -> Tensor:
    """Gradients of some nodes, given as rows of the identity: [node, sample, ...]."""
    if not values.requires_grad:
        return x.new_zeros(len(nodes), *x.shape)  # it does not depend on the input
    wanted = nodes.to(values)[:, None].expand(-1, *values.shape)
    grad = partial(
        torch.autograd.grad,
        values,
        x,
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )
    try:
        return grad(wanted, is_grads_batched=True)[0]
    except RuntimeError:  # an operation that cannot be batched: one node after the other
        each = [grad(one)[0] for one in wanted]
        return torch.stack(each)
