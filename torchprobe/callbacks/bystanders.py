"""What a pass of analysis could disturb in the training around it, beside the model itself."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["untouched"]

_HOLDERS = ("sampler", "batch_sampler", "dataset")


@contextmanager
def untouched(loaders: Iterable[Any]) -> Iterator[None]:
    """Leave generators that loaders draw from as they were, and autocast's copies of weights.

    A loader may share its generator with the one that training reads. Inside autocast, weights
    that are cast while no gradients are recorded would be used again by the training step, which
    would then compute no gradients for them.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> data = torch.utils.data.DataLoader(range(3), shuffle=True, generator=generator)
        >>> before = generator.get_state()
        >>> with untouched([data]):
        ...     _ = list(data)
        >>> torch.equal(generator.get_state(), before)
        True
    """
    with ExitStack() as stack:
        for generator in {id(each): each for each in _generators(loaders)}.values():
            stack.callback(generator.set_state, generator.get_state())
        stack.callback(torch.set_autocast_cache_enabled, torch.is_autocast_cache_enabled())
        torch.set_autocast_cache_enabled(False)
        yield


def _generators(loaders: Iterable[Any]) -> Iterator[torch.Generator]:
    """The generators of loaders, of their samplers and of those samplers' samplers."""
    waiting, known = list(loaders), set()
    while waiting:
        holder = waiting.pop()
        if holder is None or id(holder) in known:
            continue
        known.add(id(holder))
        waiting += [getattr(holder, name, None) for name in _HOLDERS]
        for name in ("generator", "_generator"):
            generator = getattr(holder, name, None)
            if isinstance(generator, torch.Generator):
                yield generator
