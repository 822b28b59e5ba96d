"""The tensors inside whatever a module returns, each with a stable path."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeGuard

__all__ = ["Leaf", "leaves", "listed", "plain"]

_DEEPEST = 32


class Leaf(NamedTuple):
    """One tensor of a nested output."""

    path: str
    """How it is reached: ``""`` for a plain tensor, ``"[1][0]"``, ``"[logits]"``."""
    tensor: Tensor | None
    """None where something is there that is no tensor."""
    lengths: Tensor | None = None
    """Valid positions of each sample, int64 [sample], where the container says so."""
    axes: str = ""
    """Axes that the container itself implies."""
    problem: str = ""
    """Why there is no tensor."""
    source: Any = None
    """What the model goes on with, where ``tensor`` is made from it."""

    @property
    def produced(self) -> Any:
        """What the model itself goes on with."""
        return self.tensor if self.source is None else self.source


def leaves(output: object, path: str = "", depth: int = 0) -> Iterator[Leaf]:
    """Every tensor in a module's output; things that may hide tensors are reported, not dropped.

    Tuples, lists, mappings (Hugging Face's ``ModelOutput`` is one), dataclasses, packed and nested
    tensors are opened. None, numbers, strings and shapes are passed over.

    Example:
        >>> import torch
        >>> output = torch.zeros(2), None, {"a": torch.ones(1)}
        >>> [(leaf.path, leaf.tensor.tolist()) for leaf in leaves(output)]
        [('[0]', [0.0, 0.0]), ('[2][a]', [1.0])]
    """
    if isinstance(output, Tensor):
        yield from _tensor(output, path)
    elif isinstance(output, PackedSequence):
        yield _packed(output, path)
    elif depth >= _DEEPEST:
        yield Leaf(path, None, problem=f"nested deeper than {_DEEPEST} levels")
    elif isinstance(output, (torch.Size, str, bytes, numbers.Number, type(None))):
        return
    else:
        parts = _parts(output)
        if parts is None:
            yield Leaf(path, None, problem=f"unknown container {type(output).__qualname__}")
            return
        for key, part in parts:
            yield from leaves(part, f"{path}[{key}]", depth + 1)


def listed(output: object) -> list[Leaf]:
    """`leaves` as a list, without detours for the plain tensor that almost every module returns."""
    return [Leaf("", output)] if plain(output) else list(leaves(output))


def plain(output: object) -> TypeGuard[Tensor]:
    """Whether this is one dense tensor of activations, as almost every module returns."""
    return type(output) is Tensor and _dense(output)


def _dense(tensor: Tensor) -> bool:
    strided = tensor.layout == torch.strided and not tensor.is_nested
    return strided and tensor.ndim > 0 and tensor.is_floating_point()


def _parts(output: object) -> list[tuple[object, object]] | None:
    if isinstance(output, Mapping):
        return list(output.items())
    if isinstance(output, (tuple, list)):
        return list(enumerate(output))
    if dataclasses.is_dataclass(output):
        return [(field.name, getattr(output, field.name)) for field in dataclasses.fields(output)]
    return None


def _packed(packed: PackedSequence, path: str) -> Leaf:
    padded, lengths = pad_packed_sequence(packed, batch_first=True)
    return Leaf(path, padded, lengths, "sample time channel", source=packed)


def _nested(nested: Tensor, path: str) -> Leaf:
    if nested.dim() != 3:  # noqa: PLR2004 - [sample, token, channel]
        told = (
            f"a nested tensor of {nested.dim()} dimensions; of [sample, token, channel] it is read"
        )
        return Leaf(path, None, problem=told)
    lengths = torch.tensor([len(part) for part in nested.unbind()])
    padded = torch.nested.to_padded_tensor(nested.detach(), 0.0)
    return Leaf(path, padded, lengths, "sample token channel", source=nested)


def _tensor(tensor: Tensor, path: str) -> Iterator[Leaf]:
    if _dense(tensor):
        yield Leaf(path, tensor)  # almost always
    elif tensor.is_nested:
        yield _nested(tensor, path)
    elif tensor.is_quantized:
        yield Leaf(path, tensor.dequantize())
    elif tensor.layout != torch.strided:
        yield Leaf(path, tensor.to_dense(), source=tensor)
    elif tensor.is_complex():
        yield Leaf(path, None, problem="complex values; probe torch.view_as_real of it")
    elif not tensor.is_floating_point():
        yield Leaf(path, None, problem=f"{tensor.dtype} values, not activations")
    else:
        yield Leaf(path, None, problem="a single number, no channels")
