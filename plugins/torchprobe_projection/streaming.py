"""How well a kept map still serves, on any amount of data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators import CrossScatter
from torchprobe.numerics import procrustes_from_moments

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike
    from torch import Tensor

    from torchprobe_projection.network import PlaneNetwork

__all__ = ["streamed_procrustes"]


def streamed_procrustes(encoder: PlaneNetwork, batches: Iterable[ArrayLike | Tensor]) -> float:
    """Procrustes distance (0..1) between rows and their places on a fixed map, seen once.

    Unlike the other measures it needs no pairs of rows, so that any number of them can be streamed:
    the same number, exactly, as of all rows at once, in memory that does not grow with them.

    Args:
        encoder: the map, from `torchprobe_projection.encoder`.
        batches: rows [row, channel] of each.

    Raises:
        EmptyStateError: there is no row.
        InsufficientDataError: all rows are equal, or all their places.
        ShapeError: rows of another width.

    Example:
        >>> from torchprobe_projection import Pca
        >>> rows = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 1, 0], [2, 1, 1]])
        >>> network = Pca().fit(rows.numpy(), seed=0).network
        >>> round(streamed_procrustes(network, rows.split(3)), 7)
        0.0317076
    """
    pairs = CrossScatter(encoder.widths[0], 2)
    for batch in batches:
        rows = torch.as_tensor(batch).double()
        with torch.no_grad():
            pairs.update(rows, encoder(rows))
    return procrustes_from_moments(
        pairs.value.numpy(force=True), float(pairs.squares_x), float(pairs.squares_y)
    )
