"""From a batch to the maps or windows that belong to its labels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch.nn import functional

from torchprobe.accumulators import Groups
from torchprobe.errors import LabelError, ShapeError
from torchprobe_nap.sums import Maps, WindowedRows, sum_maps, sum_windows, with_rest

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from torchprobe import LayerBatch
    from torchprobe_nap.sums import MapSums
    from torchprobe_nap.windows import Windows

__all__ = ["Edges", "cut_maps", "cut_windows", "labels_of"]

Edges: TypeAlias = Literal["exclude", "partial", "zero"]
Scratch: TypeAlias = "Callable[..., Tensor]"


def labels_of(batch: LayerBatch) -> Tensor:
    """The labels as they were given: int64 [sample] or [sample, *positions].

    Raises:
        LabelError: there are none, or they are not for these samples.
    """
    given = batch.given.labels.get(str(batch.grouping))
    if given is None:
        return batch.labels  # says what is missing
    if len(given) != len(batch.values):
        raise LabelError(
            f"labels {batch.grouping!r} are for {len(given)} samples but layer "
            f"{batch.layer.name!r} has {len(batch.values)}"
        )
    return given


# -- whole maps


def cut_maps(
    batch: LayerBatch, kept: tuple[int, ...], *, crop: bool, scratch: Scratch
) -> MapSums | Maps:
    """Whole maps, with a label for each sample.

    Args:
        batch: what a layer delivered.
        kept: positions kept of each map, from its start.
        crop: whether maps may be longer, and shorter ones are left out; else that is an error.
        scratch: gives memory for maps that are to be summed later.

    Raises:
        LabelError: labels are given per position.
        ShapeError: maps differ in length.
    """
    labels = labels_of(batch)
    if labels.ndim > 1:
        raise LabelError(
            f"profiles of whole maps of layer {batch.layer.name!r} need one label per sample, but "
            f"labels {batch.grouping!r} have shape {tuple(labels.shape)}; use window='field' or "
            "window=(left, right) for labels per position"
        )
    present = _present(batch)
    if not crop:
        _check_equal(batch, kept)
        held = _held(batch, scratch) if present is None else None
        if held is not None:
            return held
    labels = labels if present is None else labels.masked_fill(~present.to(labels.device), -1)
    rows, whole = _cropped(*aligned_rows(batch), batch, kept)
    complete = labels if whole is None else labels[whole]
    left_out = int((labels >= 0).sum() - (complete >= 0).sum())
    rows = rows if whole is None else rows[whole.to(rows.device)]
    groups = Groups.of(complete).to(rows.device)
    sums = sum_maps(rows.flatten(0, 1), groups, math.prod(kept))
    return replace(sums, left_out=left_out)


def _held(batch: LayerBatch, scratch: Scratch) -> Maps | None:
    """Maps as they are, to be summed later; None where that would gain nothing, or not be right.

    Values are copied, for the model may overwrite them.
    """
    values = batch.values
    if values.device.type != "cpu" or not values.is_floating_point():
        return None
    if not len(values) or not batch.surely_finite:
        return None
    flat = values.flatten(2) if values.ndim > 2 else values[..., None]  # noqa: PLR2004
    maps = scratch(*flat.shape, dtype=values.dtype).copy_(flat)  # [map, channel, position]
    samples, grouping = (len(values),), str(batch.grouping)
    groups = batch.given.groups(grouping, samples, batch.layer.name, values.device)
    return Maps(with_rest(groups), maps.transpose(1, 2))


def _present(batch: LayerBatch) -> Tensor | None:
    """Which samples have any position that counts: bool [sample]; None where all do."""
    if batch.mask is None:
        return None
    present = batch.mask.reshape(len(batch.mask), -1).any(1)
    return None if bool(present.all()) else present


def _check_equal(batch: LayerBatch, expected: tuple[int, ...]) -> None:
    shape, mask = tuple(batch.values.shape[2:]), batch.mask
    known = None if mask is None else mask.reshape(len(mask), -1)  # [sample, position]
    short = 0 if known is None else int((known.any(1) & ~known.all(1)).sum())
    if shape == expected and not short:
        return
    got = f"{short} of {len(batch.values)} maps are padded" if short else f"there are maps {shape}"
    raise ShapeError(
        f"profiles of whole maps need maps of one size, but at layer {batch.layer.name!r} {got} "
        f"where {expected} positions are expected; keep the first with length=..., pool them with "
        "positions='mean', or label positions and use window='field'"
    )


def _cropped(
    rows: Tensor, valid: Tensor | None, batch: LayerBatch, kept: tuple[int, ...]
) -> tuple[Tensor, Tensor | None]:
    """The positions kept [sample, position, channel], and which samples have all; None: all do."""
    n, shape = len(batch.values), tuple(batch.values.shape[2:])
    if any(size < wanted for size, wanted in zip(shape, kept, strict=True)):
        missing = torch.zeros(n, dtype=torch.bool)
        return rows.new_zeros(n, math.prod(kept), rows.shape[1]), missing
    corner = (slice(None), *(slice(size) for size in kept))
    maps = rows.view(n, *shape, rows.shape[1])[corner]
    whole = None if valid is None else valid.view(n, *shape)[corner].reshape(n, -1).all(1).cpu()
    return maps.reshape(n, math.prod(kept), rows.shape[1]), whole


# -- windows


def cut_windows(batch: LayerBatch, windows: Windows, edges: Edges) -> MapSums | WindowedRows:
    """Windows of the map of a layer with one position axis.

    Args:
        batch: what the layer delivered.
        windows: where they begin and what their labels are.
        edges: what happens to those that are not all data.
    """
    maps = _Maps.of(batch)
    if edges == "exclude":
        chosen = maps.windowed(maps.complete(windows), windows)
        return chosen if chosen.rows.device.type == "cpu" else _summed(chosen)
    maps, windows = maps.widened(windows)
    begun = maps.data_at(windows.first + windows.centre)
    summed = _summed(maps.windowed(begun, windows))
    if edges == "zero":
        return summed
    held = replace(maps, rows=maps.valid.double().view(-1, 1))
    return replace(summed, weights=_summed(held.windowed(begun, windows)).sums[..., 0])


def _summed(cut: WindowedRows) -> MapSums:
    made = sum_windows(cut.rows, cut.starts, cut.groups, cut.width)
    return replace(made, left_out=cut.left_out)


@dataclass(frozen=True, eq=False)
class _Maps:
    """A batch's maps, one behind the other."""

    rows: Tensor
    """Float64 [row, channel], zeros where `valid` is false."""
    valid: Tensor
    """Bool [sample, position]."""

    @classmethod
    def of(cls, batch: LayerBatch) -> _Maps:
        rows, valid = aligned_rows(batch)
        if valid is None:
            valid = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
        return cls(rows, valid.view(len(batch.values), -1))

    def complete(self, windows: Windows) -> Tensor:
        """Which windows hold data alone: bool [sample, window]."""
        positions, end = self.valid.shape[1], windows.first + windows.width
        inside = ((windows.first >= 0) & (end <= positions)).to(self.valid.device)
        missing = functional.pad((~self.valid).cumsum(1), (1, 0))  # [sample, position]
        begin, end = (at.clamp(0, positions) for at in (windows.first, end))
        return inside & (missing[:, end] == missing[:, begin])

    def data_at(self, at: Tensor) -> Tensor:
        """Whether there is data at positions, in or out of the map: bool [sample, window]."""
        last = self.valid.shape[1] - 1
        inside = ((at >= 0) & (at <= last)).to(self.valid.device)
        return inside & self.valid[:, at.clamp(0, last)]

    def widened(self, windows: Windows) -> tuple[_Maps, Windows]:
        """With as many zeros on both sides as windows reach out of the maps."""
        n, positions = self.valid.shape
        left = max(0, -int(windows.first.min()))
        right = max(0, int(windows.first.max()) + windows.width - positions)
        maps = functional.pad(self.rows.view(n, positions, -1), (0, 0, left, right))
        wide = _Maps(maps.flatten(0, 1), functional.pad(self.valid, (left, right)))
        return wide, replace(windows, first=windows.first + left)

    def windowed(self, wanted: Tensor, windows: Windows) -> WindowedRows:
        """The rows and some of the windows, bool [sample, window]."""
        n, positions = self.valid.shape
        labels = windows.labels.to(wanted.device)  # [sample, window]
        groups = Groups.of(labels[wanted])
        begin = positions * torch.arange(n, device=wanted.device)
        first = windows.first.to(wanted.device) + begin[:, None]
        offered = (labels >= 0) & self.data_at(windows.first + windows.centre)
        left_out = int(offered.sum() - groups.counts.sum())
        starts = first[wanted]
        return WindowedRows(with_rest(groups), self.rows, starts, windows.width, left_out)


def aligned_rows(batch: LayerBatch) -> tuple[Tensor, Tensor | None]:
    """Every position's row, zeros where it does not count, and which do; None: all.

    The batch's own rows lack what does not count, so that positions would shift.
    """
    rows = batch.rows()
    last = batch.values.movedim(1, -1)  # [sample, *positions, channel]
    n = math.prod(last.shape[:-1])
    if len(rows) == n:
        return rows, None
    valid = torch.ones(n, dtype=torch.bool, device=rows.device)
    if batch.mask is not None:
        valid &= batch.mask.flatten().to(rows.device)
    if len(rows) < batch.n_rows:  # the batch left out rows that are not finite
        valid &= torch.isfinite(last.to(rows.device).double().sum(-1)).flatten()
    every = rows.new_zeros(n, rows.shape[1])
    every[valid] = rows
    return every, valid
