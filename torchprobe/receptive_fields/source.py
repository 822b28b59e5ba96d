"""The input of a model, of which one part after the other is replaced."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.utils import _pytree as pytree

from torchprobe.errors import LayoutError
from torchprobe.receptive_fields.changes import noise, replace_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torchprobe.axes import Axes
    from torchprobe.receptive_fields.changes import Query

    AxesOf = Callable[[Tensor], Axes]

__all__ = [
    "Source",
    "axes_of_input",
    "main_input",
    "position_axes",
    "sizes_of_input",
]

_PACKED = ("sample", "time", "channel")
_TOKENS = ("sample", "token", "token_2", "token_3")


def main_input(inputs: tuple[Any, Any]) -> Tensor | PackedSequence | None:
    """The input among a call's (args, kwargs): the first tensor of two axes or more."""
    leaves = pytree.tree_leaves(inputs, is_leaf=_is_packed)
    return next((leaf for leaf in leaves if _may_be_main(leaf)), None)


def axes_of_input(leaf: Tensor | PackedSequence, axes_of: AxesOf) -> tuple[str, ...]:
    """Its axes; those of tokens are the usual ones, until the layer is known that embeds them."""
    if isinstance(leaf, PackedSequence):
        return _PACKED
    if leaf.is_floating_point():
        return axes_of(leaf).names
    return _TOKENS[: leaf.ndim]


def sizes_of_input(leaf: Tensor | PackedSequence, axes: tuple[str, ...]) -> dict[str, int]:
    """How many positions it has along each axis."""
    if isinstance(leaf, PackedSequence):
        return {"time": len(leaf.batch_sizes)}
    return {axis: leaf.shape[axes.index(axis)] for axis in position_axes(axes)}


def position_axes(axes: tuple[str, ...]) -> tuple[str, ...]:
    """The axes of positions among an input's; a waveform [sample, time] has its second."""
    named = tuple(name for name in axes if name not in ("sample", "channel"))
    return named or tuple(name for name in axes if name == "channel")


@dataclass(frozen=True, eq=False)
class Source:
    """One sample of a model's input, repeated and changed at will.

    Floating inputs are replaced by noise or NaN, integer ones (tokens) by others that occur in the
    batch. What the model is called with besides stays as it is for that sample: lengths, masks.
    """

    arguments: tuple[Any, ...]
    """The leaves of (args, kwargs)."""
    tree: Any
    """How these are put together again."""
    main: int
    """Which of them is the input."""
    axes: tuple[str, ...]
    """Of the input; tokens have no channel."""
    sample_axes: tuple[int | None, ...]
    """By leaf, its sample axis."""
    tokens: Tensor | None = None
    """Those that occur, where the input consists of tokens."""
    packed: bool = False
    """Whether the model wants a packed sequence; here it is padded."""

    @classmethod
    def of(cls, inputs: tuple[Any, Any], axes: tuple[str, ...]) -> Source:
        """The input among a call's (args, kwargs), with these axes.

        Raises:
            LayoutError: there is none.
        """
        leaves, tree = pytree.tree_flatten(inputs, is_leaf=_is_packed)
        main = next((at for at, leaf in enumerate(leaves) if _may_be_main(leaf)), None)
        if main is None:
            raise LayoutError("the model is called without a tensor that has positions")
        packed = _is_packed(leaves[main])
        if packed:
            leaves[main] = pad_packed_sequence(leaves[main], batch_first=True)[0]
        tensor = leaves[main]
        samples = tuple(_sample_axis(leaf, tensor, axes) for leaf in leaves)
        tokens = None if tensor.is_floating_point() else tensor.unique()
        return cls(tuple(leaves), tree, main, axes, samples, tokens, packed).one_sample()

    @property
    def input(self) -> Tensor:
        """The sample as it is."""
        tensor: Tensor = self.arguments[self.main]
        return tensor

    @property
    def batched(self) -> bool:
        """Whether several samples can be given at once."""
        return "sample" in self.axes

    @property
    def positions(self) -> tuple[str, ...]:
        """The axes of positions."""
        return position_axes(self.axes)

    @property
    def sizes(self) -> dict[str, int]:
        """How many positions there are along each axis."""
        return sizes_of_input(self.input, self.axes)

    def cropped(self, sizes: Mapping[str, int]) -> Source:
        """The first positions only; what else has as many is cut too, and lengths are lowered."""
        crops = {self.sizes[axis]: size for axis, size in sizes.items()}
        leaves = [
            _cropped(leaf, crops, axis)
            for leaf, axis in zip(self.arguments, self.sample_axes, strict=True)
        ]
        leaves[self.main] = self.input
        for axis, size in sizes.items():
            leaves[self.main] = leaves[self.main].narrow(self.axes.index(axis), 0, size)
        return replace(self, arguments=tuple(leaves))

    def asked(
        self, queries: Sequence[Query | None], generator: torch.Generator, *, nan: bool
    ) -> Source:
        """A batch with one sample for each question; None is the sample as it is."""
        batch = self._along_samples(lambda leaf, axis: leaf.repeat_interleave(len(queries), axis))
        changed = batch.input.clone()
        other = noise(self.input, generator, nan=nan)
        if self.tokens is not None:
            other = partial(_other_tokens, tokens=self.tokens, generator=generator)
        replace_parts(changed, self.axes, queries, other)
        before, after = batch.arguments[: self.main], batch.arguments[self.main + 1 :]
        return replace(batch, arguments=(*before, changed, *after))

    def call(self, model: nn.Module) -> None:
        """Run the model on it."""
        leaves = list(self.arguments)
        if self.packed:
            lengths = torch.full((self.input.shape[0],), self.input.shape[1])
            leaves[self.main] = pack_padded_sequence(self.input, lengths, batch_first=True)
        args, kwargs = pytree.tree_unflatten(leaves, self.tree)
        model(*args, **kwargs)

    def one_sample(self) -> Source:
        """The longest sample alone, going by the lengths and masks that come with it."""
        if not self.batched:
            return self
        n = self.input.shape[self.axes.index("sample")]
        score = torch.zeros(n)
        for index, (leaf, axis) in enumerate(zip(self.arguments, self.sample_axes, strict=True)):
            if axis == 0 and index != self.main and not leaf.is_floating_point():
                score += leaf.detach().reshape(n, -1).sum(1).cpu()
        best = int(score.argmax())
        return self._along_samples(lambda leaf, axis: leaf.detach().narrow(axis, best, 1))

    def _along_samples(self, function: Callable[[Tensor, int], Tensor]) -> Source:
        leaves = zip(self.arguments, self.sample_axes, strict=True)
        changed = (leaf if axis is None else function(leaf, axis) for leaf, axis in leaves)
        return replace(self, arguments=tuple(changed))


def _is_packed(leaf: object) -> bool:
    return isinstance(leaf, PackedSequence)


def _may_be_main(leaf: object) -> bool:
    if not isinstance(leaf, Tensor):
        return _is_packed(leaf)
    return leaf.ndim > 1 and leaf.dtype != torch.bool and not leaf.is_complex()


def _sample_axis(leaf: object, main: Tensor, axes: tuple[str, ...]) -> int | None:
    """Where a leaf has as many entries as there are samples, if possible where the input has."""
    if not isinstance(leaf, Tensor) or "sample" not in axes:
        return None
    usual = axes.index("sample")
    n = main.shape[usual]
    if leaf is main or leaf.shape[usual : usual + 1] == (n,):
        return usual
    return leaf.shape.index(n) if n in leaf.shape else None


def _cropped(leaf: Any, crops: Mapping[int, int], sample_axis: int | None) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    if leaf.ndim == 1 and sample_axis == 0 and not leaf.is_floating_point():
        return leaf.clamp(max=max(crops.values()))  # lengths
    for axis, size in enumerate(leaf.shape):
        if axis != sample_axis and size in crops:
            leaf = leaf.narrow(axis, 0, crops[size])
    return leaf


def _other_tokens(part: Tensor, *, tokens: Tensor, generator: torch.Generator) -> Tensor:
    place = torch.searchsorted(tokens, part.contiguous())
    step = torch.randint(1, len(tokens), part.shape, generator=generator).to(place.device)
    return tokens[(place + step) % len(tokens)]
