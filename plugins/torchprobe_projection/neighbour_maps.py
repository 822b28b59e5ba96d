"""t-SNE and UMAP: projectors that lay points out so that neighbours stay together."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe_projection.projector import Fitted, Projector, require_rows

if TYPE_CHECKING:
    from torchprobe_projection.clouds import Array

__all__ = ["Tsne", "TsneTrain", "Umap", "UmapTrain"]

APPROXIMATE = 4096
"""Rows from which UMAP looks for neighbours instead of computing all distances; fewer it compares
pair by pair in Python, longer than it lays them out, so that it is given the distances instead."""


class Tsne(Projector):
    """t-SNE of the points themselves, as openTSNE lays them out.

    In one thread: the work between two threads' meetings is so short that a busy machine makes
    several slower than one, and their sums would differ from run to run.

    Args:
        perplexity: about how many neighbours each point minds; 30 is the package's default.
        settings: others of ``openTSNE.TSNE``, the package's defaults where not given.

    Source: van der Maaten & Hinton 2008; Grósz & Kurimo 2020, section 2.1, which states no
    settings.
    """

    name = "tsne"
    title = "t-SNE"
    packages = ("openTSNE",)
    extra = "projection"

    def __init__(self, perplexity: float = 30.0, **settings: Any) -> None:
        self.perplexity, self.settings = perplexity, settings

    def fit(self, rows: Array, seed: int) -> Fitted:
        """Lay out rows [row, channel].

        Raises:
            InsufficientDataError: fewer rows than three times the perplexity.
        """
        from openTSNE import TSNE

        least = int(3 * self.perplexity) + 1
        remedy = f"give more data or options={{{self.name!r}: {{'perplexity': ...}}}}"
        require_rows(rows, least, f"t-SNE with perplexity {self.perplexity:g}", remedy)
        chosen = {"n_jobs": 1, **self.settings, "perplexity": self.perplexity}
        embedding = TSNE(random_state=seed, **chosen).fit(np.asarray(rows, np.float64))
        return self._fitted(embedding)

    def _fitted(self, embedding: Any) -> Fitted:
        return Fitted(np.asarray(embedding))


class TsneTrain(Tsne):
    """t-SNE of the training rows, into which the points are placed one by one.

    Source: Poličar, Stražar & Zupan 2023, for the placing; not in Grósz & Kurimo 2020.
    """

    name = "tsne_train"
    title = "t-SNE-train"
    trained = True

    def _fitted(self, embedding: Any) -> Fitted:
        return Fitted(transform=lambda points: np.asarray(embedding.transform(points)))


class Umap(Projector):
    """UMAP of the points themselves.

    A seeded UMAP works in one thread. Its first use in a process takes some twenty seconds, in
    which it is compiled.

    Args:
        n_neighbors: how many neighbours each point minds; 15 is the package's default.
        settings: others of ``umap.UMAP``, the package's defaults where not given.

    Source: McInnes, Healy & Melville 2018; Grósz & Kurimo 2020, section 2.2, which states no
    settings.
    """

    name = "umap"
    title = "UMAP"
    packages = ("umap-learn",)
    extra = "projection"

    def __init__(self, n_neighbors: int = 15, **settings: Any) -> None:
        self.n_neighbors, self.settings = n_neighbors, settings

    def fit(self, rows: Array, seed: int) -> Fitted:
        """Lay out rows [row, channel].

        Raises:
            InsufficientDataError: no more rows than neighbours.
        """
        remedy = f"give more data or options={{{self.name!r}: {{'n_neighbors': ...}}}}"
        why = f"UMAP with {self.n_neighbors} neighbours"
        require_rows(rows, self.n_neighbors + 2, why, remedy)
        chosen = {"n_jobs": 1, **self.settings, "n_neighbors": self.n_neighbors}
        return self._fitted(_umap()(random_state=seed, **chosen), rows)

    def _fitted(self, reducer: Any, rows: Array) -> Fitted:
        if len(rows) >= APPROXIMATE or reducer.metric != "euclidean":
            return Fitted(reducer.fit(rows).embedding_)
        from sklearn.metrics import euclidean_distances

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "using precomputed metric")
            reducer.set_params(metric="precomputed")
            return Fitted(reducer.fit(euclidean_distances(rows)).embedding_)


class UmapTrain(Umap):
    """UMAP of the training rows, into which the points are then placed together.

    Source: Grósz & Kurimo 2020, section 3 (UMAP-train, fitted to 300 training utterances).
    """

    name = "umap_train"
    title = "UMAP-train"
    trained = True

    def _fitted(self, reducer: Any, rows: Array) -> Fitted:
        return Fitted(transform=reducer.fit(rows).transform)


def _umap() -> Any:
    """umap.UMAP, imported without its remark that TensorFlow is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)
        from umap import UMAP
    return UMAP
