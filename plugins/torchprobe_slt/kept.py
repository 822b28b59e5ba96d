"""A bounded sample of a model's inputs, to call it again when all data was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from torchprobe.accumulators import BoundedSample
from torchprobe.errors import SettingError, ShapeError
from torchprobe_slt.jacobians import check_model
from torchprobe_slt.point import main_leaf
from torchprobe_slt.view import view

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torchprobe import Network, NetworkBatch
    from torchprobe_slt.point import Point

__all__ = ["begin", "keep", "seen_again"]

PLACES = "places"
"""Beside the inputs: the positions looked at, and further numbers of each sample."""

_FEW = 4
"""Samples on which it is tried whether the model is random and samples influence each other."""

_ADVICE = "take every sample as it comes instead: samples=None"


def begin(
    network: Network, n: int, seed: int, books: int, *, per_group: bool = False
) -> dict[str, BoundedSample]:
    """Samples of all that each call's samples are made of; the same samples in every part.

    Args:
        network: whose inputs.
        n: how many samples, of all or of each label.
        seed: draws them.
        books: how many further whole numbers are kept of each sample.
        per_group: keep ``n`` of each label.
    """
    size = len(main_leaf(network.inputs))
    shapes = {
        str(at): tuple(leaf.shape[1:])
        for at, leaf in enumerate(pytree.tree_leaves(network.inputs))
        if _per_sample(leaf, size)
    }
    return {
        name: BoundedSample(shape, n, seed, per_group=per_group)
        for name, shape in {**shapes, PLACES: (books,)}.items()
    }


def keep(
    kept: Mapping[str, BoundedSample],
    batch: NetworkBatch,
    books: Tensor,
    labels: Tensor | None = None,
) -> None:
    """Take in a batch; ``books`` int64 [sample, number], ``labels`` int64 [sample].

    Raises:
        ShapeError: inputs have another shape than those before.
    """
    leaves = pytree.tree_leaves((batch.args, dict(batch.kwargs)))
    for name, sample in kept.items():
        rows = books if name == PLACES else leaves[int(name)]
        if tuple(rows.shape[1:]) != sample.shape:
            raise ShapeError(
                f"an input has shape {tuple(rows.shape)}, those before had {sample.shape} after "
                f"the sample; samples that are kept need one shape: {_ADVICE}"
            )
        sample.update(rows, batch.sample_ids, labels)


def seen_again(samples: Mapping[str, BoundedSample], network: Network, *, whole: bool) -> Point:
    """The samples that were kept, shown to the model again.

    Raises:
        EmptyStateError: nothing was seen.
        SettingError: the model is random, or samples influence each other.
    """
    inputs = _inputs_again(samples, network)
    seen = view(network, inputs, samples[PLACES].rows, whole=whole)
    check_model(seen.part(slice(0, _FEW)))
    return seen


def _inputs_again(
    samples: Mapping[str, BoundedSample], network: Network
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The (args, kwargs) with which the model can be called with the samples kept.

    Raises:
        EmptyStateError: nothing was seen.
        SettingError: a tensor among the inputs does not belong to samples.
    """
    leaves, spec = pytree.tree_flatten(network.inputs)
    for at, leaf in enumerate(leaves):
        if str(at) in samples:
            leaves[at] = samples[str(at)].rows
        elif isinstance(leaf, Tensor):
            raise SettingError(
                f"the model takes a tensor of shape {tuple(leaf.shape)} that is not one for each "
                f"sample, so that it cannot be called with some of them; {_ADVICE}"
            )
    args, kwargs = pytree.tree_unflatten(leaves, spec)
    return tuple(args), dict(kwargs)


def _per_sample(leaf: object, size: int) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.ndim > 0 and len(leaf) == size
