"""How a layer's neurons respond to groups of inputs, and which groups look alike to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from torchprobe import Analyzer, Field
from torchprobe_nap import settings
from torchprobe_nap.clusters import Base, GroupClusters, clustered, rank_correlation
from torchprobe_nap.cutting import Edges, cut_maps, cut_windows, labels_of
from torchprobe_nap.profile_sums import ProfileSums
from torchprobe_nap.profiles import Baseline, Profiles, profiles
from torchprobe_nap.windows import field_windows, stated_windows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from torchprobe import Layer, LayerBatch, Result
    from torchprobe.labels import ClassNames
    from torchprobe_nap.sums import Maps, MapSums, WindowedRows

    Array = NDArray[np.float64]

__all__ = ["NeuronActivationProfiles"]

Window: TypeAlias = "Literal['auto', 'map', 'field'] | tuple[int, int]"

_LINKAGE = ("left", "right", "distance", "size")


class NeuronActivationProfiles(Analyzer):
    """Neuron activation profiles (NAPs): how a layer's neurons respond to groups of inputs.

    The profile of a group is the mean of the layer's maps over all its inputs, less what all inputs
    have in common, each neuron's values sorted so that the time of a response does not matter.
    Groups are clustered by the Euclidean distance of their profiles.

    With a label per sample, the profile is that of the **whole map** of the layer. With a label per
    position (frame), it is that of the **window** of the map around the labelled position: of the
    positions that a network fed with this position's receptive field alone would compute. Their
    sums, over all windows of an utterance, are gathered in one pass over the layer's map.

    Fields of the result (positions are ``time``, ``height``, ..., as the layer names them):

    - ``counts`` (group): maps or windows of each group; ``rare`` (group): fewer than ``rare``;
    - ``distances`` (group, other): between profiles, in the units of the activation;
    - ``linkage`` (merge, linkage) and ``order`` (leaf): the dendrogram as scipy writes it, and the
      clustered groups from left to right;
    - ``threshold``: the percentile of the distances at or below which merges join; NaN for fewer
      than two groups;
    - ``cluster`` (group): numbered along the dendrogram; ``n_clusters`` counts them;
    - ``silhouettes`` (percentile): −1..1, of the clusters at other percentiles, NaN where
      undefined; ``mean_silhouette`` of those defined;
    - ``size_correlation``: rank correlation of a group's count with its mean distance, −1..1;
      negative where rare groups lie far away;
    - ``left_out``: labelled maps or windows that were incomplete;
    - ``mean`` (C), ``normalised`` (D), ``profile`` (E), the stages of the paper's Fig. 1, each
      (group, channel, *positions), and ``baseline`` (channel, *positions), unless ``stages`` is
      off.

    Layers without positions have one value a neuron, which sorting leaves as it is. Groups without
    a member do not appear.

    Args:
        window: "map", "field" or how many layer positions (left, right) of the labelled one belong
            to it. "auto" takes whole maps for labels per sample and "field" for labels per
            position.
        edges: of windows that stick out of the utterance, or into padding: "exclude" them; take
            them for the positions they have ("partial"); or with "zero" for the rest.
        baseline: "sample", the mean over all data with and without a label (the paper's), or
            "group", the unweighted mean of the groups.
        sort: whether each neuron's values are sorted; False keeps time.
        percentile: of the distances, 0..100, where the dendrogram is cut. 80 is the paper's.
        base: whether the percentile is that of every pair once ("condensed") or of the whole
            matrix with its zeros ("square").
        rare: groups with fewer members are marked. 20 leave in their mean about a fifth (1/√20) of
            what is particular to single examples.
        percentiles: of the silhouettes.
        stages: whether the result holds the maps themselves, which pictures of profiles need. Three
            arrays of 8 bytes for each group, channel and position: 3 MB for 40 groups, 96 channels
            and 33 positions, but 370 MB for 300 groups, 250 channels and 206 positions.
        length: positions kept of each whole map, from its start, where maps differ in length;
            shorter ones are left out and counted.

    Raises:
        SettingError: a setting that is not allowed.

    Source: Krug, Knaebel & Stober, "Neuron Activation Profiles for Interpreting Convolutional
    Speech Recognition Models", 2018, sections 3.1 and 3.3.

    Example:
        >>> import torch, torchprobe as tp
        >>> from torchprobe.labels import Labels
        >>> maps = torch.tensor([[[0.0, 2, 0], [1, 1, 1]], [[2, 0, 0], [1, 1, 1]],
        ...                      [[0, 0, 4], [3, 1, 1]]])
        >>> layer = tp.Layer("conv", tp.Axes.parse("sample channel time"), (3, 2, 3))
        >>> fork = NeuronActivationProfiles().fork(layer, "label")
        >>> batch = tp.LayerBatch(layer, maps, Labels(torch.tensor([0, 0, 1])))
        >>> fork.update(batch.view("label", "each"))
        >>> fork.compute().distances[0].round(6).tolist()
        [0.0, 3.018462]
    """

    name = "nap"
    needs_labels = True

    def __init__(
        self,
        window: Window = "auto",
        edges: Edges = "exclude",
        baseline: Baseline = "sample",
        sort: bool = True,
        percentile: float = 80.0,
        base: Base = "condensed",
        rare: int = 20,
        percentiles: Iterable[float] = (75.0, 80.0, 85.0, 90.0, 95.0),
        stages: bool = True,
        length: int | Sequence[int] | None = None,
    ) -> None:
        self.window: Window = settings.window(window)
        self.edges: Edges = settings.chosen("edges", edges, ("exclude", "partial", "zero"))
        self.baseline: Baseline = settings.chosen("baseline", baseline, ("sample", "group"))
        self.sort = bool(sort)
        self.percentile = settings.percent("percentile", percentile)
        self.base: Base = settings.chosen("base", base, ("condensed", "square"))
        self.rare = settings.count("rare", rare)
        self.percentiles = settings.percents("percentiles", percentiles)
        self.stages = bool(stages)
        self.length = settings.lengths(length)

    def start(self, layer: Layer) -> None:
        """Sums by group and over all."""
        self.sums = ProfileSums(layer.channels)

    def update(self, batch: LayerBatch) -> None:
        """Add a batch's maps, or all windows of its utterances."""
        self.sums.update(self._cut(batch))

    def _cut(self, batch: LayerBatch) -> MapSums | Maps | WindowedRows:
        if isinstance(self.window, tuple):
            return cut_windows(batch, stated_windows(batch, *self.window), self.edges)
        if self.window == "field" or (self.window == "auto" and labels_of(batch).ndim > 1):
            return cut_windows(batch, field_windows(batch), self.edges)
        kept, crop = self.length or batch.layer.position_shape, self.length is not None
        return cut_maps(batch, kept, crop=crop, scratch=self.sums.scratch)

    def compute(self) -> Result:
        """Profiles, distances and clusters of the groups seen.

        Raises:
            EmptyStateError: no complete map or window with a label was seen.
        """
        groups, counts = self.sums.groups, self.sums.counts.numpy(force=True)
        made = self._profiles()
        found = clustered(made.profile, self.percentile, self.percentiles, self.base)
        return self.result(
            coords={
                "group": self.class_names(groups),
                "linkage": _LINKAGE,
                "percentile": [f"{percentile:g}" for percentile in self.percentiles],
            },
            notes=self._notes(groups, found),
            counts=("group", counts),
            rare=("group", counts < self.rare),
            n_rare=float((counts < self.rare).sum()),
            left_out=float(self.sums.left_out),
            size_correlation=Field("", rank_correlation(counts, found.distances), range=(-1, 1)),
            **_cluster_fields(found),
            **(self._stages(made) if self.stages else {}),
        )

    def _profiles(self) -> Profiles:
        mean, overall = _by_channel(self.sums.mean), _by_channel(self.sums.overall)
        return profiles(mean, overall, self.baseline, sort=self.sort)

    def _notes(self, groups: Tensor, found: GroupClusters) -> list[str]:
        left_out, excluded = int(self.sums.left_out), len(found.clustering.excluded)
        absent = _absent(self.names, groups)
        notes = {
            f"{left_out:,} labelled maps or windows are left out: they are incomplete": left_out,
            f"{excluded} groups are not clustered: their profiles hold NaN or infinity": excluded,
            "there is one group only: nothing to cluster": len(groups) == 1,
            f"groups without a member: {', '.join(absent)}": absent,
        }
        return [note for note, told in notes.items() if told]

    def _stages(self, made: Profiles) -> dict[str, Any]:
        """The maps, with the positions in the layer's own axes."""
        axes = self.layer.axes.positions
        sizes: tuple[int, ...] = (made.mean.shape[2],)
        if len(self.layer.position_shape) != 1:
            axes = axes if self.layer.position_shape else ()
            sizes = self.length or self.layer.position_shape
        arrays = {name: getattr(made, name) for name in ("mean", "normalised", "profile")}
        fields: dict[str, Any] = {
            name: (("group", "channel", *axes), values.reshape(*values.shape[:2], *sizes))
            for name, values in arrays.items()
        }
        return {"baseline": (("channel", *axes), made.baseline.reshape(-1, *sizes)), **fields}


def _by_channel(maps: Tensor) -> Array:
    """[..., position, channel] → [..., channel, position]."""
    return np.ascontiguousarray(maps.transpose(-1, -2).numpy(force=True))


def _absent(names: ClassNames | None, groups: Tensor) -> list[str]:
    """The names that somebody gave and no label bore."""
    seen = set(groups.tolist())
    known = names.names if names else {}
    return [name for label, name in sorted(known.items()) if label not in seen]


def _cluster_fields(found: GroupClusters) -> dict[str, Any]:
    cluster, silhouettes = found.cluster, found.silhouettes
    return {
        "distances": Field("group other", found.distances, range=(0, None)),
        "linkage": ("merge linkage", found.clustering.linkage),
        "order": ("leaf", found.clustering.order),
        "threshold": Field("", found.threshold, range=(0, None)),
        "cluster": ("group", cluster),
        "n_clusters": float(cluster.max(initial=-1) + 1),
        "silhouettes": Field("percentile", silhouettes.scores, range=(-1, 1)),
        "mean_silhouette": Field("", silhouettes.mean, range=(-1, 1)),
    }
