"""Sums of maps and of windows by group, each in one pass over a layer's rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators import Groups
from torchprobe_nap.profile_sums import MapSums

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

__all__ = ["sum_maps", "sum_windows"]


def sum_maps(
    rows: Tensor, groups: Groups, width: int, scratch: Callable[..., Tensor] | None = None
) -> MapSums:
    """Whole maps, summed by group.

    Args:
        rows: float64 [row, channel], ``width`` of them in a row for each map.
        groups: of the maps.
        width: positions of a map.
        scratch: gives memory of a shape, on the CPU; new one where None.

    >>> rows = torch.arange(6.0, dtype=torch.float64)[:, None]
    >>> made = sum_maps(rows, Groups.of(torch.tensor([4, -1, 4])), width=2)
    >>> made.sums.tolist(), made.rest.tolist()
    ([[[4.0], [6.0]]], [[2.0], [3.0]])
    """
    maps = rows.reshape(len(groups.index), -1)  # [map, position and channel]
    sums, borrowed = _zeros(scratch, rows, groups.n + 1, width, rows.shape[1])
    _add(sums.view(groups.n + 1, -1), groups, maps)
    return replace(_map_sums(sums, groups), borrowed=borrowed)


def sum_windows(
    rows: Tensor,
    starts: Tensor,
    groups: Groups,
    width: int,
    scratch: Callable[..., Tensor] | None = None,
) -> MapSums:
    """Windows of rows, summed by group: a correlation of labels with activations.

    The ``w``-th positions of all windows are the rows at which windows begin, shifted by ``w``. So
    it takes ``width`` sums over shifted rows, and no window is ever copied.

    Args:
        rows: float64 [row, channel], one utterance behind the other.
        starts: the row at which each window begins: int64 [window], at least ``width`` before the
            end.
        groups: of the windows.
        width: positions of a window.
        scratch: gives memory of a shape, on the CPU; new one where None.

    >>> rows = torch.arange(5.0, dtype=torch.float64)[:, None]
    >>> starts, groups = torch.tensor([0, 1, 3]), Groups.of(torch.tensor([4, -1, 4]))
    >>> made = sum_windows(rows, starts, groups, width=2)
    >>> made.sums.tolist(), made.rest.tolist(), made.weights.tolist()
    ([[[3.0], [5.0]]], [[1.0], [2.0]], [[2.0, 2.0]])
    """
    groups = groups.to(rows.device)
    sums, borrowed = _zeros(scratch, rows, width, groups.n + 2, rows.shape[1])
    if bool((starts[1:] > starts[:-1]).all()):  # no two begin at one row
        begun = _by_row(groups, starts, len(rows) - width + 1)
        for offset in range(width):
            _add(sums[offset], begun, rows[offset : offset + len(begun.index)])
    else:
        for offset in range(width):
            _add(sums[offset], groups, rows.index_select(0, starts + offset))
    return replace(_map_sums(sums[:, :-1].transpose(0, 1), groups), borrowed=borrowed)


def _zeros(scratch: Callable[..., Tensor] | None, rows: Tensor, *shape: int) -> tuple[Tensor, bool]:
    """Zeros where the rows are, and whether they lie in borrowed memory."""
    if scratch is None or rows.device.type != "cpu":
        return rows.new_zeros(shape), False
    return scratch(*shape).zero_(), True


def _add(sums: Tensor, groups: Groups, rows: Tensor) -> None:
    """Add rows [row, feature] to the sums [bin, feature] of their groups."""
    if rows.device.type == "cpu":
        sums.index_add_(0, groups.index, rows)
        return
    # accelerators add in an order of their own: a product keeps results repeatable
    hot = rows.new_zeros(len(sums), len(rows)).scatter_(0, groups.index[None], 1.0)
    torch.matmul(hot, rows, out=sums)


def _map_sums(sums: Tensor, groups: Groups) -> MapSums:
    """From sums by group [group, position, channel] whose last is of what has no label."""
    width = sums.shape[1]
    weights = groups.counts[:, None].expand(-1, width).double()
    unlabelled = float(len(groups.index)) - groups.counts.sum()
    return MapSums(groups, sums[:-1], weights, sums[-1], unlabelled.double().expand(width))


def _by_row(groups: Groups, starts: Tensor, reach: int) -> Groups:
    """The groups of the windows that begin at each of the first rows.

    What has no label comes behind the groups, and where no window begins behind that.
    """
    index = starts.new_full((max(reach, 0),), groups.n + 1).index_copy_(0, starts, groups.index)
    return Groups(groups.values, index, groups.counts)
