"""What a state holds: its tensors' names, dtypes and axes, to check states and plan memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch

from torchprobe.errors import MergeError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Slot", "Slots", "any_dtype", "check", "float64", "int64"]


@dataclass(frozen=True)
class Slot:
    """One tensor of a state; axes are sizes, or names of sizes that only the data decide."""

    dtype: torch.dtype | None
    axes: tuple[int | str, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor; 0 where a size is not known beforehand."""
        sizes = [axis for axis in self.axes if isinstance(axis, int)]
        return 8 * math.prod(sizes) if len(sizes) == len(self.axes) else 0


Slots: TypeAlias = Mapping[str, Slot]


def float64(*axes: int | str) -> Slot:
    """A slot for sums, means and scatters."""
    return Slot(torch.float64, axes)


def int64(*axes: int | str) -> Slot:
    """A slot for counts and labels."""
    return Slot(torch.int64, axes)


def any_dtype(*axes: int | str) -> Slot:
    """A slot for values kept in the dtype in which they came."""
    return Slot(None, axes)


def check(slots: Slots, state: Mapping[str, Tensor], kind: str) -> None:
    """Raise `MergeError` unless a state has exactly these slots, with sizes that agree.

    Example:
        >>> slots = {"groups": int64("group"), "sums": float64("group", 3)}
        >>> zeros = torch.zeros(2, 3, dtype=torch.float64)
        >>> check(slots, {"groups": torch.arange(2), "sums": zeros}, "statistic")
        >>> check(slots, {"groups": torch.arange(4), "sums": zeros}, "statistic")
        Traceback (most recent call last):
        ...
        torchprobe.errors.MergeError: 'sums' of a statistic should be float64 [group=4, 3] but is
        float64 [2, 3]
    """
    if set(state) != set(slots):
        raise MergeError(f"a {kind} holds {_names(slots)} but this state holds {_names(state)}")
    sizes: dict[str, int] = {}
    for name, slot in slots.items():
        tensor = state[name]
        if not _fits(slot, tensor, sizes):
            raise MergeError(
                f"{name!r} of a {kind} should be {_said(slot, sizes)} but is "
                f"{_dtype(tensor.dtype)} {list(tensor.shape)}"
            )


def _fits(slot: Slot, tensor: Tensor, sizes: dict[str, int]) -> bool:
    if slot.dtype not in (None, tensor.dtype) or len(slot.axes) != tensor.ndim:
        return False
    return all(
        size == (sizes.setdefault(axis, size) if isinstance(axis, str) else axis)
        for axis, size in zip(slot.axes, tensor.shape, strict=True)
    )


def _said(slot: Slot, sizes: dict[str, int]) -> str:
    axes = [f"{axis}={sizes[axis]}" if axis in sizes else str(axis) for axis in slot.axes]
    return f"{_dtype(slot.dtype)} [{', '.join(axes)}]"


def _dtype(dtype: torch.dtype | None) -> str:
    return "numbers" if dtype is None else str(dtype).removeprefix("torch.")


def _names(state: Mapping[str, object]) -> str:
    return ", ".join(map(repr, state)) or "nothing"
