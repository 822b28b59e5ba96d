"""Measuring all pictures of a layer on the same points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe import Field, numerics
from torchprobe.errors import InsufficientDataError
from torchprobe_projection.measures import MEASURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torchprobe_projection.clouds import Array, Cloud
    from torchprobe_projection.measures import Measure, Of
    from torchprobe_projection.projector import Picture

__all__ = ["Measuring"]


@dataclass(frozen=True)
class Measuring:
    """The measures chosen, with their settings."""

    names: tuple[str, ...]
    neighbours: int
    """Of a point, where a measure's own settings do not say otherwise."""
    options: Mapping[str, Mapping[str, Any]]
    """By measure; what else is in it is not looked at."""

    def require_points(self, cloud: Cloud) -> None:
        """Raise `InsufficientDataError` where a measure is not defined for so few points."""
        for measure in self._chosen("points"):
            neighbours = self._options(measure).get("neighbours", 0)
            least = measure.least_points(neighbours)
            if len(cloud.points) < least:
                counted = f" with {neighbours} neighbours" if neighbours else ""
                raise InsufficientDataError(
                    f"{measure.title}{counted} needs at least {least} points but there "
                    f"{'is 1' if len(cloud.points) == 1 else f'are {len(cloud.points)}'} to show; "
                    "give more data, set neighbours lower, or choose other measures"
                )

    def fields(self, cloud: Cloud, pictures: Iterable[Picture], seed: int) -> dict[str, Field]:
        """Every measure of every picture, and what the layer itself or the best picture has."""
        pictures = list(pictures)
        fields = {}
        for measure in self._chosen("points"):
            values = [self._value(measure, cloud.points, each.coordinates) for each in pictures]
            fields[measure.name] = measure.field("method", values)
        if "pd" in self.names:
            fields["pca_bound"] = Field("", numerics.pca_bound(cloud.points), range=(0, 1))
        for measure in self._chosen("labels") if cloud.labels else ():
            fields[f"layer_{measure.name}"] = measure.field(
                "grouping", self._by_grouping(measure, cloud, cloud.points)
            )
            each = [self._by_grouping(measure, cloud, picture.coordinates) for picture in pictures]
            fields[measure.name] = measure.field("grouping method", np.transpose(each))
        for measure in self._chosen("resampling"):
            values = [self._value(measure, each, cloud, seed) for each in pictures]
            fields[measure.name] = measure.field("method", values)
        return fields

    def _chosen(self, of: Of) -> Iterator[Measure]:
        return (MEASURES[name] for name in self.names if MEASURES[name].of == of)

    def _value(self, measure: Measure, *data: Any) -> float:
        return measure.function(*data, **self._options(measure))

    def _by_grouping(self, measure: Measure, cloud: Cloud, places: Array) -> list[float]:
        return [self._value(measure, places, labels) for labels in cloud.labels.values()]

    def _options(self, measure: Measure) -> dict[str, Any]:
        known = {"neighbours": self.neighbours} if "neighbours" in measure.options else {}
        return {**known, **self.options.get(measure.name, {})}
