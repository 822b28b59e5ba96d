"""How classes lie to one another in the discriminant spaces: aggregates, maps, expansion."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from torchprobe.errors import InsufficientDataError
from torchprobe.numerics import classical_mds_of_points, relative_expansion, smacof_mds
from torchprobe_lda.points import class_indices, has_answer, points, separable_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from torchprobe import Result
    from torchprobe.results import LayerResults
    from torchprobe_lda.points import Points

    Array = NDArray[np.float64]

__all__ = [
    "Aggregates",
    "aggregated",
    "centroids",
    "confused_pairs",
    "expansion",
    "mds_map",
    "tsne_map",
]

Form = Literal["mean_of_ratios", "ratio_of_means"]


@dataclass(frozen=True, eq=False)
class Aggregates:
    """Points in groups of neighbours of one class."""

    centres: Array
    """[group, component]"""
    sizes: NDArray[np.int64]
    """How many points a group has [group]."""
    classes: NDArray[np.intp]
    """Class of each group, as an index into `names` [group]."""
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.centres)


def aggregated(found: Points, per: int = 10, seed: int = 0) -> Aggregates:
    """Points of a class replaced by centres of K-means, one for every ``per`` of them.

    Source: Nagamine & Mesgarani 2017, section 3.2 and Fig. 4: K = N_k / 10, at least 1.

    Example:
        >>> from torchprobe_lda.points import Points
        >>> values = np.repeat([[0.0, 0], [4, 0]], 10, axis=0)
        >>> groups = aggregated(Points(values, np.zeros(20, dtype=int), ("a",)))
        >>> groups.centres.tolist(), groups.sizes.tolist()
        ([[0.0, 0.0], [4.0, 0.0]], [10, 10])
    """
    parts = [_centres(found.of(k), per, seed) for k in range(len(found.names))]
    return Aggregates(
        np.concatenate([centres for centres, _ in parts]),
        np.concatenate([sizes for _, sizes in parts]),
        np.repeat(np.arange(len(parts)), [len(sizes) for _, sizes in parts]),
        found.names,
    )


def _centres(values: Array, per: int, seed: int) -> tuple[Array, NDArray[np.int64]]:
    """Centres [group, component] in the order of their first coordinate, and their sizes."""
    from sklearn.cluster import KMeans

    distinct = len(np.unique(values, axis=0)) if len(values) else 0
    groups = min(max(1, len(values) // per), distinct)
    if groups == 0:
        return np.empty((0, values.shape[1])), np.empty(0, dtype=np.int64)
    model = KMeans(groups, n_init=1, random_state=seed).fit(values)
    order = np.lexsort(model.cluster_centers_.T[::-1])
    sizes = np.bincount(model.labels_, minlength=groups)
    return model.cluster_centers_[order], sizes[order]


def tsne_map(groups: Aggregates, perplexity: float = 30.0, seed: int = 0) -> Array:
    """Aggregates in two dimensions by t-SNE, from a start at their principal components.

    Perplexity, start and seed are not in the paper; ``perplexity`` is lowered where there are fewer
    than three times as many aggregates.

    Returns:
        float64 [group, 2].

    Raises:
        InsufficientDataError: fewer than four aggregates, or points in one dimension.

    Source: van der Maaten & Hinton 2008, by scikit-learn; Nagamine & Mesgarani 2017, Fig. 4.
    """
    few, narrow = len(groups) < 4, groups.centres.shape[1] < 2  # noqa: PLR2004
    if few or narrow:
        raise InsufficientDataError(
            f"{len(groups)} aggregates in {groups.centres.shape[1]} dimensions are too few for a "
            "map; LDA(sample=...) takes more points, and three classes make two dimensions"
        )
    perplexity = min(perplexity, (len(groups) - 1) / 3)
    return _tsne(groups.centres.tobytes(), groups.centres.shape, perplexity, seed)


@functools.lru_cache(maxsize=16)  # a report draws what was drawn before
def _tsne(values: bytes, shape: tuple[int, ...], perplexity: float, seed: int) -> Array:
    from sklearn.manifold import TSNE

    model = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    places = model.fit_transform(np.frombuffer(values).reshape(shape))
    return np.asarray(places, dtype=np.float64)


def mds_map(
    values: Array, method: Literal["classical", "smacof"] = "classical", seed: int = 0
) -> Array:
    """Points in two dimensions whose distances are as true as two dimensions allow.

    Classical scaling takes the first two dimensions of the exact solution; SMACOF starts from it
    and lowers the squared error of the distances.

    Returns:
        float64 [point, 2].

    Source: Nagamine & Mesgarani 2017, Fig. 5, which says "first two MDS dimensions".
    """
    if method == "classical":
        return classical_mds_of_points(values).points
    from scipy.spatial.distance import pdist

    return smacof_mds(pdist(values), seed=seed).points


# -- centroids and how far apart they move


def centroids(
    results: LayerResults, layer: str, subset: str | None = None, reference: str | None = None
) -> Array:
    """Centroids of the rows of each class in a layer's space, of a subset or of all.

    Rows are those of the split described; of these the ones that the network gets right, where that
    is known. They are exact where `torchprobe_lda.study` made the results, and from the sampled
    points otherwise.

    Returns:
        float64 [class, component], NaN for a class without such rows.

    Raises:
        InsufficientDataError: the results hold neither.
        SettingError: an unknown subset.
    """
    result = results[layer]
    if "subset_centroids" in result:
        return _exact(result, subset)
    found = points(results, layer)
    if subset is not None:
        keep = separable_points(results, layer, reference)[result.point_network != 0]
        keep = keep == has_answer(subset)
    else:
        keep = np.ones(len(found), dtype=bool)
    values = np.full((len(found.names), found.values.shape[1]), np.nan)
    for k in range(len(values)):
        own = found.values[keep & (found.classes == k)]
        if len(own):
            values[k] = own.mean(axis=0)
    return values


def _exact(result: Result, subset: str | None) -> Array:
    if subset is not None:
        kept: Array = result.subset_centroids[1 - has_answer(subset)]
        return kept
    counts = result.subset_counts[:, :, None].astype(np.float64)  # [subset, class, 1]
    sums = np.nansum(counts * np.nan_to_num(result.subset_centroids), axis=0)
    total = counts.sum(axis=0)
    return np.where(total > 0, sums / np.maximum(total, 1), np.nan)


def confused_pairs(results: LayerResults) -> NDArray[np.intp]:
    """Each class with the class it is taken for most often: indices [pair, 2].

    By the network's own predictions where they are known, else by the last layer's LDA on held-out
    rows, or on those it was fitted to. A class that is never taken for another is in no pair of its
    own.

    Raises:
        InsufficientDataError: nothing says what is taken for what, or nothing is mistaken.
    """
    last = results[results.layers[-1]]
    counts = next(
        (
            last[name].values
            for name in ("network_confusion", "confusion", "confusion_fit")
            if name in last
        ),
        None,
    )
    if counts is None:
        raise InsufficientDataError(f"{last.layer!r} has no confusion matrix; LDA(scored=...)")
    mistakes = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    pairs = np.stack([np.arange(len(counts)), mistakes.argmax(axis=1)], axis=1)
    pairs = pairs[mistakes.sum(axis=1) > 0]
    if not len(pairs):
        raise InsufficientDataError(
            "no class is ever mistaken: there is no most frequent confusion"
        )
    return np.asarray(pairs)


def expansion(
    results: LayerResults,
    *,
    classes: Sequence[str] | None = None,
    subset: str | None = None,
    reference: str | None = None,
    form: Form = "mean_of_ratios",
) -> dict[str, float]:
    """How many times farther apart classes lie in each layer than in the reference layer.

    Args:
        results: of `torchprobe_lda.LDA`, of one grouping.
        classes: a set of classes, every two of which count; by default every class counts with the
            one it is taken for most often.
        subset: of the rows that the reference's LDA gets right ("separable") or wrong
            ("inseparable") only.
        reference: the layer whose distances are 1; the first by default, which is the model's input
            where that was probed.
        form: the mean of the pairs' ratios, or the ratio of their mean distances.

    Returns:
        By layer, the reference among them; pairs of which a class has no row in the subset are left
        out.

    Raises:
        LayerNotFoundError: no such layer or class.
        InsufficientDataError: no pair is left, or one coincides in the reference.

    Source: Nagamine & Mesgarani 2017, section 3.3, Fig. 5E and 5F.
    """
    reference = reference or results.layers[0]
    there = results[reference]
    each = {layer: centroids(results, layer, subset, reference) for layer in results.layers}
    if classes is None:
        pairs = confused_pairs(results)
    else:
        chosen = class_indices(there, classes)
        pairs = np.array(list(combinations(chosen, 2)), dtype=np.intp).reshape(-1, 2)
    absent = np.unique(np.concatenate([_without_rows(values) for values in each.values()]))
    kept = pairs[~np.isin(pairs, absent).any(axis=1)]
    if not len(kept):
        raise InsufficientDataError(
            f"no pair of classes has rows{f' that are {subset}' if subset else ''}; take more "
            "points with LDA(sample=...), or all rows with torchprobe_lda.study"
        )
    base = np.nan_to_num(each[reference])  # classes without rows are in no pair
    return {
        layer: relative_expansion(np.nan_to_num(values), base, kept, form)
        for layer, values in each.items()
    }


def _without_rows(values: Array) -> NDArray[np.intp]:
    """Classes that have no centroid."""
    return np.flatnonzero(np.isnan(values).any(axis=1))
