"""One process's share of what a loader yields, from any batch on, with the numbers of samples."""

from __future__ import annotations

import hashlib
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, IterableDataset

from torchprobe.documents import dumps
from torchprobe.errors import SettingError
from torchprobe.loading import length_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["Item", "Portion", "portion"]


class Item(NamedTuple):
    """What a loader has yielded, and what is known of its samples."""

    raw: Any
    place: int | None = None
    """How many samples of the split come before it, whoever sees them."""
    ids: Sequence[int] | None = None
    """The numbers of its samples in the data set."""


class Portion(NamedTuple):
    """A share of a loader."""

    items: Iterator[Item]
    total: int | None
    """How many batches the share has, where that is known."""
    order: str
    """What tells whether another loader has the same batches in the same order."""


def portion(
    loader: Iterable[Any],
    share: tuple[int, int] = (0, 1),
    *,
    skip: int = 0,
    most: int | None = None,
    size_of: Callable[[Any], int] = lambda _: 0,
) -> Portion:
    """The share of one of several processes: every n-th batch, or what a DistributedSampler says.

    Whole batches are shared out, so that every forward pass is one that a single process would
    make. A `torch.utils.data.DistributedSampler` repeats samples until all processes have as many:
    these repeats are left out. Where batches are made from indices, only those of the share are
    loaded; of other loaders the rest is read and dropped.

    Args:
        loader: the same in every process, or with a DistributedSampler of its own.
        share: (rank, size): which process this is, and how many there are.
        skip: batches of the share that were seen before.
        most: batches of all shares together.
        size_of: how many samples there are in what a loader without indices yields.

    Example:
        >>> data = DataLoader(range(10), batch_size=2)
        >>> [item.raw.tolist() for item in portion(data, (1, 2)).items]
        [[2, 3], [6, 7]]
        >>> [item.place for item in portion(data, (1, 2), skip=1).items]
        [6]
    """
    if _by_index(loader):
        return _of_indices(loader, share, skip, most)
    return _of_items(loader, share, skip, most, size_of)


def _by_index(loader: Any) -> TypeGuard[DataLoader[Any]]:
    """Whether batches can be chosen before they are loaded."""
    if not isinstance(loader, DataLoader) or type(loader).__iter__ is not DataLoader.__iter__:
        return False
    return loader.batch_sampler is not None and not isinstance(loader.dataset, IterableDataset)


# -- loaders that make batches from indices


class _Choice(NamedTuple):
    """A batch that is yet to be loaded."""

    indices: Sequence[int]
    place: int | None
    ids: Sequence[int] | None


def _of_indices(
    loader: DataLoader[Any], share: tuple[int, int], skip: int, most: int | None
) -> Portion:
    sampler: Any = loader.batch_sampler
    if type(sampler) is BatchSampler and isinstance(sampler.sampler, DistributedSampler):
        choices, order = _of_distributed(sampler, share, most)
        dataset: Any = loader.dataset
        first = _steady_digest(dataset, 0) if len(dataset) else ""
    else:
        batches = [list(batch) for batch in islice(sampler, most)]
        choices, order = _every_nth(batches, share), _digest(repr(batches))
        first = _steady_digest(loader.dataset, batches[0][0]) if batches else ""
    return Portion(_loaded(loader, choices[skip:]), len(choices), f"{order} {first}")


def _every_nth(batches: Sequence[Sequence[int]], share: tuple[int, int]) -> list[_Choice]:
    places = np.cumsum([0, *map(len, batches)]).tolist()
    rank, size = share
    return [_Choice(batches[at], places[at], None) for at in range(rank, len(batches), size)]


def _of_distributed(
    batches: BatchSampler, share: tuple[int, int], most: int | None
) -> tuple[list[_Choice], str]:
    """The batches of a DistributedSampler without the samples that it repeats.

    Raises:
        SettingError: it is for another process.
    """
    sampler: Any = batches.sampler
    rank, size = share
    if size > 1 and (sampler.rank, sampler.num_replicas) != share:
        raise SettingError(
            f"the loader's DistributedSampler is for process {sampler.rank} of "
            f"{sampler.num_replicas}, this is {rank} of {size}; leave rank= and num_replicas= out"
        )
    n = len(range(sampler.rank, len(sampler.dataset), sampler.num_replicas))
    indices = list(sampler)[:n]
    ends = range(0, n - batches.batch_size + 1 if batches.drop_last else n, batches.batch_size)
    cut = [indices[start : start + batches.batch_size] for start in ends]
    if most is not None:
        cut = cut[: len(range(rank, most, size))]
    order = [len(sampler.dataset), sampler.shuffle, sampler.seed, sampler.epoch]
    return [_Choice(each, None, each) for each in cut], f"distributed {order}"


def _loaded(loader: DataLoader[Any], choices: Sequence[_Choice]) -> Iterator[Item]:
    """The chosen batches, loaded as the loader would."""
    again = DataLoader(
        loader.dataset,
        batch_sampler=[list(choice.indices) for choice in choices],
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
    )
    for choice, raw in zip(choices, again, strict=True):
        yield Item(raw, choice.place, choice.ids)


# -- other loaders


def _of_items(
    loader: Iterable[Any],
    share: tuple[int, int],
    skip: int,
    most: int | None,
    size_of: Callable[[Any], int],
) -> Portion:
    rank, size = share
    whole = length_of(loader)
    if most is not None:
        whole = most if whole is None else min(whole, most)
    total = None if whole is None else len(range(rank, whole, size))
    items = islice(iter(loader), most)
    first = list(islice(items, 1))
    order = f"{whole} {_digest(first)}"
    return Portion(_shared(chain(first, items), share, skip, size_of), total, order)


def _shared(
    items: Iterable[Any], share: tuple[int, int], skip: int, size_of: Callable[[Any], int]
) -> Iterator[Item]:
    rank, size = share
    place = 0
    for at, raw in enumerate(items):
        if at % size == rank and at // size >= skip:
            yield Item(raw, place if size > 1 else None)
        place += size_of(raw) if size > 1 else 0


# -- telling loaders apart


def _steady_digest(dataset: Any, index: Any) -> str:
    """The digest of a sample; none where it is another each time."""
    digests = {_digest(dataset[index]) for _ in range(2)}
    return digests.pop() if len(digests) == 1 else "random"


def _digest(value: Any) -> str:
    """A digest of nested tensors, arrays, numbers and texts."""
    found = hashlib.blake2b(digest_size=8)
    for leaf in pytree.tree_leaves(value):
        array = leaf.detach().cpu().numpy() if _is_plain(leaf) else leaf
        if isinstance(array, np.ndarray) and array.dtype != object:
            found.update(f"{array.dtype}{array.shape}".encode())
            found.update(np.ascontiguousarray(array).tobytes())
        else:
            found.update(dumps(array))
    return found.hexdigest()


def _is_plain(leaf: Any) -> bool:
    return (
        isinstance(leaf, Tensor) and leaf.layout == torch.strided and leaf.dtype != torch.bfloat16
    )
