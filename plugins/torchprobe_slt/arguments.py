"""What a model is called with: where its input stands, and parts of a batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from torchprobe.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Arguments"]


@dataclass(frozen=True, eq=False)
class Arguments:
    """Positional and keyword arguments of one call, nested as they may be."""

    parts: tuple[Any, ...]
    """Everything in them, flat."""
    spec: pytree.TreeSpec
    n_samples: int
    sample_axis: int = 0

    @classmethod
    def of(cls, args: Sequence[Any], kwargs: Mapping[str, Any], sample_axis: int = 0) -> Arguments:
        """The arguments ``args, **kwargs``; the first tensor says how many samples there are.

        Raises:
            SettingError: there is no tensor, or it has no such axis.
        """
        parts, spec = pytree.tree_flatten((tuple(args), dict(kwargs)))
        first = next((part for part in parts if isinstance(part, Tensor)), None)
        if first is None:
            raise SettingError(
                "the model is called without a tensor, so there is nothing to differentiate by; "
                "pass padded tensors rather than packed sequences, ids or texts"
            )
        if first.ndim <= sample_axis:
            raise SettingError(
                f"the input has shape {tuple(first.shape)}: no axis {sample_axis} for samples; add "
                "one with x[None]"
            )
        return cls(tuple(parts), spec, first.shape[sample_axis], sample_axis)

    @property
    def first(self) -> int:
        """Which part is the first tensor: the model's input."""
        return next(i for i, part in enumerate(self.parts) if isinstance(part, Tensor))

    @property
    def input(self) -> Tensor:
        """The model's input: [sample, ...]."""
        tensor: Tensor = self.parts[self.first]
        return tensor if self.sample_axis == 0 else tensor.movedim(self.sample_axis, 0)

    def with_input(self, values: Tensor) -> Arguments:
        """The same with another input [sample, ...]."""
        parts = list(self.parts)
        parts[self.first] = values if self.sample_axis == 0 else values.movedim(0, self.sample_axis)
        return self.replaced(parts, len(values))

    def replaced(self, parts: Sequence[Any], n_samples: int) -> Arguments:
        """Other parts in the same places."""
        return replace(self, parts=tuple(parts), n_samples=n_samples)

    def rows(self, index: Tensor) -> Arguments:
        """Some samples only, or some several times: of every tensor that has one entry a sample."""
        return self.replaced([self._rows(part, index) for part in self.parts], len(index))

    def call(self, model: Callable[..., Any]) -> Any:
        """What the model returns."""
        args, kwargs = pytree.tree_unflatten(list(self.parts), self.spec)
        return model(*args, **kwargs)

    def _rows(self, part: Any, index: Tensor) -> Any:
        axis = self.axis_of(part) if isinstance(part, Tensor) else None
        return part if axis is None else part.index_select(axis, index.to(part.device))

    def axis_of(self, part: Tensor) -> int | None:
        """The axis of a tensor that has one entry a sample; None where none has."""
        axes = dict.fromkeys((self.sample_axis, 0))
        return next((a for a in axes if part.shape[a : a + 1] == (self.n_samples,)), None)

    def detached(self) -> Arguments:
        """Copies that autograd and in-place operations of the model cannot reach."""
        parts = [p.detach().clone() if isinstance(p, Tensor) else p for p in self.parts]
        return self.replaced(parts, self.n_samples)


def samples(n: int, part: slice, device: torch.device) -> Tensor:
    """Indices of a part of n samples."""
    return torch.arange(n, device=device)[part]
