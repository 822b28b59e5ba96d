"""The transforms of output nodes: their means, templates and clusters, class by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from torchprobe.numerics import classical_mds_of_points, upgma

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from torchprobe_slt.points import Points

    Array = NDArray[np.float64]

__all__ = ["Output", "distances", "output_fields"]


@dataclass(frozen=True, eq=False)
class Output:
    """The output layer at some samples."""

    transforms: Tensor
    """[sample, node, input], of all nodes."""
    inputs: Tensor
    """What the nodes see: [sample, input]."""
    nodes: Tensor
    """The node of each class: int64 [class]."""


def output_fields(
    output: Output, points: Points, nearest: int, clusters: int
) -> dict[str, tuple[str, Any]]:
    """Means of all nodes; templates and clusters of each class's own node."""
    own = [
        (samples, output.transforms[samples, node].double(), output.inputs[samples].double())
        for samples, node in zip(points.members(right=True), output.nodes.tolist(), strict=True)
    ]
    means = [output.transforms[samples].double().mean(0) for samples in points.members()]
    return {
        "class_node": ("class", output.nodes),
        "transforms": ("class node input", torch.stack(means)),
        "features": ("class input", _means(output.inputs[each] for each in points.members())),
        "n_class": ("class", torch.tensor([len(each) for each in points.members()])),
        **_templates([(points.ids[at], rows, inputs) for at, rows, inputs in own], nearest),
        **_clustered(own, clusters),
    }


def _means(parts: Iterable[Tensor]) -> Tensor:
    return torch.stack([part.double().mean(0) for part in parts])


def _templates(
    own: list[tuple[Tensor, Tensor, Tensor]], nearest: int
) -> dict[str, tuple[str, Any]]:
    """Mean transform and mean input of the samples nearest to the mean of a class's transforms."""
    found = [_nearest(*each, nearest) for each in own]
    return {
        "template": ("class input", torch.stack([rows.mean(0) for rows, _ in found])),
        "template_features": ("class input", torch.stack([inputs.mean(0) for _, inputs in found])),
        "template_n": ("class", torch.tensor([len(rows) for rows, _ in found])),
    }


def _nearest(ids: Tensor, rows: Tensor, inputs: Tensor, n: int) -> tuple[Tensor, Tensor]:
    far = distances(rows, rows.mean(0)).cpu()
    best = torch.from_numpy(np.lexsort((ids.numpy(), far.numpy()))[:n])
    return rows[best], inputs[best]


def distances(rows: Tensor, centroids: Tensor) -> Tensor:
    """How far transforms are from their centroid: [sample].

    In float32: points of one region have the same transform, and rounding must not put them in
    order; the smaller id comes first.
    """
    found: Tensor = (rows - centroids).norm(dim=1).float()
    return found


def _clustered(
    own: list[tuple[Tensor, Tensor, Tensor]], clusters: int
) -> dict[str, tuple[str, Any]]:
    """Each class's points by the distances of their transforms: clusters and a map."""
    found = [_clusters(rows.numpy(force=True), clusters) for _, rows, _ in own]
    n = [len(samples) for samples, _, _ in own]
    width = own[0][1].shape[1]
    sums = [
        _cluster_means(rows.numpy(force=True), inputs.numpy(force=True), which, clusters)
        for (_, rows, inputs), (which, _, _) in zip(own, found, strict=True)
    ]
    return {
        "points": ("point input", torch.cat([rows for _, rows, _ in own]).view(-1, width)),
        "point_features": ("point input", torch.cat([inputs for *_, inputs in own])),
        "point_class": ("point", np.repeat(np.arange(len(own)), n)),
        "point_cluster": ("point", np.concatenate([which for which, _, _ in found])),
        "point_order": ("point", np.concatenate([order for _, order, _ in found])),
        "point_map": ("point component", np.concatenate([points for _, _, points in found])),
        "cluster_size": ("class cluster", np.stack([size for size, _, _ in sums])),
        "cluster_transform": ("class cluster input", np.stack([mean for _, mean, _ in sums])),
        "cluster_features": ("class cluster input", np.stack([mean for _, _, mean in sums])),
    }


def _clusters(rows: Array, clusters: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """Cluster, place under the dendrogram, and place on the map of each of a class's points."""
    n = len(rows)
    if n < 2:  # noqa: PLR2004 - nothing to compare
        return np.zeros(n, np.intp), np.arange(n), np.zeros((n, 2))
    tree = upgma(rows, "euclidean")
    height = tree.heights[n - clusters - 1] if clusters < n else -1.0
    order = np.empty(n, np.intp)
    order[tree.order] = np.arange(n)
    return tree.cut(height), order, classical_mds_of_points(rows).points


def _cluster_means(
    rows: Array, inputs: Array, which: NDArray[np.intp], clusters: int
) -> tuple[NDArray[np.intp], Array, Array]:
    """Size, mean transform and mean input of each cluster; NaN where there is none."""
    sizes = np.bincount(which, minlength=clusters)[:clusters]
    means = np.full((2, clusters, rows.shape[1]), np.nan)
    for cluster in np.flatnonzero(sizes):
        means[:, cluster] = rows[which == cluster].mean(0), inputs[which == cluster].mean(0)
    return sizes, means[0], means[1]
