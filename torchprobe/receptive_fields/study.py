"""Questions put to a model, and what its layers answer."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Self

import torch

from torchprobe.loading import eval_mode
from torchprobe.receptive_fields.state import kept_state
from torchprobe.sandbox import Sandbox, all_generators_kept, unrecorded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from torchprobe.receptive_fields.source import Query, Source
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
        if self.source.batched:
            batch = self.source.asked(asked, self.generator, nan=nan)
            return self.tap.changes([partial(batch.call, self.model)], len(asked))
        alone = [self.source.asked([query], self.generator, nan=nan) for query in asked]
        return self.tap.changes([partial(one.call, self.model) for one in alone], 1)
