"""From the nodes down without the units that are off, which products of torch cannot leave out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from torchprobe.compiled import can_compile, compiled
from torchprobe.threads import in_threads
from torchprobe_slt.tiles import ROWS, lanes, tile, use_tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from torchprobe_slt.chain import Chain, Link
    from torchprobe_slt.spots import Spot

__all__ = ["Descent"]

_WORTH = 3e9
"""Multiplications that are worth compiling for, which takes 1.5 s, once a process."""
_SAVES = 0.7
"""Up to which share of torch's multiplications doing only these is the faster way."""
_IN_CACHE = 1 << 18
"""Bytes of what falls at once: what one layer writes the next reads from the cache."""


@dataclass(frozen=True, eq=False)
class Descent:
    """The linear maps from a layer's nodes to the input, and the slopes between them."""

    spot: Spot
    below: Sequence[Link]
    """From the layer to the input."""

    @property
    def weights(self) -> list[Tensor]:
        """[unit, unit below], from the nodes down."""
        return [link.weight for link in self.below if link.weight is not None]

    @cached_property
    def gaps(self) -> list[list[Link]]:
        """Links with slopes: above the first map, between it and the next, below the last."""
        found: list[list[Link]] = [[]]
        for link in self.below:
            if link.weight is not None:
                found.append([])
            elif link.slope is not None:
                found[-1].append(link)
        return found

    @property
    def on(self) -> list[float]:
        """The share of units that are on in each gap."""
        return [math.prod(link.density for link in gap) for gap in self.gaps]

    @property
    def dense(self) -> float:
        """Multiplications a sample of whole products."""
        known = 0 if self.gaps[0] else 1  # nothing to multiply: the first map's rows
        return self.spot.n_nodes * sum(each.numel() for each in self.weights[known:])

    @property
    def sparse(self) -> float:
        """Multiplications a sample without the units that are off."""
        weights, on = self.weights, self.on
        below = zip(weights[1:], on[1:], on[2:], strict=False)
        units = sum(weight.numel() * above * under for weight, above, under in below)
        n_lanes = lanes(weights[0].element_size()) if weights else 1
        return math.ceil(self.spot.n_nodes * on[0] / n_lanes) * n_lanes * units

    def is_sparse(self, chain: Chain) -> bool:
        """Whether to leave rows out: where that can be compiled, is worth it, and saves some."""
        like = chain.like
        able = like.device.type == "cpu" and like.dtype in (torch.float32, torch.float64)
        worth = self.dense * chain.n_samples > _WORTH and self.sparse < _SAVES * self.dense
        return able and worth and can_compile()

    def cost(self, chain: Chain) -> float:
        """Multiplications a sample of the way that is taken."""
        return self.sparse if self.is_sparse(chain) else self.dense

    def fallen(self, chain: Chain) -> Tensor:
        """J of the nodes, [sample, node, input]; there must be a linear map.

        A unit that is off counts nothing, even where a weight is infinite.
        """
        first, *rest = (each.to(chain.like.dtype) for each in self.weights)
        top, *slopes = self._slopes(chain.like)
        nodes = slice(None) if self.spot.nodes is None else self.spot.nodes
        way = _Way(
            first[nodes].contiguous().numpy(),
            [each.T.contiguous().numpy() for each in rest],
            top[:, nodes].contiguous().numpy(),
            [each.numpy() for each in slopes],
            _machine(),
        )
        out = chain.like.new_zeros(chain.n_samples, self.spot.n_nodes, chain.n_inputs)
        in_threads(lambda samples: way.fall(samples, out.numpy()), chain.n_samples)
        return out

    def _slopes(self, like: Tensor) -> list[Tensor]:
        """Those of each gap as one: [sample or 1, unit]."""
        widths = [len(self.weights[0]), *(weight.shape[1] for weight in self.weights)]
        found = []
        for width, gap in zip(widths, self.gaps, strict=True):
            slopes = like.new_ones(1, width)
            for link in gap:
                slopes = slopes * link.at(slice(None)).to(like.dtype)
            found.append(slopes.contiguous())
        return found


@dataclass(frozen=True, eq=False)
class _Way:
    """A descent in the form that compiled code takes.

    What falls is [sample, block, unit, lane]: a block's lanes are some of the nodes that are on at
    the sample, its units those that are on.
    """

    first: Any
    """[node, unit]."""
    rest: Sequence[Any]
    """[unit below, unit]."""
    top: Any
    """Slopes of the nodes: [sample or 1, node]."""
    slopes: Sequence[Any]
    """Of the units below each map: [sample or 1, unit]."""
    steps: Sequence[Callable[..., None]]
    """`_begin`, `_go_down` and `_land`."""

    def fall(self, samples: slice, out: Any) -> None:
        """Go down with some samples, a few at a time."""
        n_lanes = lanes(out.itemsize)
        blocks = -(-len(self.first) // n_lanes)
        widest = max(each.shape[1] for each in self.slopes) + ROWS  # the last tile may be beyond
        size = max(1, _IN_CACHE // (blocks * widest * n_lanes * out.itemsize))
        both = np.empty((2, size, blocks, widest, n_lanes), out.dtype)
        for start in range(samples.start, samples.stop, size):
            part = slice(start, min(start + size, samples.stop))
            self._fall(part, both[:, : part.stop - part.start], out[part])

    def _fall(self, samples: slice, both: Any, out: Any) -> None:
        top, *slopes = (
            each if len(each) == 1 else each[samples] for each in (self.top, *self.slopes)
        )
        begin, go_down, land = self.steps
        falling, fallen = both
        begin(self.first, top, slopes[0], falling)
        for weights, above, below in zip(self.rest, slopes, slopes[1:], strict=False):
            go_down(weights, top, above, below, falling, fallen)
            falling, fallen = fallen, falling
        land(top, slopes[-1], falling, out)


# -- compiled; also right without, if slow


def _of(slopes: Any, sample: int) -> Any:
    """The slopes of one sample: [unit]."""
    return slopes[min(sample, len(slopes) - 1)]


def _on(slopes: Any) -> Any:
    """The units that are on, with unit 0 after them to fill the last tile; and how many are on."""
    units = np.zeros(len(slopes) + ROWS, np.int64)
    n = 0
    for unit in range(len(slopes)):
        units[n] = unit
        n += int(slopes[unit] != 0)  # no branch: half of the guesses would be wrong
    units[n : n + ROWS] = 0
    return units, n


def _begin(weights: Any, top: Any, below: Any, out: Any) -> None:
    """The nodes' own weights, with the slopes above and below."""
    n_lanes = out.shape[3]
    for sample in range(len(out)):
        above, slopes = _of(top, sample), _of(below, sample)
        (nodes, n_nodes), (units, n_units) = _on(above), _on(slopes)
        out[sample] = 0  # also the lanes that are left over: what lies there may be slow to add
        for at in range(n_nodes):
            node = nodes[at]
            for to in range(n_units):
                weight = above[node] * weights[node, units[to]]
                out[sample, at // n_lanes, to, at % n_lanes] = weight * slopes[units[to]]


def _go_down(weights: Any, top: Any, above: Any, below: Any, values: Any, out: Any) -> None:
    """Past one map [unit below, unit] and the slopes below it."""
    for sample in range(len(out)):
        slopes = _of(below, sample)
        (units, n_units), (chosen, n) = _on(slopes), _on(_of(above, sample))
        blocks = -(-_on(_of(top, sample))[1] // out.shape[3])
        for first in range(0, n_units, ROWS):
            for block in range(blocks):
                into = out[sample, block]
                tile(weights, slopes, units, first, chosen, n, values[sample, block], into)


def _land(top: Any, below: Any, values: Any, out: Any) -> None:
    """What has arrived at the input, where it belongs: [sample, node, input]."""
    n_lanes = values.shape[3]
    for sample in range(len(out)):
        (nodes, n_nodes), (units, n_units) = _on(_of(top, sample)), _on(_of(below, sample))
        for at in range(n_nodes):
            for to in range(n_units):
                out[sample, nodes[at], units[to]] = values[sample, at // n_lanes, to, at % n_lanes]


@cache
def _machine() -> tuple[Callable[..., Any], ...]:
    """`_begin`, `_go_down` and `_land` as machine code."""
    from numba.extending import register_jitable

    for called in (_of, _on):
        register_jitable(called)
    use_tiles()
    return compiled(_begin), compiled(_go_down), compiled(_land)
