"""Where an example matters most for the prediction, and the example moved so that it is central."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["Across", "Alignment", "Importance", "importance", "middles", "peaks"]

Importance: TypeAlias = Literal["product", "absolute", "gradient"]
Across: TypeAlias = Literal["max", "mean"]


def importance(
    activations: Tensor, gradients: Tensor, kind: Importance = "product", across: Across = "max"
) -> Tensor:
    """How much each position of each example matters, over all neurons: [sample, *positions].

    Args:
        activations: [sample, channel, *positions].
        gradients: of the objective, likewise.
        kind: "product" a·|g|, "absolute" |a|·|g|, or "gradient" |g|.
        across: the "max" or "mean" over neurons.

    Source: Krug & Stober 2020, section 3.2. The formula is lost from all texts; a·|g| is the
    reading of "strong activation with high absolute sensitivity value" (methods 3.1).

    >>> a, g = torch.tensor([[[0.0, 4, 1], [2, 0, 0]]]), torch.tensor([[[0.5, 1, 0], [0, 0, -3]]])
    >>> importance(a, g), importance(a, g, "gradient")
    (tensor([[0., 4., 0.]]), tensor([[0.5000, 1.0000, 3.0000]]))
    """
    size = gradients.float() if gradients.dtype.itemsize < 4 else gradients  # noqa: PLR2004 - bytes
    size = size.abs()  # in half precision products of small numbers would vanish
    if kind != "gradient":
        size.mul_(activations.abs() if kind == "absolute" else activations)
    return size.amax(1) if across == "max" else size.mean(1)


def peaks(importance: Tensor, valid: Tensor | None = None) -> Tensor:
    """The position of greatest importance, the first of equals: int64 [sample, axis].

    Where importance is the same at all positions the middle is taken, so that nothing moves.

    Args:
        importance: [sample, *positions].
        valid: which positions count, bool [sample, *positions].

    >>> peaks(torch.tensor([[0.0, 1, 5, 5], [2, 2, 2, 2]])).tolist()
    [[2], [2]]
    """
    sizes = importance.shape[1:]
    if not sizes:
        return middles(importance[:, None])
    lowest = flat = importance.flatten(1)
    if valid is not None:
        lowest = flat.masked_fill(~valid.flatten(1), torch.inf)
        flat = flat.masked_fill(~valid.flatten(1), -torch.inf)
    constant = flat.amax(1) <= lowest.amin(1)
    found = torch.stack(torch.unravel_index(flat.argmax(1), sizes), 1)  # [sample, axis]
    return torch.where(constant[:, None], middles(importance[:, None]), found)


def middles(maps: Tensor) -> Tensor:
    """The middle of every example [sample, channel, *positions]: int64 [sample, axis].

    >>> middles(torch.zeros(2, 3, 5, 4)).tolist()
    [[2, 2], [2, 2]]
    """
    sizes = maps.shape[2:]
    middle = torch.tensor([size // 2 for size in sizes], dtype=torch.int64, device=maps.device)
    return middle.expand(len(maps), -1)


class Alignment:
    """Where the positions of examples go when one of each comes to stand in the middle of a window.

    Args:
        at: what becomes the middle, int64 [sample, axis].
        sizes: positions of the examples as they come.
        width: positions of the window; its middle is ``width // 2``.
        valid: which positions of the examples hold data, bool [sample, *positions]; None: all.

    >>> moved = Alignment(torch.tensor([[3], [2]]), (4,), (4,))
    >>> moved.place.tolist(), moved.whole.tolist()
    ([[-1, 0, 1, 2], [0, 1, 2, 3]], [False, True])
    """

    def __init__(
        self,
        at: Tensor,
        sizes: Sequence[int],
        width: Sequence[int],
        valid: Tensor | None = None,
    ) -> None:
        self.positions = math.prod(width)
        place = torch.zeros((len(at), *sizes), dtype=torch.int64, device=at.device)
        inside = torch.ones_like(place, dtype=torch.bool) if valid is None else valid.clone()
        for axis, (size, wide) in enumerate(zip(sizes, width, strict=True)):
            to = torch.arange(size, device=at.device) - at[:, axis, None] + wide // 2
            shape = [-1, *(size if axis == other else 1 for other in range(len(sizes)))]
            inside &= ((to >= 0) & (to < wide)).view(shape)
            place = place * wide + to.view(shape)
        self.place = place.masked_fill_(~inside, -1).view(len(at), -1)
        """The position of the window for each of the example's, −1: int64 [sample, position]."""

    @property
    def whole(self) -> Tensor:
        """Which windows hold data everywhere: bool [sample]."""
        return (self.place >= 0).sum(1) == self.positions

    def where(self, kept: Tensor) -> Alignment:
        """That of some examples only, bool [sample]."""
        part = copy.copy(self)
        part.place = self.place[kept]
        return part
