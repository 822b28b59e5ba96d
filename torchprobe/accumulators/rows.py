"""Rows as accumulators take them: checked at the door, float64, in pieces that fit the cache."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchprobe.errors import SettingError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torchprobe.accumulators.groups import Groups

__all__ = [
    "as_shape",
    "check_labelled_rows",
    "check_rows",
    "float64_device",
    "float64_rows",
    "labelled_parts",
    "parts",
    "pieces",
    "positions_first",
    "row_parts",
]

_CPU_PIECE = 1 << 19
"""Elements handled at once: 4 MiB of float64 stay in the cache, which makes sums and moments of
[4096, 2048] rows three to eight times as fast as whole-batch passes."""
_TURNED = 1 << 17
"""Elements turned at once: a megabyte of float64."""
_SPARES = 4
"""Pieces of memory that are kept."""
_ACCELERATOR_PIECE = 1 << 24
"""Elements handled at once on an accelerator, where starting a kernel costs more than memory."""


def as_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """The shape of one row, from a number of channels or a sequence of sizes.

    Raises:
        SettingError: a size is negative.
    """
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(size < 0 for size in sizes):
        raise SettingError(f"a row cannot have shape {sizes}; sizes are 0 or more")
    return sizes


def check_rows(rows: Tensor, shape: tuple[int, ...]) -> None:
    """Raise `ShapeError` unless there are rows of this shape, [row, *shape]."""
    if rows.ndim == 0 or rows.shape[1:] != shape:
        expected = ", ".join(map(str, ("row", *shape)))
        raise ShapeError(f"rows have shape {tuple(rows.shape)}; expected [{expected}]")


def check_labelled_rows(rows: Tensor, groups: Groups, shape: tuple[int, ...]) -> None:
    """Raise `ShapeError` unless there are rows of this shape with one label each."""
    check_rows(rows, shape)
    if len(rows) != len(groups.index):
        raise ShapeError(f"{len(rows)} rows have {len(groups.index)} labels; give one to each row")


def float64_device(device: torch.device) -> torch.device:
    """Where values of a device are as float64: there, or on the CPU where it has none (MPS)."""
    return torch.device("cpu") if device.type == "mps" else device


def float64_rows(rows: Tensor, device: torch.device | None = None) -> Tensor:
    """Rows as float64, converted before anything is summed; on the CPU where a device has none.

    Half precision sums are biased even when only a batch is summed before the conversion.
    """
    rows = rows.detach()
    if rows.dtype == torch.float64 and device is None:
        return rows
    target = float64_device(device or rows.device)
    if rows.device != target and target.type == "cpu":
        rows = rows.cpu()
    return rows.to(device=target, dtype=torch.float64)


def positions_first(maps: Tensor, out: Tensor | None = None) -> Tensor:
    """[sample, channel, position] → float64 [sample, position, channel], which is contiguous.

    A few samples at a time are made float64 as they lie and turned in the cache: to read them
    turned from memory takes twice as long.

    Args:
        maps: of any floating dtype.
        out: where they are put, if that is there.

    Example:
        >>> positions_first(torch.tensor([[[1.0, 2, 3], [4, 5, 6]]])).tolist()
        [[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]]
    """
    last = maps.transpose(1, 2)
    if out is None:
        out = torch.empty(last.shape, dtype=torch.float64, device=maps.device)
    if maps.device.type != "cpu" or last.is_contiguous():
        return out.copy_(last)
    size = max(1, _TURNED // max(1, math.prod(maps.shape[1:])))
    for into, part in zip(out.split(size), last.split(size), strict=True):
        into.copy_(part.double())
    return out


def row_parts(maps: Tensor) -> Iterator[Tensor]:
    """The rows of [sample, channel, position], float64 [row, channel], some samples at a time.

    Sums over them take half the time of sums over all rows, which would first have to be turned, in
    memory that the system has to find. Here the memory is used again: a part is there until the
    next is asked for, and the last one until the end is told. It lies as the maps do, channels
    first as often as not.

    Args:
        maps: of any floating dtype, on the CPU.

    Example:
        >>> maps = torch.tensor([[[1.0, 2, 3], [4, 5, 6]]])
        >>> [part.tolist() for part in row_parts(maps)]
        [[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]]
    """
    size = max(1, _CPU_PIECE // max(1, math.prod(maps.shape[1:])))
    by_row = maps.transpose(1, 2).is_contiguous()
    order = (0, 2, 1) if by_row else (1, 0, 2)  # of the axes, as parts lie in memory
    memory = _memory(math.prod(maps[:size].shape))
    for part in maps.detach().split(size):
        seen = part.permute(order)
        held = memory[: part.numel()].view(seen.shape).copy_(seen)
        yield held.flatten(0, 1) if by_row else held.flatten(1).t()
    if len(memory) <= _CPU_PIECE and len(_spare) < _SPARES:
        _spare.append(
            memory
        )  # not if the last part may still be looked at: who stops early keeps it


_spare: list[Tensor] = []
"""Memory that was used before."""


def _memory(size: int) -> Tensor:
    """Memory for so many float64 numbers, nobody else's."""
    try:
        memory = _spare.pop()  # one step, so that no two threads get the same
    except IndexError:
        memory = None
    if memory is not None and len(memory) >= size:
        return memory
    with torch.inference_mode(mode=False):  # or it could not be written to later
        return torch.empty(size, dtype=torch.float64, device="cpu")


def labelled_parts(
    rows: Tensor | Iterable[Tensor],
    groups: Groups,
    shape: tuple[int, ...],
    device: torch.device | None = None,
) -> Iterator[Tensor]:
    """Rows that come at once or in parts, as float64 [row, feature], checked on the way.

    Args:
        rows: [row, *shape], or parts of them; all at once are checked before anything is done.
        groups: of the rows.
        shape: of one row.
        device: where they are wanted; where they are by default.

    Raises:
        ShapeError: rows have another shape, or labels are not one per row.
    """
    if isinstance(rows, Tensor):
        check_labelled_rows(rows, groups, shape)
        rows = (rows,)
    return _labelled(rows, groups.index.shape[0], shape, device)


def _labelled(
    parts: Iterable[Tensor], n_labels: int, shape: tuple[int, ...], device: torch.device | None
) -> Iterator[Tensor]:
    n_rows, width = 0, math.prod(shape)
    for part in parts:
        check_rows(part, shape)
        n_rows += part.shape[0]
        if n_rows <= n_labels:
            flat = float64_rows(part, device)
            yield flat if flat.ndim == 2 else flat.reshape(flat.shape[0], width)  # noqa: PLR2004
    if n_rows != n_labels:
        raise ShapeError(f"{n_rows} rows have {n_labels} labels; give one to each row")


def parts(rows: Tensor, at_least: int = 1) -> Iterator[slice]:
    """Slices of rows that are small enough to be worked on in the cache."""
    most = _CPU_PIECE if rows.device.type == "cpu" else _ACCELERATOR_PIECE
    size = max(at_least, most // max(1, math.prod(rows.shape[1:])))
    return (slice(start, start + size) for start in range(0, len(rows), size))


def pieces(rows: Tensor, device: torch.device | None = None) -> Iterator[Tensor]:
    """Rows as float64 [row, feature], a part at a time; only to be read, they may be the caller's.

    Example:
        >>> [tuple(piece.shape) for piece in pieces(torch.zeros(5, 2, 3))]
        [(5, 6)]
    """
    features = math.prod(rows.shape[1:])
    for part in parts(rows):
        piece = rows[part]
        yield float64_rows(piece, device).reshape(len(piece), features)
