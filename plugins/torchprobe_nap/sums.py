"""What a batch adds to profiles: maps or windows, summed by group or still to be summed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from torchprobe import compat
from torchprobe.accumulators import Groups

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MapSums", "Maps", "WindowedRows", "sum_maps", "sum_windows", "with_rest"]


@dataclass(frozen=True, eq=False)
class MapSums:
    """Maps or windows, summed by group."""

    groups: Groups
    """Of the maps; −1 is the group of those without a label."""
    sums: Tensor
    """Float64 [group, position, channel]."""
    weights: Tensor
    """How many maps have each position: float64 [group, position]."""
    left_out: int = 0
    """Maps with a label that are in no sum because they are incomplete."""


@dataclass(frozen=True, eq=False)
class Maps:
    """Whole maps as they are, which are summed once they are absorbed.

    Maps in the model's precision take half the memory of their float64 sums, and are read once
    where sums by batch would be written and read again.
    """

    groups: Groups
    """Of the maps, likewise."""
    maps: Tensor
    """[map, position, channel], on the CPU, in memory of `ProfileSums.scratch`, channels first."""
    left_out: int = 0


@dataclass(frozen=True, eq=False)
class WindowedRows:
    """Rows and where windows of them begin, likewise."""

    groups: Groups
    """Of the windows, likewise."""
    rows: Tensor
    """Float64 [row, channel], one utterance behind the other, on the CPU."""
    starts: Tensor
    """The row at which each window begins: int64 [window]."""
    width: int
    left_out: int = 0

    def sums_at(self, places: range) -> Tensor:
        """Each group's sum of the rows that its windows have at some places.

        All sums together are one sparse matrix of ones times the rows: each row is read from the
        cache for every window that it is in, and no window is ever copied.

        Returns:
            Float64 [place, group, channel].
        """
        starts, counts = self._by_group
        columns = (starts + torch.arange(places.start, places.stop)[:, None]).flatten()
        ends = functional.pad(counts.repeat(len(places)).cumsum(0), (1, 0))
        return _times(ends, columns, self.rows).view(len(places), self.groups.n, -1)

    @cached_property
    def _by_group(self) -> tuple[Tensor, Tensor]:
        """Where windows begin, group by group, and how many each has."""
        order = self.groups.index.argsort(stable=True)
        return self.starts[order], self.groups.counts


def _times(ends: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """A sparse matrix of ones, by rows, times dense rows.

    >>> _times(torch.tensor([0, 2, 3]), torch.tensor([0, 2, 1]), torch.eye(3).double()).tolist()
    [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    ones, shape = rows.new_ones(len(columns)), (len(ends) - 1, len(rows))
    if torch.backends.mkl.is_available():
        return compat.sparse_rows(ends, columns, ones, shape) @ rows
    from scipy.sparse import csr_array

    matrix = csr_array((ones.numpy(), columns.numpy(), ends.numpy()), shape)
    return torch.from_numpy(matrix @ rows.numpy())


def with_rest(groups: Groups) -> Groups:
    """The same with −1 as the first group, where there is anything without a label.

    >>> made = with_rest(Groups.of(torch.tensor([4, -1, 4])))
    >>> made.values.tolist(), made.index.tolist(), made.counts.tolist()
    ([-1, 4], [1, 0, 1], [1, 2])
    """
    rest = len(groups.index) - groups.counts.sum()
    if not int(rest):
        return groups
    values = torch.cat([groups.values.new_full((1,), -1), groups.values])
    index = torch.where(groups.index == groups.n, -1, groups.index) + 1
    return Groups(values, index, torch.cat([rest[None], groups.counts]))


def sum_maps(rows: Tensor, groups: Groups, width: int) -> MapSums:
    """Whole maps, summed by group.

    Args:
        rows: float64 [row, channel], ``width`` of them in a row for each map.
        groups: of the maps, with or without −1 as a group.
        width: positions of a map.

    >>> rows = torch.arange(6.0, dtype=torch.float64)[:, None]
    >>> made = sum_maps(rows, Groups.of(torch.tensor([4, -1, 4])), width=2)
    >>> made.groups.values.tolist(), made.sums.tolist()
    ([-1, 4], [[[2.0], [3.0]], [[4.0], [6.0]]])
    """
    groups = with_rest(groups)
    sums = rows.new_zeros(groups.n, width, rows.shape[1])
    _add(sums.view(groups.n, -1), groups.index, rows.reshape(len(groups.index), -1))
    return MapSums(groups, sums, _weights(groups, width))


def sum_windows(rows: Tensor, starts: Tensor, groups: Groups, width: int) -> MapSums:
    """Windows of rows, summed by group: a correlation of labels with activations.

    The ``w``-th positions of all windows are the rows at which windows begin, shifted by ``w``. So
    it takes ``width`` sums over shifted rows, and no window is ever copied.

    Args:
        rows: float64 [row, channel], one utterance behind the other.
        starts: the row at which each window begins: int64 [window], at least ``width`` before the
            end.
        groups: of the windows, with or without −1 as a group.
        width: positions of a window.

    >>> rows = torch.arange(5.0, dtype=torch.float64)[:, None]
    >>> starts, groups = torch.tensor([0, 1, 3]), Groups.of(torch.tensor([4, -1, 4]))
    >>> made = sum_windows(rows, starts, groups, width=2)
    >>> made.sums.tolist(), made.weights.tolist()
    ([[[1.0], [2.0]], [[3.0], [5.0]]], [[1.0, 1.0], [2.0, 2.0]])
    """
    groups = with_rest(groups).to(rows.device)
    sums = rows.new_zeros(width, groups.n, rows.shape[1])
    for offset in range(width):
        _add(sums[offset], groups.index, rows.index_select(0, starts + offset))
    return MapSums(groups, sums.transpose(0, 1), _weights(groups, width))


def _weights(groups: Groups, width: int) -> Tensor:
    return groups.counts[:, None].expand(-1, width).double()


def _add(sums: Tensor, index: Tensor, rows: Tensor) -> None:
    """Add rows [row, feature] to the sums [group, feature] of their groups."""
    if rows.device.type == "cpu":
        sums.index_add_(0, index, rows)
        return
    # accelerators add in an order of their own: a product keeps results repeatable
    hot = rows.new_zeros(len(sums), len(rows)).scatter_(0, index[None], 1.0)
    torch.matmul(hot, rows, out=sums)
