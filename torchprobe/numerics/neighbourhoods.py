"""Whether an embedding keeps neighbours, and whether neighbours share a label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from torchprobe.errors import LabelError, SettingError
from torchprobe.numerics._arrays import Array, Indices, as_paired_points, as_points
from torchprobe.numerics.distances import BlockDistances

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def trustworthiness(x: ArrayLike, embedded: ArrayLike, neighbours: int = 5) -> float:
    """How far neighbours in the embedding were neighbours in x [row, channel] (0..1, 1 best).

    Each intruder among the ``neighbours`` nearest is penalised by its rank in x beyond them.
    Equals ``sklearn.manifold.trustworthiness``, in memory that grows with rows, not with pairs;
    points tied in x share the better rank. Source: Venna & Kaski 2001.

    Raises:
        ShapeError: rows are not paired.
        NonFiniteError: NaN or infinity.
        SettingError: neighbours outside 1..rows/2.

    >>> trustworthiness([[0, 0], [1, 0], [5, 0], [6, 0], [9, 1]], [0, 1, 5, 6, 9], neighbours=2)
    1.0
    """
    points, view = as_paired_points(x, embedded)
    n = len(points)
    if not 1 <= neighbours < n / 2:
        raise SettingError(f"neighbours={neighbours}; expected at least 1 and fewer than {n / 2:g}")
    spaces = BlockDistances(points), BlockDistances(view)
    penalty = sum(
        _intrusion(dx, dy, neighbours)
        for dx, dy in zip(*(space.to_others() for space in spaces), strict=True)
    )
    return 1.0 - penalty * 2.0 / (n * neighbours * (2.0 * n - 3.0 * neighbours - 1.0))


def continuity(x: ArrayLike, embedded: ArrayLike, neighbours: int = 5) -> float:
    """How far neighbours in x are still neighbours in the embedding (0..1, 1 best).

    :func:`trustworthiness` with the two spaces exchanged. Source: Venna & Kaski 2001.

    Raises:
        ShapeError: rows are not paired.
        NonFiniteError: NaN or infinity.
        SettingError: neighbours outside 1..rows/2.

    >>> continuity([[0, 0], [1, 0], [5, 0], [6, 0], [9, 1]], [0, 1, 5, 6, 9], neighbours=2)
    1.0
    """
    return trustworthiness(embedded, x, neighbours)


def neighbourhood_hit(points: ArrayLike, labels: ArrayLike, neighbours: int = 5) -> float:
    """Mean share of a point's nearest neighbours that carry its label (0..1).

    points [row, dimension], labels [row]; a point is not its own neighbour. Source: Paulovich et
    al. 2008, section 5.

    Raises:
        LabelError: not one label per point.
        SettingError: neighbours outside 1..rows − 1.

    >>> neighbourhood_hit([0.0, 1.0, 10.0, 11.0], ["a", "a", "b", "a"], neighbours=1)
    0.5
    """
    own, others = _neighbour_labels(points, labels, neighbours)
    return float(np.mean(others == own[:, np.newaxis]))


def neighbour_accuracy(points: ArrayLike, labels: ArrayLike, neighbours: int = 5) -> float:
    """Accuracy (0..1) of the majority vote of each point's nearest other points.

    Leave-one-out k-nearest-neighbour classification; of labels with equal votes the one that
    sorts first wins. Source: Grósz & Kurimo 2020, section 4 (categories seen to separate).

    Raises:
        LabelError: not one label per point.
        SettingError: neighbours outside 1..rows − 1.

    >>> neighbour_accuracy([0.0, 1.0, 2.0, 10.0, 11.0, 12.0], list("aaabbb"), neighbours=2)
    1.0
    """
    from scipy.stats import mode

    own, others = _neighbour_labels(points, labels, neighbours)
    return float(np.mean(mode(others, axis=1).mode == own))


def _neighbour_labels(
    points: ArrayLike, labels: ArrayLike, neighbours: int
) -> tuple[Indices, Indices]:
    """Label index of each point [row] and of its nearest other points [row, neighbour]."""
    from sklearn.neighbors import NearestNeighbors

    view, names = as_points(points, "points"), np.asarray(labels)
    if names.shape != (len(view),):
        raise LabelError(f"labels have shape {names.shape}; expected one for each of {len(view)}")
    if not 1 <= neighbours < len(view):
        raise SettingError(f"neighbours={neighbours}; expected 1 to {len(view) - 1}")
    own = np.unique(names, return_inverse=True)[1].astype(np.intp)
    index = NearestNeighbors(n_neighbors=neighbours).fit(view)
    return own, own[index.kneighbors(return_distance=False)]


def _intrusion(dx: Array, dy: Array, neighbours: int) -> int:
    """Ranks in x beyond the neighbourhood, summed over the neighbours in the embedding."""
    nearest = torch.from_numpy(dy).topk(neighbours, dim=1, largest=False).indices
    sought = torch.from_numpy(dx).gather(1, nearest)  # [row, neighbour]
    ranked = torch.from_numpy(np.sort(dx, axis=1))  # without the indices torch would add
    ranks = 1 + torch.searchsorted(ranked, sought)
    return int((ranks - neighbours).clamp_min(0).sum())
