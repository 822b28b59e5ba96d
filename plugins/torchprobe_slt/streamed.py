"""The output's transforms over all data, as they come: means of classes, and templates."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchprobe.accumulators import GroupMeans, Top
from torchprobe.errors import LabelError
from torchprobe_slt.jacobians import jacobians
from torchprobe_slt.output import distances

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torchprobe.accumulators import Accumulator
    from torchprobe_slt.point import Point
    from torchprobe_slt.spots import Spot

__all__ = ["begin", "centroids", "class_bytes", "fields", "gather", "select"]


def begin(spot: Spot, nearest: int) -> dict[str, Accumulator]:
    """Sums of transforms [class, node, input] and of what they see, and a place for the best."""
    width = spot.n_inputs
    return {
        "transforms": GroupMeans((spot.n_nodes, width)),
        "features": GroupMeans(width),
        "centroids": GroupMeans(width),
        "best": Top(nearest, 2 * width, largest=False, per_group=True),
    }


def class_bytes(state: dict[str, Any]) -> int:
    """Bytes that each class needs."""
    sums = [state[name] for name in ("transforms", "features", "centroids")]
    return int(state["best"].nbytes + sum(8 * (math.prod(each.shape) + 2) for each in sums))


def gather(state: dict[str, Any], seen: Point, labels: Tensor, route: str, memory: int) -> None:
    """First look: add a batch to the means; labels int64 [sample], each the number of its node."""
    for part, transforms, inputs, mine in _chunks(seen, labels, route, memory):
        state["transforms"].update(transforms, mine)
        state["features"].update(inputs, mine)
        right = _right(part, mine)
        state["centroids"].update(_own(transforms, mine), mine.masked_fill(~right, -1))


def centroids(state: dict[str, Any]) -> tuple[Tensor, Tensor] | None:
    """The classes, and the mean transform of each one's node where the network is right."""
    if not state["centroids"].state:
        return None
    return state["centroids"].groups, state["centroids"].value


def select(
    state: dict[str, Any],
    seen: Point,
    known: tuple[Tensor, Tensor],
    said: tuple[Tensor, Tensor],
    how: tuple[str, int],
) -> None:
    """Second look: keep the samples nearest to their class's mean.

    Args:
        state: of `begin`.
        seen: a batch.
        known: what `centroids` gave.
        said: labels and ids: int64 [sample].
        how: route and memory of `jacobians`.
    """
    classes, means = known
    start = 0
    for part, transforms, inputs, mine in _chunks(seen, said[0], *how):
        at = torch.searchsorted(classes, mine).clamp(max=len(classes) - 1)
        counted = _right(part, mine) & (classes[at] == mine)
        rows = _own(transforms, mine).double()
        distance = distances(rows, means.to(rows.device)[at.to(rows.device)])
        ids = said[1][start : start + len(mine)]
        best = torch.cat([rows, inputs.double()], 1)
        state["best"].update(best, ids, distance, mine.masked_fill(~counted, -1))
        start += len(mine)


def fields(state: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    """The same fields as of a sample, of all data."""
    classes = state["transforms"].groups
    best = state["best"]
    rows, labels = best.rows, best.labels
    parts = [rows[(labels == label).to(rows.device)].chunk(2, 1) for label in classes.tolist()]
    return {
        "transforms": ("class node input", state["transforms"].value),
        "features": ("class input", state["features"].value),
        "n_class": ("class", state["transforms"].counts),
        "template": ("class input", torch.stack([own.mean(0) for own, _ in parts])),
        "template_features": ("class input", torch.stack([inputs.mean(0) for _, inputs in parts])),
        "template_n": ("class", torch.tensor([len(own) for own, _ in parts])),
    }


def _chunks(
    seen: Point, labels: Tensor, route: str, memory: int
) -> Iterator[tuple[Point, Tensor, Tensor, Tensor]]:
    """Some samples at a time: the point, transforms [sample, node, input], inputs, labels."""
    spot = seen.spots[-1]
    last = replace(seen, spots=(spot,))
    largest = int(labels.max()) if len(labels) else -1
    if largest >= spot.n_nodes:
        raise LabelError(
            f"label {largest} is the number of no node of {spot.layer.name!r}, which has "
            f"{spot.n_nodes}; whole=True needs labels that are numbers of output nodes"
        )
    for chunk in jacobians(last, route, memory):
        part = last.part(chunk.samples)
        inputs = part.spots[0].inputs(part.x.flatten(1))
        yield part, chunk.values[spot.layer.name], inputs, labels[chunk.samples]


def _own(transforms: Tensor, labels: Tensor) -> Tensor:
    """Each sample's transform of its own class's node: [sample, input]."""
    samples = torch.arange(len(labels), device=transforms.device)
    return transforms[samples, labels.clamp(min=0).to(transforms.device)]


def _right(part: Point, labels: Tensor) -> Tensor:
    """Whether the last layer's highest node is the label's: bool [sample]."""
    values = part.values(part.x)[part.spots[0].layer.name]
    return values.argmax(1).cpu() == labels
