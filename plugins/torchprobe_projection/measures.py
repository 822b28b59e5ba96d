"""How far a picture of a layer can be trusted: the measures by name."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from torchprobe import Field, numerics
from torchprobe.errors import SettingError
from torchprobe_projection.projector import place

if TYPE_CHECKING:
    from collections.abc import Callable

    from torchprobe_projection.clouds import Array, Cloud, Labels
    from torchprobe_projection.projector import Picture

__all__ = ["MEASURES", "Measure"]

Range: TypeAlias = "tuple[float, float]"
Of: TypeAlias = Literal["points", "labels", "resampling"]


@dataclass(frozen=True)
class Measure:
    """A number that says how well a picture does."""

    name: str
    title: str
    of: Of
    """What it compares the coordinates with: the points, their labels, or pictures of parts."""
    function: Callable[..., float]
    range: Range | None = (0.0, 1.0)
    lower_is_better: bool = False
    unit: str = ""

    @property
    def options(self) -> tuple[str, ...]:
        """The settings that it takes."""
        data = 3 if self.of == "resampling" else 2
        return tuple(inspect.signature(self.function).parameters)[data:]

    def least_points(self, neighbours: int) -> int:
        """The fewest points it is defined for."""
        if self.name in ("trustworthiness", "continuity"):
            return 2 * neighbours + 1
        return neighbours + 1 if "neighbours" in self.options else 4

    def field(self, axes: str, values: Any) -> Field:
        """Values of this measure with their unit and range."""
        return Field(axes, values, self.unit, self.range)


def procrustes(points: Array, coordinates: Array, map: str = "similarity") -> float:  # noqa: A002
    """Share of the points' variance that a picture misses, up to a similarity or a linear map.

    1 where all coordinates are equal, from which no map recovers anything.

    Raises:
        SettingError: another map.

    >>> procrustes(np.eye(3), np.zeros((3, 2)))
    1.0
    """
    if map not in ("similarity", "linear"):
        raise SettingError(f"pd: map={map!r}; choose 'similarity' or 'linear'")
    if not np.ptp(coordinates, axis=0).any():
        return 1.0
    measure = numerics.procrustes_distance if map == "similarity" else numerics.linear_residual
    return measure(points, coordinates)


def of_labelled(
    measure: Callable[..., float], coordinates: Array, labels: Labels, neighbours: int
) -> float:
    """A measure of the points that have a label; NaN where these are too few."""
    known = labels >= 0
    if known.sum() <= neighbours:
        return math.nan
    return measure(coordinates[known], labels[known], neighbours)


def hit(coordinates: Array, labels: Labels, neighbours: int = 10) -> float:
    """Mean share of a point's neighbours in the picture that carry its label."""
    return of_labelled(numerics.neighbourhood_hit, coordinates, labels, neighbours)


def accuracy(coordinates: Array, labels: Labels, neighbours: int = 10) -> float:
    """How often the neighbours' majority is right about a point's label."""
    return of_labelled(numerics.neighbour_accuracy, coordinates, labels, neighbours)


def stability(picture: Picture, cloud: Cloud, seed: int, resamples: int = 3) -> float:
    """How alike pictures are that were made from half of the rows (0..1, 1 the same picture).

    1 − the mean Procrustes distance between the coordinates and those found anew: by a method that
    learns from other rows, from half of these; by one that lays out the points, of half the points.
    Source: McInnes, Healy & Melville 2018, for the distance between pictures of parts.

    Raises:
        SettingError: resamples < 1.
    """
    if resamples < 1:
        raise SettingError(f"stability: resamples={resamples}; draw at least 1")
    rng = np.random.default_rng(seed)
    lost = [_moved(picture, cloud, seed, rng) for _ in range(resamples)]
    return 1.0 - float(np.mean(lost))


def _moved(picture: Picture, cloud: Cloud, seed: int, rng: np.random.Generator) -> float:
    """Procrustes distance between a picture and another that was made from half of the rows."""
    projector, before = picture.projector, picture.coordinates
    rows = len(cloud.training if projector.trained else cloud.points)
    half = np.sort(rng.choice(rows, rows // 2, replace=False))
    if projector.trained:
        part = cloud.learning_from(half)
    else:
        part, before = cloud.showing(half), before[half]
    again = place(projector, part, seed).coordinates
    return procrustes(before, again) if np.ptp(before, axis=0).any() else 0.0


_MEASURES = (
    Measure("pd", "Procrustes distance", "points", procrustes, lower_is_better=True),
    Measure("mi", "mutual information", "points", numerics.mutual_information, None, unit="nats"),
    Measure("dc", "distance correlation", "points", numerics.distance_correlation, (-1.0, 1.0)),
    Measure("trustworthiness", "trustworthiness", "points", numerics.trustworthiness),
    Measure("continuity", "continuity", "points", numerics.continuity),
    Measure("hit", "neighbourhood hit", "labels", hit),
    Measure("accuracy", "kNN accuracy", "labels", accuracy),
    Measure("stability", "stability", "resampling", stability),
)
MEASURES = {each.name: each for each in _MEASURES}
"""The measures by name, in the order in which tables list them."""
