"""A bounded sample of rows that depends on their ids alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from torchprobe.accumulators.bounded import Bounded
from torchprobe.accumulators.slots import int64
from torchprobe.errors import MergeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from torchprobe.accumulators.base import State
    from torchprobe.accumulators.groups import Groups

__all__ = ["BoundedSample"]


class BoundedSample(Bounded):
    """A uniform sample of at most ``n`` rows, the same however they are batched (methods P4).

    The rows kept are those whose ids have the smallest hashes, splitmix64 of id XOR seed: uniform,
    repeatable, independent of batches, order and processes. A row whose id comes twice (the padding
    of a distributed sampler, a resumed epoch) is kept once, as it came first. `rows`, `ids` and
    `labels` are in the order of the hashes (per group: label by label), so that their beginning is
    a smaller sample.

    Source: Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, for
    the hash; bottom-n sampling by hash.

    Args:
        shape: the shape of one row: channels, or e.g. ``(channels, time)`` for maps.
        n: how many rows are kept; 5000 because t-SNE and pairwise distances (200 MB in float64)
            remain feasible.
        seed: another seed takes another sample.
        per_group: keep ``n`` rows of every label.

    Example:
        >>> import torch
        >>> sample = BoundedSample(2, n=3)
        >>> rows = torch.arange(16.0).view(8, 2)
        >>> sample.update(rows[4:], torch.arange(4, 8))
        >>> sample.update(rows[:5], torch.arange(5))
        >>> sample.ids.tolist(), sample.rows.tolist()
        ([3, 5, 7], [[6.0, 7.0], [10.0, 11.0], [14.0, 15.0]])
    """

    key_slot = int64("item")

    def __init__(
        self, shape: int | Sequence[int], n: int = 5000, seed: int = 0, *, per_group: bool = False
    ) -> None:
        super().__init__(shape, n, per_group=per_group)
        self.seed = seed

    def reduce(self, rows: Tensor, ids: Tensor, labels: Tensor | Groups | None = None) -> State:
        """The rows of one batch that may enter; rows [row, *shape], ids int64 [row].

        Labels, int64 [row] or `Groups`, are kept beside the rows; negative ones are ignored.

        Raises:
            ShapeError: rows have another shape, or ids or labels are not one per row.
            LabelError: ids are not int64, or labels are missing where ``per_group`` needs them.
        """
        return self._reduce(hash_order(ids, self.seed), ids, rows, labels)

    def check(self, state: Mapping[str, Tensor]) -> None:
        """Raise `MergeError` unless a full state is a sample of this kind, drawn with this seed."""
        super().check(state)
        if not torch.equal(state["keys"], hash_order(state["ids"], self.seed)):
            raise MergeError(f"this sample was drawn with another seed than {self.seed}")


def hash_order(ids: Tensor, seed: int) -> Tensor:
    """splitmix64 of id XOR seed, lowered by 2⁶³ to keep its order in int64: [item] on the CPU.

    Example:
        >>> hash_order(torch.arange(8), 0).argsort()[:3].tolist()
        [3, 5, 7]
    """
    z = ids.cpu().long().numpy().view(np.uint64) ^ np.uint64(seed % 2**64)
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return torch.from_numpy((z ^ np.uint64(1 << 63)).view(np.int64))
