"""Named axes of a tensor: which axis is the sample, the channel, and which are positions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from torchprobe.errors import LayoutError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["Axes"]


@dataclass(frozen=True)
class Axes:
    """The names of a tensor's axes, in order.

    ``channel`` (the units) must be there once; ``sample`` at most once: without it the whole
    tensor is one sample. Every other name is a position (``time``, ``token``, ``height``, ...).

    Example:
        >>> axes = Axes.parse("sample channel time")
        >>> axes.positions
        ('time',)
        >>> import torch
        >>> axes.canonical(torch.zeros(2, 3, 5)).shape
        torch.Size([2, 3, 5])
        >>> Axes.parse("time sample channel").canonical(torch.zeros(5, 2, 3)).shape
        torch.Size([2, 3, 5])
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.names.count("channel") != 1:
            raise LayoutError(
                f"axes {str(self)!r} name {self.names.count('channel')} channel axes; exactly one "
                "axis must be 'channel', e.g. 'sample channel time'"
            )
        if len(set(self.names)) != len(self.names):
            raise LayoutError(f"axes {str(self)!r} name an axis twice; give each its own name")
        bad = [name for name in self.names if not name.isidentifier()]
        if bad:
            raise LayoutError(f"axes {str(self)!r}: {bad[0]!r} is not a name; use letters and '_'")

    @classmethod
    def parse(cls, axes: str | Sequence[str] | Axes) -> Axes:
        """Axes from ``"sample channel time"``, a sequence of names, or axes.

        Raises:
            LayoutError: no or several ``channel``, a repeated or malformed name.
        """
        if isinstance(axes, Axes):
            return axes
        return cls(tuple(axes.split() if isinstance(axes, str) else axes))

    def __str__(self) -> str:
        return " ".join(self.names)

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self.names)

    @property
    def positions(self) -> tuple[str, ...]:
        """The names that are neither sample nor channel, in order."""
        return tuple(name for name in self.names if name not in ("sample", "channel"))

    @cached_property
    def _is_canonical(self) -> bool:
        return self.names[:2] == ("sample", "channel")

    @property
    def canonical_names(self) -> tuple[str, ...]:
        """The order in which `canonical` puts the axes: sample, channel, positions."""
        return ("sample", "channel", *self.positions)

    def index(self, name: str) -> int:
        """Where the axis called ``name`` stands."""
        return self.names.index(name)

    def size(self, shape: Sequence[int], name: str) -> int:
        """The length of the axis called ``name`` in a tensor of this shape."""
        return shape[self.index(name)]

    def check(self, shape: Sequence[int], of: str) -> None:
        """Raise `LayoutError` unless a tensor of this shape has as many axes as there are names."""
        if len(shape) != self.ndim:
            raise LayoutError(
                f"{of} has shape {tuple(shape)} ({len(shape)} axes) but its axes are given as "
                f"{str(self)!r} ({self.ndim}); pass axes={{{of!r}: '...'}} naming every axis"
            )

    def canonical(self, values: Tensor) -> Tensor:
        """A view of ``values`` as [sample, channel, *positions]; one sample where none is named."""
        if self._is_canonical:
            return values
        if "sample" not in self.names:
            return Axes(("sample", *self.names)).canonical(values.unsqueeze(0))
        return values.permute([self.index(name) for name in self.canonical_names])

    def restore(self, canonical: Tensor) -> Tensor:
        """The inverse of `canonical`: [sample, channel, *positions] back to this order."""
        if "sample" not in self.names:
            return Axes(("sample", *self.names)).restore(canonical).squeeze(0)
        return canonical.permute([self.canonical_names.index(name) for name in self.names])
