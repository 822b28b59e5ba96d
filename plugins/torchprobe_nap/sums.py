"""Sums of maps and of windows by group, each in one pass over a layer's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators import Groups
from torchprobe.accumulators.group_means import group_sums
from torchprobe_nap.profile_sums import MapSums

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["sum_maps", "sum_windows"]


def sum_maps(rows: Tensor, groups: Groups, width: int, left_out: int = 0) -> MapSums:
    """Whole maps, summed by group.

    Args:
        rows: float64 [row, channel], ``width`` of them in a row for each map.
        groups: of the maps.
        width: positions of a map.
        left_out: passed on.

    >>> rows = torch.arange(6.0, dtype=torch.float64)[:, None]
    >>> made = sum_maps(rows, Groups.of(torch.tensor([4, -1, 4])), width=2)
    >>> made.sums.tolist(), made.total.tolist()
    ([[[4.0], [6.0]]], [[6.0], [9.0]])
    """
    maps = rows.reshape(len(groups.index), -1)  # [map, position and channel]
    every = _with_unlabelled(groups)
    sums = group_sums(maps, every).view(every.n, width, rows.shape[1])
    return _map_sums(sums, every.counts[:, None].expand(-1, width).double(), groups, left_out)


def sum_windows(
    rows: Tensor, starts: Tensor, groups: Groups, width: int, left_out: int = 0
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
        left_out: passed on.

    >>> rows = torch.arange(5.0, dtype=torch.float64)[:, None]
    >>> starts, groups = torch.tensor([0, 1, 3]), Groups.of(torch.tensor([4, -1, 4]))
    >>> made = sum_windows(rows, starts, groups, width=2)
    >>> made.sums.tolist(), made.total.tolist(), made.weights.tolist()
    ([[[3.0], [5.0]]], [[4.0], [7.0]], [[2.0, 2.0]])
    """
    every = _with_unlabelled(groups.to(rows.device))
    sums = rows.new_empty(width, every.n, rows.shape[1])
    if bool((starts[1:] > starts[:-1]).all()):  # no two begin at one row
        begun = _by_row(every, starts, len(rows) - width + 1)
        for offset in range(width):
            sums[offset] = group_sums(rows[offset : offset + len(begun.index)], begun)
    else:
        for offset in range(width):
            sums[offset] = group_sums(rows.index_select(0, starts + offset), every)
    weights = every.counts[:, None].expand(-1, width).double()
    return _map_sums(sums.transpose(0, 1), weights, groups, left_out)


def _map_sums(sums: Tensor, weights: Tensor, groups: Groups, left_out: int) -> MapSums:
    """From sums by group whose last is of what has no label."""
    total, total_weights = sums.sum(0), weights.sum(0)
    return MapSums(groups, sums[:-1], weights[:-1], total, total_weights, left_out)


def _with_unlabelled(groups: Groups) -> Groups:
    """The same with one group more, of what has no label, so that no row is ignored."""
    values = torch.cat([groups.values, groups.values.new_full((1,), torch.iinfo(torch.int64).max)])
    rest = len(groups.index) - groups.counts.sum()
    return Groups(values, groups.index, torch.cat([groups.counts, rest[None]]))


def _by_row(groups: Groups, starts: Tensor, reach: int) -> Groups:
    """The groups of the windows that begin at each of the first rows; ignored where none does."""
    index = starts.new_full((max(reach, 0),), groups.n).index_copy_(0, starts, groups.index)
    return Groups(groups.values, index, groups.counts)
