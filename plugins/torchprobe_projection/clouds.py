"""Which rows of a layer are shown, and which projectors learn from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from torchprobe.errors import NonFiniteError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from torchprobe_projection.labelled_sample import LabelledSample

    Array: TypeAlias = NDArray[np.floating]
    Labels: TypeAlias = NDArray[np.int64]
    Indices: TypeAlias = NDArray[np.intp]

__all__ = ["Cloud", "cloud_of"]


@dataclass(frozen=True)
class Cloud:
    """The points that are shown and measured, and the rows to learn from, which are others.

    The same row ids give the same points in every layer and for every method.
    """

    points: Array
    """[point, channel], in the order of their ids' hashes."""
    ids: Labels
    """[point]."""
    labels: Mapping[str, Labels]
    """By grouping, [point], -1 where there is none."""
    training: Array
    """[row, channel], none of them among the points."""
    notes: tuple[str, ...] = ()

    def showing(self, part: Indices) -> Cloud:
        """The same with some of the points only."""
        labels = {name: each[part] for name, each in self.labels.items()}
        return replace(self, points=self.points[part], ids=self.ids[part], labels=labels)

    def learning_from(self, part: Indices) -> Cloud:
        """The same with some of the training rows only."""
        return replace(self, training=self.training[part])


def cloud_of(samples: Mapping[str, LabelledSample], n_points: int) -> Cloud:
    """Points of "score" and training rows of "fit"; of one split alone, parts of it.

    Raises:
        EmptyStateError: nothing was seen.
        NonFiniteError: a row holds NaN or infinity.
    """
    fit, score = samples["fit"], samples["score"]
    if fit.state and score.state:
        return _cloud(score, slice(n_points), _array(fit.rows), ())
    split, only = ("score", score) if score.state else ("fit", fit)
    rows = len(only.ids)
    held = min(n_points, rows // 2)
    other = "fit" if split == "score" else "score"
    note = (
        f"there was no data of the split {other!r}: {held:,} of {rows:,} sampled rows of "
        f"{split!r}, chosen by their ids, are shown, the others are what methods learn from"
    )
    return _cloud(only, slice(held), _array(only.rows[held:]), (note,))


def _cloud(shown: LabelledSample, part: slice, training: Array, notes: tuple[str, ...]) -> Cloud:
    labels = {name: each[part].numpy() for name, each in shown.groupings.items()}
    points = _array(shown.rows[part])
    for what, rows in (("points", points), ("training rows", training)):
        _require_finite(rows, what)
    return Cloud(points, shown.ids[part].numpy(), labels, training, notes)


def _array(rows: Tensor) -> Array:
    return np.asarray(rows.numpy(force=True))


def _require_finite(rows: Array, what: str) -> None:
    bad = int((~np.isfinite(rows).all(axis=1)).sum())
    if bad:
        raise NonFiniteError(
            f"{bad} of {len(rows)} {what} hold NaN or infinity, which have no place in a picture; "
            "leave nonfinite='ignore' in the probe, which takes such rows out and counts them"
        )
