"""Questions to a model, and the changes of a tensor that ask them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

__all__ = ["Query", "noise", "replace_parts"]

_LOUD = 100.0
"""Standard deviations of what replaces values: loud enough to get past rectifiers, to decide a
maximum, and to be seen at the far end of a deep stack of small weights."""


class Query(NamedTuple):
    """One question: who sees what is replaced?"""

    axis: str
    """The axis along which a part is replaced."""
    ahead: bool
    """Whether all from ``at`` to the end is replaced, or all from the beginning to ``at``."""
    at: int


def replace_parts(
    batch: Tensor,
    axes: Sequence[str],
    queries: Sequence[Query | None],
    other: Callable[[Tensor], Tensor],
) -> None:
    """Write something else into one part of each sample, as its question says; None: nothing."""
    for slot, query in enumerate(queries):
        if query is None:
            continue
        sample = batch.narrow(axes.index("sample"), slot, 1) if "sample" in axes else batch
        axis = axes.index(query.axis)
        start, stop = (query.at, sample.shape[axis]) if query.ahead else (0, query.at + 1)
        part = sample.narrow(axis, start, stop - start)
        part.copy_(other(part))


def noise(like: Tensor, generator: torch.Generator, *, nan: bool) -> Callable[[Tensor], Tensor]:
    """What to put in place of parts of a tensor: loud noise on them, or NaN."""
    spread = float(like.detach().double().std(correction=0).nan_to_num(0.0, 0.0, 0.0)) or 1.0

    def other(part: Tensor) -> Tensor:
        if nan:
            return torch.full_like(part, torch.nan)
        return part + torch.randn(part.shape, generator=generator).to(part) * (_LOUD * spread)

    return other
