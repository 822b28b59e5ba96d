"""Which classes each unit of a layer responds to, and which units respond alike."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from torchprobe import Analyzer, Field
from torchprobe.accumulators import GroupMeans
from torchprobe.errors import SettingError
from torchprobe_selectivity.group_moments import GroupMoments
from torchprobe_selectivity.indices import dprime, morcos
from torchprobe_selectivity.trees import Method, Profiles, clustered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from torchprobe import Layer, LayerBatch, Result

    Array = NDArray[np.float64]

__all__ = ["ClassSelectivity"]

Index = Literal["morcos", "dprime"]
_INDICES = ("morcos", "dprime")
_LINKAGE = ("left", "right", "distance", "size")


class ClassSelectivity(Analyzer):
    """Class selectivity vectors: the mean activation of each unit for each class.

    Units (nodes) are clustered by 1 − Pearson r of their vectors, classes by that of their profiles
    over all units. The number of node clusters says how many different response patterns a layer
    has; in a trained network it grows with depth. "Selectivity" here is the vector of class means,
    neither an index of it (see ``indices``) nor the accuracy of a probe minus that of a control.

    Fields of the result:

    - ``csv`` (class, channel): mean activation, in the units of the activation;
    - ``counts`` (class): rows of each class;
    - ``dead`` (channel): whether a unit's class means are all the same, so that r is undefined;
      such units are left out of the clustering, and ``n_dead`` counts them;
    - ``node_linkage``, ``node_order`` and ``class_linkage``, ``class_order``: both dendrograms, as
      scipy writes them (clustered items numbered from 0), and the clustered items from left to
      right, by their index along ``channel`` and ``class``;
    - ``node_cluster`` (channel): cluster at ``cutoff``, numbered from left to right, −1 for units
      left out; ``n_clusters`` counts them, NaN where there is nothing to cluster;
    - ``morcos`` (channel) and ``mean_morcos``: Morcos's index, 0..1, where asked for; see
      `torchprobe_selectivity.indices.morcos` for where it is undefined;
    - ``dprime`` (class, channel): d' of the class against the rest, where asked for; see
      `torchprobe_selectivity.indices.dprime`.

    Classes without a row do not appear.

    Args:
        cutoff: distance, 0..2, at or below which merges are applied. 0.5 is the paper's.
        method: "average" (UPGMA, the paper's) or "complete" linkage.
        indices: any of "morcos", "dprime"; d' streams second moments beside the means.
        max_nodes: units beyond which they are not clustered: 10,000 need 0.8 GB for a moment, and
            the need grows with the square.

    Raises:
        SettingError: a cutoff outside 0..2, an unknown method or index.

    Source: Nagamine & Mesgarani 2017, section 3.1, Eq. 6 and Fig. 2. Constant units are excluded
    (the paper does not say what it does with them).

    Example:
        >>> import torch, torchprobe as tp
        >>> layer = tp.Layer("relu", tp.Axes.parse("sample channel"), (4, 3))
        >>> fork = ClassSelectivity(indices="morcos").fork(layer, "label")
        >>> fork.means.update(
        ...     torch.tensor([[2.0, 0, 1], [4, 0, 1], [0, 5, 1], [1, 6, 1]]),
        ...     torch.tensor([0, 0, 1, 1]),
        ... )
        >>> result = fork.compute()
        >>> result.csv.tolist(), result.n_clusters, result.dead.tolist()
        ([[3.0, 0.0, 1.0], [0.5, 5.5, 1.0]], 2.0, [False, False, True])
        >>> result.morcos.round(3).tolist()
        [0.714, 1.0, 0.0]
    """

    name = "class_selectivity"
    needs_labels = True

    def __init__(
        self,
        cutoff: float = 0.5,
        method: Method = "average",
        indices: Index | Iterable[Index] = (),
        max_nodes: int = 10_000,
    ) -> None:
        self.cutoff = _cutoff(cutoff)
        self.method = _chosen("method", (method,), ("average", "complete"))[0]
        self.indices = _chosen("indices", indices, _INDICES)
        self.max_nodes = max_nodes

    def start(self, layer: Layer) -> None:
        """Means of each class, and their spread where d' is wanted."""
        kind = GroupMoments if "dprime" in self.indices else GroupMeans
        self.means: GroupMeans = kind(layer.channels)

    def update(self, batch: LayerBatch) -> None:
        """Add the rows of a batch to their classes."""
        rows = batch.rows() if "dprime" in self.indices else batch.row_parts()
        self.means.update(rows, batch.groups)

    def compute(self) -> Result:
        """The class means, both clusterings and the indices asked for.

        Raises:
            EmptyStateError: no row with a label was seen.
        """
        csv = self.means.value.numpy(force=True)  # [class, channel]
        nodes = clustered(csv.T, "units", "classes", self.method, self.max_nodes)
        classes = clustered(csv, "classes", "units", self.method, self.max_nodes)
        return self.result(
            coords={"class": self.class_names(self.means.groups), "linkage": _LINKAGE},
            notes=[*nodes.notes, *classes.notes],
            csv=("class channel", csv),
            counts=("class", self.means.counts),
            **self._clusters(nodes),
            **nodes.fields("node"),
            **classes.fields("class"),
            **self._indices(csv),
        )

    def _clusters(self, nodes: Profiles) -> dict[str, Any]:
        count = nodes.clustering.count(self.cutoff)
        return {
            "dead": ("channel", nodes.constant),
            "n_dead": _defined(nodes.constant.sum(), len(self.means.groups) > 1),
            "node_cluster": ("channel", nodes.clustering.cut(self.cutoff)),
            "n_clusters": _defined(count, nodes.compared),
        }

    def _indices(self, csv: Array) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        if "morcos" in self.indices:
            index = morcos(csv)
            defined = index[~np.isnan(index)]
            fields["morcos"] = Field("channel", index, range=(0, 1))
            mean = float(defined.mean()) if len(defined) else math.nan
            fields["mean_morcos"] = Field("", mean, range=(0, 1))
        if isinstance(self.means, GroupMoments):
            squares = self.means.squares.numpy(force=True)
            index = dprime(self.means.counts.numpy(force=True), csv, squares)
            fields["dprime"] = Field("class channel", index, unit="standard deviations")
        return fields


def _defined(count: int, known: bool) -> float:
    """A count, or NaN where there is nothing to count."""
    return float(count) if known else math.nan


def _cutoff(cutoff: float) -> float:
    if not 0 <= cutoff <= 2:  # noqa: PLR2004 - NaN fails too
        raise SettingError(
            f"cutoff={cutoff!r}; 1 - Pearson r lies within 0..2, and 0.5 is the paper's cutoff"
        )
    return float(cutoff)


def _chosen(setting: str, values: str | Iterable[str], allowed: tuple[str, ...]) -> tuple[Any, ...]:
    """The values, each once, in the order of those allowed."""
    values = (values,) if isinstance(values, str) else tuple(values)
    for value in values:
        if value not in allowed:
            raise SettingError(f"{setting}={value!r}; choose from {', '.join(map(repr, allowed))}")
    return tuple(value for value in allowed if value in values)
