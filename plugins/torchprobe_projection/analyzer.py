"""A layer in two dimensions by several methods, and how far each can be trusted."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from torchprobe import Analyzer
from torchprobe.errors import InsufficientDataError, LabelError
from torchprobe_projection import settings
from torchprobe_projection.classes import Classes
from torchprobe_projection.clouds import cloud_of
from torchprobe_projection.labelled_sample import LabelledSample
from torchprobe_projection.linear import Random
from torchprobe_projection.measuring import Measuring
from torchprobe_projection.projector import place
from torchprobe_projection.registry import title

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from torchprobe import Field, Layer, LayerBatch, Result
    from torchprobe_projection.clouds import Cloud
    from torchprobe_projection.projector import Picture, Projector

__all__ = ["Projection"]

NAMES = {"part": ("learnt from", "held out"), "axis": ("x", "y")}
"""Names along the axes of loss curves and coordinates."""

_LIBRARIES = ("numpy", "scipy", "scikit-learn")


class Projection(Analyzer):
    """A layer's rows as points of the plane, and how far each picture of them can be trusted.

    The methods that learn (PCA, the autoencoder, UMAP-train) see a sample of the "fit" split; all
    are shown, and measured on, the same sample of the "score" split, which is chosen by the rows'
    ids and so is the same in every layer with the same rows. Where there is one split only, a part
    of its sample is held out and shown. Labels colour the points and are what `hit` and `accuracy`
    speak of; one picture serves all groupings, and there need be none.

    Fields of the result; the last of the methods is "random", coordinates that know nothing:

    - ``coordinates`` (method, point, axis), with the rows' ``ids`` (point);
    - ``pd`` (method): Procrustes distance, the share of the variance that a picture misses, 0..1,
      and ``pca_bound``, the least that any picture can miss;
    - ``mi`` (method): mutual information of rows and picture (KSG), in nats;
    - ``dc`` (method): distance correlation;
    - ``trustworthiness``, ``continuity`` (method): whether neighbours in the picture are neighbours
      in the layer, and the other way round, 0..1;
    - ``labels`` (grouping, point): the place of each point's class along ``class``, −1 without;
      ``class_grouping`` (class): the grouping each class belongs to;
    - ``hit``, ``accuracy`` (grouping, method): share of a point's neighbours in the picture with
      its label, and how often their majority is right; ``layer_hit`` and ``layer_accuracy``
      (grouping): the same in the layer itself;
    - ``stability`` (method), where asked for: how alike pictures are that were made from half the
      rows, 0..1;
    - ``n_points``, ``n_training``: how many rows are shown and were learnt from;
    - ``autoencoder_loss`` (epoch, part), and for the methods that are fixed maps what
      `torchprobe_projection.encoder` makes them from again;
    - ``rows`` (point, channel), where asked for.

    Args:
        methods: of `torchprobe_projection.projectors`; "paper" stands for the paper's four,
            "tsne", "umap", "umap_train" and "autoencoder". "available", the default, for PCA and
            those of "tsne", "umap" and "autoencoder" that are installed and can do with the rows
            there are; a note says which are left out, and why.
        measures: any of "pd", "mi", "dc", "trustworthiness", "continuity", "hit", "accuracy",
            "stability". The last makes every picture several times over, hence not by default.
        points: rows shown. 800 keep forty classes apart in a picture, and t-SNE, UMAP and the
            measures take some three seconds for them; the paper's three test files are some 2,000.
        training: rows that methods learn from, all that is kept of the "fit" split. UMAP compares
            each with each below 4,096; beyond, it has to be compiled for half a minute more.
        neighbours: of a point, for all measures that count them; 10 is the paper's for `mi`.
        seed: of the samples and of every method.
        options: settings of a method or measure by its name, e.g. ``{"tsne": {"perplexity": 50},
            "mi": {"form": "ksg2"}, "dc": {"form": "u"}, "pd": {"map": "linear"}}``;
            ``{"autoencoder": {"passes": 5}}`` lets it learn while the activations stream.
        keep_rows: keep the points' activations in the result, to measure or export them again.

    Raises:
        SettingError: a method, measure or option that does not exist, or a number out of range.
        MissingExtraError: a method's package is not installed.

    Source: Grósz & Kurimo 2020, sections 2 and 3, Table 1. Sample sizes, neighbours other than for
    `mi`, trustworthiness, continuity, hit and accuracy are not the paper's.

    Example:
        >>> import torch, torchprobe as tp
        >>> layer = tp.Layer("relu", tp.Axes.parse("sample channel"), (400, 8))
        >>> fork = Projection(methods="pca").fork(layer)
        >>> rows = torch.randn(400, 8, generator=torch.Generator().manual_seed(0))
        >>> fork.samples["fit"].update(rows, torch.arange(400))
        >>> result = fork.compute()
        >>> result.coords["method"], result.coordinates.shape
        (('pca', 'random'), (2, 200, 2))
        >>> bool(result.pca_bound < result.pd[0] < result.pd[1] < 1)
        True
    """

    name = "projection"
    splits = ("fit", "score")

    def __init__(
        self,
        methods: str | Iterable[str] = settings.AVAILABLE,
        measures: str | Iterable[str] = settings.DEFAULT_MEASURES,
        points: int = 800,
        training: int = 4000,
        neighbours: int = 10,
        seed: int = 0,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        keep_rows: bool = False,
    ) -> None:
        self.methods = settings.methods(methods)
        self.measures = settings.measures(measures)
        self.options = settings.options(options or {}, self.methods)
        self.points = settings.at_least("points", points, 2)
        self.training = settings.at_least("training", training, 2)
        self.neighbours = settings.at_least("neighbours", neighbours, 1)
        self.seed, self.keep_rows = seed, keep_rows
        self.passes = 1 + max(each.passes for each in self._projectors()[0].values())

    def start(self, layer: Layer) -> None:
        """A sample of each split; the fewer rows of "score" are only looked at."""
        sizes = {"fit": self.training, "score": self.points}
        self.samples = {
            split: LabelledSample(layer.channels, n, self.seed) for split, n in sizes.items()
        }
        learners = {
            name: each.learner(layer.channels, self.points, self.seed)
            for name, each in self._projectors()[0].items()
        }
        self.learners = {name: each for name, each in learners.items() if each is not None}

    def update(self, batch: LayerBatch) -> None:
        """Let the rows of a batch into the sample of its split; in later passes, be taught."""
        if batch.number:
            for learner in self.learners.values():
                learner.update(batch.rows(), batch.row_ids, batch.number, self.samples["fit"])
            return
        given = batch.given
        wanted = [name for name in given.labels if name in (self.groupings or given.labels)]
        labels = {name: _labels(batch.view(name, self.positions)) for name in wanted}
        self.samples[batch.split].update(self._kept(batch.rows()), batch.row_ids, groupings=labels)

    def compute(self) -> Result:
        """Every method's picture of the points, and every measure of it.

        Raises:
            EmptyStateError: nothing was seen.
            InsufficientDataError: fewer points than a measure or a method needs.
        """
        cloud = cloud_of(self.samples, self.points)
        measuring = Measuring(self.measures, self.neighbours, self.options)
        measuring.require_points(cloud)
        pictures, notes = self._pictures(cloud)
        classes = Classes.of(cloud.labels, self.names_of)
        places = np.stack([picture.coordinates for picture in pictures.values()])
        fields: dict[str, Any] = {
            "coordinates": ("method point axis", places),
            "ids": ("point", cloud.ids),
            "n_points": len(cloud.points),
            "n_training": len(cloud.training),
            **measuring.fields(cloud, pictures.values(), self.seed),
            **classes.fields,
            **_maps(pictures),
            **({"rows": ("point channel", cloud.points)} if self.keep_rows else {}),
        }
        result = self.result(
            coords={"method": tuple(pictures), **classes.coords, **NAMES},
            notes=[*cloud.notes, *notes, *classes.notes],
            **fields,
        )
        return _with_versions(result, [picture.projector for picture in pictures.values()])

    def _kept(self, rows: Tensor) -> Tensor:
        """Rows as the sample keeps them: at half the size where that loses nothing."""
        narrow = self.layer.dtype in (torch.float32, torch.float16, torch.bfloat16)
        return rows.float() if narrow and self.positions != "mean" else rows

    def _projectors(self) -> tuple[dict[str, Projector], list[str]]:
        return settings.projectors(self.methods, self.options)

    def _pictures(self, cloud: Cloud) -> tuple[dict[str, Picture], list[str]]:
        """Every method's picture, random coordinates last; and why some are left out."""
        projectors, notes = self._projectors()
        projectors[Random.name] = Random()
        pictures = {}
        for name, each in projectors.items():
            try:
                pictures[name] = place(each, cloud, self.seed, self.learners.get(name))
            except InsufficientDataError as error:
                if self.methods != settings.AVAILABLE:
                    raise
                notes.append(f"{title(name)} is left out: {error}")
        return pictures, notes


def _labels(view: LayerBatch) -> Tensor:
    """The labels of the rows in a grouping; -1 where they do not fit the positions of a layer.

    Labels only colour a picture: those of frames say nothing of a layer without frames, but that
    is no reason to go without the picture. The result says that none of its points has a label.
    """
    try:
        return view.labels
    except LabelError:
        return torch.full((len(view.rows()),), -1)


def _maps(pictures: Mapping[str, Picture]) -> dict[str, Field]:
    """What makes fixed maps usable for ever, and whatever else the methods want to be kept."""
    fields: dict[str, Field] = {}
    for name, picture in pictures.items():
        found = picture.fitted
        fields |= found.network.fields(name) if found.network else {}
        fields |= {f"{name}_{key}": field for key, field in found.fields.items()}
    return fields


def _with_versions(result: Result, projectors: Iterable[Projector]) -> Result:
    """The result with the versions of the libraries that made it."""
    packages = [package for each in projectors for package in each.packages]
    versions = {name: version(name) for name in (*_LIBRARIES, *packages)}
    known = result.provenance.get("versions", {})
    return replace(result, provenance={**result.provenance, "versions": {**known, **versions}})
