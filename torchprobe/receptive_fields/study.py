"""Questions put to a model, and what its layers answer."""

from __future__ import annotations

from contextlib import ExitStack
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Self

import torch

from torchprobe.loading import eval_mode
from torchprobe.receptive_fields.inside import Inside
from torchprobe.receptive_fields.source import Source
from torchprobe.receptive_fields.state import kept_state
from torchprobe.sandbox import Sandbox, all_generators_kept, unrecorded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from torchprobe.receptive_fields.changes import Query
    from torchprobe.receptive_fields.source import Source
    from torchprobe.receptive_fields.tap import Tap

__all__ = ["Study"]

_BATCH = 14
"""Questions in one forward pass; two more samples are left unchanged."""


class Study:
    """A model to be asked; in between it is as it was found.

    In eval mode, without gradients and autocast, recorded by no probe; random generators, buffers
    and caches are put back. On CUDA, cuDNN is off: some of its convolutions let rounding errors of
    one position reach its neighbours.
    """

    def __init__(self, model: nn.Module, source: Source, tap: Tap) -> None:
        self.model, self.source, self.tap = model, source, tap
        self.replaced: Source | Inside | None = None
        """What parts are replaced of; by default the source."""
        self.generator = torch.Generator().manual_seed(0)
        self._within = ExitStack()

    def __enter__(self) -> Self:
        device = self.source.input.device
        for context in (
            all_generators_kept(device),
            Sandbox(device),
            unrecorded(),
            eval_mode(self.model),
            kept_state(self.model),
            torch.backends.cudnn.flags(enabled=device.type != "cuda", allow_tf32=False),
            self.tap,
        ):
            self._within.enter_context(context)
        return self

    def __exit__(self, *_: object) -> None:
        self._within.close()

    @property
    def positions(self) -> tuple[str, ...]:
        """The axes along which parts are replaced."""
        return (self.replaced or self.source).positions

    @property
    def takes_nan(self) -> bool:
        """Whether they can be replaced by NaN: not by tokens."""
        return self.replaced is not None or self.source.tokens is None

    def inside(self, name: str) -> Study:
        """The same, with the output of a module that returns one tensor in place of the input."""
        other = copy(self)
        other.replaced = Inside(self.source, self.tap.modules[name], self.tap.whole[name])
        return other

    def shapes(self, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """By layer, its positions for an input cut to these sizes."""
        cut = self.source.cropped(sizes)
        return self.tap.shapes(lambda: cut.call(self.model))

    def ask(self, queries: Sequence[Query], *, nan: bool) -> dict[str, Tensor]:
        """By layer, which positions changed: bool [query, *positions]."""
        self.tap.nan = nan
        parts = [
            self._changes(queries[start : start + _BATCH], nan=nan)
            for start in range(0, len(queries), _BATCH)
        ]
        always = [name for name in parts[0] if all(name in part for part in parts)]
        return {name: torch.cat([part[name][1:-1] for part in parts]) for name in always}

    def _changes(self, queries: Sequence[Query], *, nan: bool) -> dict[str, Tensor]:
        asked = [None, *queries, None]
        replaced = self.replaced or self.source
        if self.source.batched:
            batch = replaced.asked(asked, self.generator, nan=nan)
            return self.tap.changes([partial(batch.call, self.model)], len(asked))
        alone = [replaced.asked([query], self.generator, nan=nan) for query in asked]
        return self.tap.changes([partial(one.call, self.model) for one in alone], 1)
