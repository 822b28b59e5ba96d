"""Scatter of rows about the means of their groups, pooled: what scatter statistics share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators.base import Accumulator, State
from torchprobe.accumulators.centred_rows import CentredRows
from torchprobe.accumulators.groups import Groups, align, relabelled, union
from torchprobe.accumulators.products import add_product_
from torchprobe.accumulators.slots import Slots, float64, int64

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["PooledScatter"]


class PooledScatter(Accumulator):
    """Count and mean of each group and one scatter about these means (methods P2w).

    The scatter is kept as its lower triangle; `products.symmetric` reads it. A batch of fewer rows
    than channels is not multiplied out until it is absorbed: its state holds the centred rows
    ("factor") in place of the scatter, so that what waits for a commit is never larger than the
    smaller of the two and no product is computed twice.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    @property
    def slots(self) -> Slots:
        return {
            "groups": int64("group"),
            "counts": int64("group"),
            "means": float64("group", self.channels),
            "scatter": float64(self.channels, self.channels),
        }

    def _reduce(self, rows: Tensor, groups: Groups) -> State:
        """The state of a batch [row, channel] in which every row has a group."""
        if not groups.n:
            return {}
        centred = CentredRows(rows, groups, self.device)
        state = {"groups": groups.values, "counts": centred.counts, "means": centred.means}
        if len(rows) < self.channels:
            return state | {"factor": torch.cat(list(centred.parts()))}
        scatter = centred.means.new_zeros(self.channels, self.channels)
        for part in centred.parts():
            add_product_(scatter, part)
        return state | {"scatter": scatter}

    def absorb(self, state: State) -> None:
        mine = self.state or self._empty(state)
        groups, counts, means, between = _joined(mine, state)
        scatter = mine["scatter"]
        add_product_(scatter, between)
        if "factor" in state:
            add_product_(scatter, state["factor"].to(scatter.device))
        else:
            scatter += state["scatter"].to(scatter.device)
        self.state = {"groups": groups, "counts": counts, "means": means, "scatter": scatter}

    def _empty(self, like: State) -> State:
        means = like["means"]
        return {
            "groups": like["groups"][:0],
            "counts": like["counts"][:0],
            "means": means[:0],
            "scatter": means.new_zeros(self.channels, self.channels),
        }

    def relabel(self, mapping: Mapping[int, int]) -> None:
        if self.state:
            groups, order = relabelled(self.state["groups"], mapping)
            order = order.to(self.state["means"].device)
            counts, means = self.state["counts"][order], self.state["means"][order]
            self.state = self.state | {"groups": groups, "counts": counts, "means": means}


def _joined(mine: State, other: State) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Groups, counts and means of both states together, and by how much their means differed.

    The last, [group of the other, channel], is scaled so that its product is what Chan's update
    adds to the scatter.
    """
    device = mine["means"].device
    groups = union(mine["groups"], other["groups"])
    counts, means = (align(mine[name], mine["groups"], groups) for name in ("counts", "means"))
    at = torch.searchsorted(groups, other["groups"]).to(device)
    before, added = counts[at], other["counts"].to(device)
    share = (added.double() / (before + added))[:, None]
    delta = other["means"].to(device) - means[at]
    between = delta * (before[:, None] * share).sqrt()
    return groups, counts.index_add(0, at, added), means.index_add(0, at, delta * share), between
