"""The sampled points of a result, chosen by class and by how easy they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from torchprobe.errors import InsufficientDataError, LayerNotFoundError, SettingError
from torchprobe.wording import unknown
from torchprobe_lda.marks import SUBSETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from torchprobe import Result
    from torchprobe.results import LayerResults

    Array = NDArray[np.float64]

__all__ = ["Points", "class_indices", "has_answer", "points", "separable_points"]


@dataclass(frozen=True, eq=False)
class Points:
    """Some sampled points of one layer."""

    values: Array
    """[point, component]"""
    classes: NDArray[np.intp]
    """Class of each point, as an index into `names` [point]."""
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)

    def of(self, index: int) -> Array:
        """The points of one class."""
        return np.asarray(self.values[self.classes == index])


def points(
    results: LayerResults,
    layer: str,
    *,
    classes: Sequence[str] | None = None,
    subset: str | None = None,
    reference: str | None = None,
) -> Points:
    """The sampled points of a layer that the network gets right, where that is known.

    Args:
        results: of `torchprobe_lda.LDA`, of one grouping.
        layer: its name.
        classes: names of classes, in the order wanted; all by default.
        subset: only those that the reference layer's LDA gets right ("separable") or wrong
            ("inseparable").
        reference: that layer, where the run did not say what is separable; the first by default,
            which is the model's input where that was probed.

    Raises:
        InsufficientDataError: the results hold no points, or none is left.
        LayerNotFoundError: no such layer or class.
        SettingError: an unknown subset.
    """
    result = results[layer]
    if "points" not in result:
        raise InsufficientDataError(
            f"the results of {layer!r} hold no points: no data of split "
            f"{result.settings['described']!r} was seen; run(fit=..., score=...), or describe the "
            "data of the fit with LDA(described='fit')"
        )
    keep = result.point_network != 0
    if subset is not None:
        keep &= separable_points(results, layer, reference) == has_answer(subset)
    chosen = class_indices(result, classes)
    place = np.full(len(result.coords["class"]), -1)
    place[chosen] = np.arange(len(chosen))
    keep &= place[result.point_class] >= 0
    if not keep.any():
        raise InsufficientDataError(f"no sampled point of {layer!r} is left; LDA(sample=...) more")
    names = tuple(result.coords["class"][index] for index in chosen)
    return Points(result.points[keep], place[result.point_class[keep]], names)


def separable_points(results: LayerResults, layer: str, reference: str | None) -> NDArray[np.int8]:
    """Whether each sampled point of a layer is separable: 1, 0, or -1 where unknown [point].

    Where the run did not say, the reference layer's own points do, which are of the same rows.

    Raises:
        LayerNotFoundError: there is no reference layer.
    """
    result = results[layer]
    if (result.point_separable >= 0).any():
        known: NDArray[np.int8] = result.point_separable
        return known
    other = results[reference or results.layers[0]]
    order = np.argsort(other.point_id)
    at = np.searchsorted(other.point_id[order], result.point_id).clip(max=len(order) - 1)
    same = other.point_id[order][at] == result.point_id
    return np.where(same, other.point_right[order][at], -1).astype(np.int8)


def class_indices(result: Result, classes: Sequence[str] | None) -> NDArray[np.intp]:
    """Indices of classes along the axis "class", by name.

    Raises:
        LayerNotFoundError: a class that the result does not have.
    """
    names = result.coords["class"]
    if classes is None:
        return np.arange(len(names))
    for name in classes:
        if name not in names:
            raise LayerNotFoundError(unknown("class", name, names))
    return np.array([names.index(name) for name in classes], dtype=np.intp)


def has_answer(subset: str) -> int:
    """What the points of a subset answer to whether they are separable.

    Raises:
        SettingError: there is no such subset.

    >>> has_answer("separable"), has_answer("inseparable")
    (1, 0)
    """
    if subset not in SUBSETS:
        raise SettingError(f"subset={subset!r}; choose one of {', '.join(map(repr, SUBSETS))}")
    return int(subset == SUBSETS[0])
