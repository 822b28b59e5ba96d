"""The Jacobians of a chain in closed form; units that a rectifier switched off are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchprobe_slt.fallen import Descent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torchprobe_slt.chain import Chain, Link
    from torchprobe_slt.spots import Spot

__all__ = ["chain_forward", "chain_reverse", "forward_cost", "reverse_cost"]

_IN_CACHE = 1 << 20
"""Bytes of what falls at once: products and slopes find it in the cache."""

_PICKING = 64
"""Multiplications that take as long as picking a weight out for one sample, as it was timed."""


def forward_cost(chain: Chain) -> float:
    """Multiplications a sample of the sweep from the input: every layer's J times the next W.

    Where rows are left out, the rest is gathered first; that is counted too.
    """
    top = max(at for at, link in enumerate(chain.links) if link.read)
    cost, waiting, live = 0.0, 0.0, 0.0  # nothing is multiplied for the first W
    sparse = any(link.density < 1 for link in chain.links[: top + 1])
    each = chain.n_inputs + (_PICKING if sparse else 0)  # that a weight costs
    for link in chain.links[: top + 1]:
        if link.weight is not None:
            cost += waiting
            waiting, live = len(link.weight) * live * each, float(len(link.weight))
        waiting, live = waiting * link.density, live * link.density
    return cost + waiting


def reverse_cost(chain: Chain) -> float:
    """Multiplications a sample of the sweeps from the nodes: one for each layer looked at."""
    return sum(descent.cost(chain) for descent in _descents(chain))


def chain_forward(chain: Chain) -> dict[str, Tensor]:
    """J of every layer looked at, [sample, node, input], from the input up."""
    if chain.like.device.type != "cpu":
        return _risen_together(chain)
    out: dict[str, Tensor] = {}
    for sample in range(chain.n_samples):
        rising = _Rising(chain, sample)
        for link in chain.links:
            rising.climb(link)
            for spot in link.read:
                rising.write(spot, out)
    return out


def chain_reverse(chain: Chain) -> dict[str, Tensor]:
    """J of every layer looked at, [sample, node, input], from its nodes down."""
    return {
        descent.spot.layer.name: (
            descent.fallen(chain)
            if descent.is_sparse(chain)
            else _fallen(chain, descent.below, descent.spot)
        )
        for descent in _descents(chain)
    }


# -- upwards


class _Rising:
    """One sample's J on its way up, without the rows that are zero.

    A linear map waits until the slopes after it are known: half of its rows need not be computed
    after a rectifier, and half of its columns meet nothing but zeros.
    """

    def __init__(self, chain: Chain, sample: int) -> None:
        self.chain, self.sample = chain, sample
        self.j: Tensor | None = None  # [row, input]; None for the identity
        self.rows: Tensor | None = None  # the units whose rows these are; None for all
        self.weight: Tensor | None = None
        self.slope: Tensor | None = None  # [unit]
        self.switches = True

    def climb(self, link: Link) -> None:
        """Go past one link."""
        if link.weight is not None:
            self._settle()
            self.weight = link.weight
        elif link.slope is not None:
            slope = link.of(self.sample)
            self.slope = slope if self.slope is None else self.slope * slope
            self.switches &= link.switches

    def write(self, spot: Spot, out: dict[str, Tensor]) -> None:
        """Put the nodes' rows where they belong: [sample, node, input]."""
        self._settle()
        like, n_inputs = self.chain.like, self.chain.n_inputs
        name = spot.layer.name
        if name not in out:
            out[name] = like.new_zeros(self.chain.n_samples, spot.n_nodes, n_inputs)
        rows, j = self.rows, self.j
        if j is None:
            out[name][self.sample].copy_(_nodes(spot, like)[0])
        elif rows is None:
            out[name][self.sample].copy_(spot.chosen(j[None])[0])
        elif spot.nodes is None:
            out[name][self.sample].index_copy_(0, rows, j)
        else:
            at = rows.new_full((spot.layer.width,), -1)
            at[rows] = torch.arange(len(rows))
            at = at[spot.nodes]
            out[name][self.sample, at >= 0] = j[at[at >= 0]]

    def _settle(self) -> None:
        """Multiply out what waits."""
        slope, self.slope = self.slope, None
        live = None if slope is None else _live(slope)
        if self.weight is not None:
            self._multiply(live)
        elif slope is not None:
            self._narrow(slope, live)
        if slope is not None and self.j is not None and not self.switches:
            here = slope if self.rows is None else slope.index_select(0, self.rows)
            self.j = self.j * here[:, None]
        self.switches = True

    def _multiply(self, live: Tensor | None) -> None:
        weight, self.weight = self.weight, None
        assert weight is not None
        weight = weight if live is None else weight.index_select(0, live)
        if self.rows is not None:
            weight = weight.index_select(1, self.rows)
        self.j = weight if self.j is None else weight @ self.j
        self.rows = live

    def _narrow(self, slope: Tensor, live: Tensor | None) -> None:
        """Leave out rows that have become zero."""
        if self.j is None:
            self.rows = live
            every = torch.arange(len(slope)) if live is None else live
            self.j = _unit_rows(every, self.chain.n_inputs, self.chain.like)
        elif self.rows is not None:
            kept = slope.index_select(0, self.rows).nonzero().squeeze(1)
            self.j, self.rows = self.j.index_select(0, kept), self.rows.index_select(0, kept)
        elif live is not None:
            self.j, self.rows = self.j.index_select(0, live), live


def _live(slope: Tensor) -> Tensor | None:
    """The units that are not switched off: int64 [row]; None for all."""
    live = slope.nonzero().squeeze(1)
    return None if len(live) == len(slope) else live


def _risen_together(chain: Chain) -> dict[str, Tensor]:
    """The same for all samples at once, zeros and all: what an accelerator likes better."""
    out: dict[str, Tensor] = {}
    like = chain.like
    eye = torch.eye(chain.n_inputs, dtype=like.dtype, device=like.device)
    j = eye.expand(chain.n_samples, -1, -1)
    for link in chain.links:
        if link.weight is not None:
            j = link.weight @ j
        elif link.slope is not None:
            j = j * link.slope[:, :, None]
        for spot in link.read:
            out[spot.layer.name] = spot.chosen(j)
    return out


# -- downwards


def _descents(chain: Chain) -> Iterator[Descent]:
    """The ways down from all layers looked at."""
    below: list[Link] = []
    for link in chain.links:
        below.insert(0, link)
        for spot in link.read:
            yield Descent(spot, tuple(below))


def _fallen(chain: Chain, below: Sequence[Link], spot: Spot) -> Tensor:
    """J of one layer from its nodes down; ``below`` are the links from it to the input."""
    out = chain.like.new_empty(chain.n_samples, spot.n_nodes, chain.n_inputs)
    widest = max(
        [chain.n_inputs, *(link.weight.shape[1] for link in below if link.weight is not None)]
    )
    size = max(1, _IN_CACHE // (spot.n_nodes * widest * out.element_size()))
    for start in range(0, chain.n_samples, size):
        samples = slice(start, start + size)
        _fall(chain, below, spot, samples, out[samples])
    return out


def _fall(chain: Chain, below: Sequence[Link], spot: Spot, samples: slice, out: Tensor) -> None:
    falling: Tensor | None = None  # [sample or 1, node, unit]; None for the nodes themselves
    own = False  # whether it is a product of ours, and no weight of the model's
    last = max((at for at, link in enumerate(below) if link.weight is not None), default=-1)
    for at, link in enumerate(below):
        if link.weight is not None and falling is None:
            falling = spot.chosen(link.weight[None])
        elif link.weight is not None and falling is not None:
            whole = at == last and len(falling) == len(out)
            falling, own = torch.matmul(falling, link.weight, out=out if whole else None), True
        elif link.slope is not None:
            slopes = link.at(samples)[:, None]
            before = _nodes(spot, link.slope) if falling is None else falling
            in_place = own and len(before) == len(out)
            falling, own = (before.mul_(slopes) if in_place else before * slopes), True
    if falling is not out:
        out.copy_(_nodes(spot, chain.like) if falling is None else falling)


def _nodes(spot: Spot, like: Tensor) -> Tensor:
    """The nodes as rows of the identity: [1, node, unit]."""
    nodes = torch.arange(spot.layer.width) if spot.nodes is None else spot.nodes
    return _unit_rows(nodes, spot.layer.width, like)[None]


def _unit_rows(at: Tensor, width: int, like: Tensor) -> Tensor:
    """Rows of the identity, without the others: [row, unit]."""
    rows = like.new_zeros(len(at), width)
    rows[torch.arange(len(at)), at] = 1
    return rows
