"""Buffers of a model that differ between processes, such as running statistics in training."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from torchprobe.distributed import Team

__all__ = ["those_of_the_first"]


@contextmanager
def those_of_the_first(model: nn.Module, team: Team | None) -> Iterator[None]:
    """Let all processes have the buffers of the first one, and afterwards their own again.

    Under DistributedDataParallel batch norm averages over the samples of its own process, and
    after a step running statistics differ until the next one begins. Processes that share out a
    loader would give results of no model at all.

    Args:
        model: of which every process has a copy.
        team: the processes; None where there is but one.

    Raises:
        DistributedError: a process has gone.
    """
    buffers = [each for each in model.buffers() if _averages(each)]
    if team is None or not _differ(buffers, team):
        yield
        return
    own = [each.clone() for each in buffers]
    _put(buffers, team.broadcast(buffers, 0))
    try:
        yield
    finally:
        _put(buffers, own)


def _averages(buffer: Tensor) -> bool:
    """Whether this is a plain tensor of numbers that may depend on what a process has seen."""
    return buffer.is_floating_point() and not hasattr(buffer, "to_local")


def _differ(buffers: list[Tensor], team: Team) -> bool:
    """Whether values do; models of other shapes are told when results are merged."""
    shapes = [f"{each.dtype}{tuple(each.shape)}" for each in buffers]
    said = team.exchange([shapes, _digest(buffers)], "compare buffers")
    return len({str(each[0]) for each in said}) == 1 and len({each[1] for each in said}) > 1


def _put(buffers: list[Tensor], values: list[Tensor]) -> None:
    with torch.no_grad():
        for buffer, value in zip(buffers, values, strict=True):
            buffer.copy_(value)


def _digest(buffers: list[Tensor]) -> str:
    found = hashlib.blake2b(digest_size=8)
    for each in buffers:
        found.update(each.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
