"""From what a loader yields to the model's inputs and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from torchprobe.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Batch", "device_of", "eval_mode", "moved", "unpack"]


@dataclass(frozen=True)
class Batch:
    """One batch: what the model is called with and what is known of it.

    A loader may yield these itself; other batches are turned into them by `unpack`.
    """

    inputs: Any
    """A tensor, a tuple of positional or a mapping of keyword arguments."""
    labels: Any = None
    """[sample] or [sample, *positions], or a dictionary of these by grouping."""
    lengths: Any = None
    """Valid positions of each sample, [sample]."""
    mask: Any = None
    """Which positions count, bool [sample, *positions]."""
    ids: Any = None
    """A stable integer for each sample, [sample]."""

    def call(self, model: nn.Module, device: torch.device) -> Any:
        """The model's output for these inputs, moved to a device first."""
        inputs = moved(self.inputs, device)
        if isinstance(inputs, Mapping):
            return model(**inputs)
        if type(inputs) is tuple:  # not a PackedSequence or another named tuple
            return model(*inputs)
        return model(inputs)


def unpack(batch: Any) -> Batch:
    """The usual forms of a batch: inputs, (inputs, labels), or keyword arguments with ``labels``.

    In a mapping ``label`` or ``labels`` are taken out, and an ``attention_mask`` of shape
    [sample, token] says which tokens count; the rest is passed to the model by name.

    Raises:
        SettingError: the form is not one of these; the message says what to pass instead.
    """
    if isinstance(batch, Batch):
        return batch
    if isinstance(batch, Tensor):
        return Batch(batch)
    if isinstance(batch, Mapping):
        return _from_mapping(batch)
    if isinstance(batch, (tuple, list)) and len(batch) == 1:
        return Batch(batch[0])
    if isinstance(batch, (tuple, list)) and len(batch) == 2:  # noqa: PLR2004
        return Batch(batch[0], labels=batch[1])
    what = f"a {type(batch).__name__}"
    if isinstance(batch, (tuple, list)):
        what += f" of {len(batch)} parts"
    raise SettingError(
        f"the loader yields {what}; say what its parts are with "
        "unpack=lambda batch: tp.Batch(inputs=batch[0], labels=batch[1], lengths=batch[2])"
    )


def _from_mapping(batch: Mapping[str, Any]) -> Batch:
    inputs = {key: value for key, value in batch.items() if key not in ("label", "labels")}
    mask = batch.get("attention_mask")
    if not (isinstance(mask, Tensor) and mask.ndim == 2):  # noqa: PLR2004
        mask = None
    return Batch(inputs, labels=batch.get("labels", batch.get("label")), mask=mask)


def length_of(loader: Any) -> int | None:
    """How many batches a loader has; None where it cannot tell."""
    try:
        return len(loader)
    except TypeError:  # also of a DataLoader over an IterableDataset, which has __len__
        return None


def sizes_of(batch: Batch) -> int:
    """How many samples a batch has: as many as it has labels, or entries in its first tensor."""
    given = batch.labels
    for known in (*(given.values() if isinstance(given, Mapping) else [given]), batch.lengths):
        if known is not None:
            return len(known)
    for leaf in pytree.tree_leaves(batch.inputs):
        if isinstance(leaf, Tensor) and leaf.ndim:
            return len(leaf)
    return 1


def moved(inputs: Any, device: torch.device) -> Any:
    """Every tensor in nested inputs moved to a device."""
    if isinstance(inputs, Tensor) or (hasattr(inputs, "to") and hasattr(inputs, "data")):
        return inputs.to(device)  # PackedSequence has .to and .data as well
    if isinstance(inputs, Mapping):
        return {key: moved(value, device) for key, value in inputs.items()}
    if isinstance(inputs, tuple) and hasattr(inputs, "_fields"):
        return type(inputs)(*(moved(value, device) for value in inputs))
    if isinstance(inputs, (tuple, list)):
        return type(inputs)(moved(value, device) for value in inputs)
    return inputs


def device_of(model: nn.Module) -> torch.device:
    """Where a model's first parameter or buffer is; the CPU if it has none."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode; afterwards every module is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
