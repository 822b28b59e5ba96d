"""What a network looks for in each class: clusters and templates of SLTs (NM17, Fig. 6 and 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from torchprobe.accumulators import BoundedSample, GroupMeans, Top
from torchprobe.errors import LabelError, LayerNotFoundError, SettingError
from torchprobe.numerics import Clustering, classical_mds_of_points, upgma
from torchprobe.wording import unknown
from torchprobe_slt.base import SltAnalyzer
from torchprobe_slt.truth import node_of
from torchprobe_slt.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from torchprobe import Layer, Network, NetworkBatch, Result
    from torchprobe_slt.base import Rows
    from torchprobe_slt.windows import WindowSpec

    Array = NDArray[np.float64]

__all__ = ["SltTemplates"]


class SltTemplates(SltAnalyzer):
    """What the network looks for in each class: the SLTs of the output nodes, and their variants.

    Of the samples that the network gets right, for each class and its own output node: the mean SLT
    and mean features over the ``nearest`` samples to the centroid of its SLTs (the template); and
    clusters of its SLTs by average linkage of Euclidean distances, each with its mean SLT, mean
    features and size. For every class and every node: the mean SLT, which shows how confusable
    classes are told apart.

    Fields: ``template``, ``template_features``, ``centroid``, ``features`` [class, input];
    ``template_count``, ``class_count``, ``own_node`` [class]; ``table`` [class, node, input];
    ``cluster_slt``, ``cluster_features`` [class, cluster, input] and ``cluster_count``
    [class, cluster], largest first, NaN and 0 where a class has fewer; ``samples``; and of the
    sample clustered, class by class in the order of the dendrogram: ``slt`` [item, input],
    ``item_class``, ``item_cluster`` [item] and ``mds`` [item, dimension].

    Args:
        output: the layer whose nodes stand for classes; the last probed one by default.
        clusters: into how many the SLTs of a class are cut; the paper shows about 6 to 8.
        samples: how many SLTs of a class are clustered, those with the smallest hashes of their
            ids.
        nearest: samples of a template; 50 as in the paper.
        classes: names of the output's nodes in their order, where labels are names.
        correct_only: leave out samples that the network gets wrong.
        fold: (columns, rows) into which drawings fold a flat input, such as (frames, mel bands).
        point, route, window, sample_axis, memory_budget: see `SltAnalyzer`.

    Raises:
        SettingError: fewer than 1 cluster or sample.

    Source: Nagamine & Mesgarani 2017, sections 4.1 and 4.3, Fig. 6 and 8. The number of clusters is
    not stated there. Takes two passes: the centroid must be known before what is nearest.
    """

    name = "slt_templates"
    needs_labels = True
    passes = 2

    def __init__(
        self,
        *,
        output: str | None = None,
        clusters: int = 6,
        samples: int = 512,
        nearest: int = 50,
        classes: Sequence[str] | None = None,
        correct_only: bool = True,
        fold: Sequence[int] | None = None,
        point: str | None = None,
        route: str = "auto",
        window: WindowSpec | None = None,
        sample_axis: int = 0,
        memory_budget: int | None = None,
    ) -> None:
        super().__init__(point, route, window, sample_axis, memory_budget)
        if min(clusters, samples, nearest) < 1:
            raise SettingError(
                f"clusters={clusters}, samples={samples}, nearest={nearest}; each is 1 or more"
            )
        self.output = output
        self.clusters, self.samples, self.nearest = clusters, samples, nearest
        self.classes, self.correct_only, self.fold = classes, correct_only, fold

    def start(self, network: Network, /) -> None:
        """Make the means, the sample and the lists of the nearest."""
        super().start(network)
        self._centroids: dict[int, Tensor] = {}
        size = self.size(network, self.layers[0])
        self.nodes, self.inputs_wide = size.nodes, size.inputs
        self.means = GroupMeans((size.nodes, size.inputs))
        self.features = GroupMeans(size.inputs)
        self.sample = BoundedSample(2 * size.inputs, self.samples, per_group=True)
        self.top = Top(self.nearest, 2 * size.inputs, largest=False, per_group=True)

    def wanted(self, network: Network) -> list[Layer]:
        """The output layer."""
        if self.output is None:
            return [network.layers[-1]]
        found = [layer for layer in network.layers if layer.name == self.output]
        if not found:
            raise LayerNotFoundError(
                unknown("layer", self.output, [layer.name for layer in network.layers])
            )
        return found

    def update(self, batch: NetworkBatch, /) -> None:
        """First the means and the sample, then those nearest to the centroids."""
        assert batch.grouping is not None
        if batch.number == 0:
            for (rows,) in self.rows(batch):
                labels, own = self._own(rows, batch.grouping)
                self.means.update(rows.values, labels)
                self.features.update(rows.inputs, labels)
                self.sample.update(torch.cat([own, rows.inputs], 1), rows.ids, labels)
            return
        for rows in self._own_rows(batch):
            labels, own = self._own(rows, batch.grouping)
            pair = torch.cat([own, rows.inputs], 1)
            self.top.update(pair, rows.ids, self._distances(own, labels), labels)

    def after(self, split: str, number: int) -> None:
        """Note the centroid of each class's SLTs of its own node."""
        if (split, number) == ("fit", 0) and self.means.state:
            groups = self.means.groups
            nodes = node_of(groups, self.classes, self.names)
            centroids = self.means.value[torch.arange(len(groups)), nodes]  # [class, input]
            self._centroids = dict(zip(groups.tolist(), centroids, strict=True))

    def compute(self) -> list[Result]:
        """Templates, clusters and the table of all nodes."""
        groups = self.means.groups
        self.after("fit", 0)
        fields = {
            "samples": int(self.means.counts.sum()),
            "own_node": ("class", node_of(groups, self.classes, self.names)),
            "input_shape": ("axis", self._shape()),
            "class_count": ("class", self.means.counts),
            "centroid": ("class input", torch.stack(list(self._centroids.values()))),
            "features": ("class input", self.features.value),
            "table": ("class node input", self.means.value),
            **self._templates(groups),
            **self._clustered(groups),
        }
        coords = {"class": self.class_names(groups)}
        if self.classes is not None and len(self.classes) == self.nodes:
            coords["node"] = tuple(self.classes)
        return [self.result(of=self.layers[0], coords=coords, notes=self.remarks(), **fields)]

    def _shape(self) -> tuple[int, ...]:
        """What an input is made of: that of the model, or of a window of it."""
        along, shape = self.window_of(self.layers[0]), self.input_shape(self.network)
        if along is None:
            return shape
        layer = self.layers[0]
        return Windows.of(along, shape, (layer.width, *layer.position_shape)).shape

    def _own_rows(self, batch: NetworkBatch) -> Iterator[Rows]:
        """The rows of a batch with the SLT of their own node alone, where that is cheaper."""
        layer = self.layers[0]
        if self.window_of(layer) is not None:
            yield from (rows for (rows,) in self.rows(batch))
            return
        arguments = self.arguments(batch)
        nodes = self._nodes(batch.labels).clamp(min=0).to(arguments.input.device)
        jacobian = self.sweep().own(arguments, nodes)
        yield self.rows_of(layer, jacobian, batch.given, slice(0, len(nodes)))

    def _nodes(self, labels: Tensor) -> Tensor:
        """The output node of each label, -1 where there is none: [row]."""
        nodes = node_of(labels, self.classes, self.names)
        if len(nodes) and int(nodes.max()) >= self.nodes:
            raise LabelError(
                f"label {int(nodes.max())} has no node: {self.layers[0].name!r} has {self.nodes}; "
                "choose the layer whose nodes stand for classes: output=..."
            )
        return nodes

    def _own(self, rows: Rows, grouping: str) -> tuple[Tensor, Tensor]:
        """Labels of rows, -1 for those to be left out, and the SLTs of their own nodes.

        Returns:
            [row] and [row, input].
        """
        labels = rows.labels(grouping)
        nodes = self._nodes(labels)
        out = nodes < 0
        if self.correct_only:
            out = out | (rows.outputs.argmax(1) != nodes)
        values = rows.values
        at = nodes.clamp(min=0) if values.shape[1] > 1 else torch.zeros_like(nodes)
        return labels.masked_fill(out, -1), values[torch.arange(len(nodes)), at]

    def _distances(self, own: Tensor, labels: Tensor) -> Tensor:
        """Euclidean distance of each SLT to its class's centroid; infinite where there is none."""
        distances = own.new_full((len(own),), torch.inf, dtype=torch.float64)
        for label, centroid in self._centroids.items():
            members = labels == label
            distances[members] = (own[members] - centroid.to(own.device)).double().norm(dim=1)
        return distances

    def _templates(self, groups: Tensor) -> dict[str, Any]:
        """Mean SLT and features of those nearest to each centroid; NaN where there are none."""
        labels, rows = self._kept(self.top)
        means = [rows[labels == group].mean(0) for group in groups]  # NaN where there are none
        both = torch.stack(means)
        return {
            "template": ("class input", both[:, : self.inputs_wide]),
            "template_features": ("class input", both[:, self.inputs_wide :]),
            "template_count": ("class", [int((labels == group).sum()) for group in groups]),
        }

    def _clustered(self, groups: Tensor) -> dict[str, Any]:
        labels, rows = self._kept(self.sample)
        width = self.inputs_wide
        each = [
            _Clusters.of(rows[labels == group].numpy(), width, self.clusters) for group in groups
        ]
        number = [np.full(len(one.cluster), place) for place, one in enumerate(each)]
        return {
            "cluster_slt": ("class cluster input", [one.means[:, :width] for one in each]),
            "cluster_features": ("class cluster input", [one.means[:, width:] for one in each]),
            "cluster_count": ("class cluster", [one.counts for one in each]),
            "slt": ("item input", np.concatenate([one.slts for one in each]).astype(np.float32)),
            "item_class": ("item", np.concatenate(number)),
            "item_cluster": ("item", np.concatenate([one.cluster for one in each])),
            "mds": ("item dimension", np.concatenate([one.mds for one in each])),
        }

    def _kept(self, items: BoundedSample | Top) -> tuple[Tensor, Tensor]:
        """Labels and rows that an accumulator keeps, on the CPU in float64."""
        if not items.state:
            return torch.empty(0, dtype=torch.int64), torch.empty(0, 2 * self.inputs_wide).double()
        return items.labels, items.rows.cpu().double()


@dataclass(frozen=True, eq=False)
class _Clusters:
    """The SLTs of one class, clustered."""

    slts: Array
    """In the order of the dendrogram: [item, input]."""
    cluster: NDArray[np.intp]
    """0 for the largest: [item]."""
    mds: Array
    """[item, 2]"""
    means: Array
    """Mean SLT and mean features beside each other, NaN where there is no such cluster:
    [cluster, 2 · input]."""
    counts: NDArray[np.intp]
    """[cluster]"""

    @classmethod
    def of(cls, rows: Array, width: int, clusters: int) -> _Clusters:
        """Cluster the SLTs of rows that hold SLT and features: [item, 2 · input]."""
        means, counts = np.full((clusters, 2 * width), np.nan), np.zeros(clusters, dtype=np.intp)
        if not len(rows):
            none = np.empty((0, width))
            return cls(none, np.empty(0, dtype=np.intp), np.empty((0, 2)), means, counts)
        tree = upgma(rows[:, :width], "euclidean")
        cluster = _by_size(_cut(tree, clusters))
        for number in range(cluster.max() + 1):
            members = rows[cluster == number]
            means[number], counts[number] = members.mean(axis=0), len(members)
        slts = rows[:, :width]
        points = classical_mds_of_points(slts).points
        return cls(slts[tree.order], cluster[tree.order], points[tree.order], means, counts)


def _cut(tree: Clustering, clusters: int) -> NDArray[np.intp]:
    """Cluster of each item, at most so many; fewer where merges are tied."""
    merges = len(tree.heights) + 1 - clusters
    return tree.cut(float(tree.heights[merges - 1]) if merges > 0 else -1.0)


def _by_size(cluster: NDArray[np.intp]) -> NDArray[np.intp]:
    """Clusters renumbered, the largest first, equal ones as they stood."""
    order = np.argsort(-np.bincount(cluster), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return np.asarray(rank[cluster])
