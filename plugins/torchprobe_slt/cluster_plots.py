"""Drawings of the points of one class, clustered by their transforms (NM17, Fig. 6, 8B)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe import plotting
from torchprobe.errors import InsufficientDataError, NothingToDrawError
from torchprobe.plotting.style import GRID, MUTED
from torchprobe_slt.chosen import MOST, number_of, output_of
from torchprobe_slt.pictures import Captions, frame_of, grid, largest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from torchprobe import Result
    from torchprobe.results import LayerResults

__all__ = ["draw_cluster_means", "draw_clusters", "draw_map"]


@dataclass(frozen=True)
class ClassPoints:
    """A class's points that the network gets right, as they stand under its dendrogram."""

    result: Result
    number: int

    @classmethod
    def of(cls, results: LayerResults, category: str | None) -> ClassPoints:
        """Those of a class by name; by default of the one with most points.

        Raises:
            LayerNotFoundError: no such class.
            NothingToDrawError: the output was not probed, or the network gets no point right.
        """
        result = output_of(results)
        return cls(result, _most(result) if category is None else number_of(result, category))

    @property
    def name(self) -> str:
        """What the class is called."""
        return self.result.coords["class"][self.number]

    @property
    def transforms(self) -> NDArray[Any]:
        """[point, input]."""
        return self._mine("points")

    @property
    def places(self) -> NDArray[Any]:
        """By the distances of their transforms: [point, 2]."""
        return self._mine("point_map")

    @property
    def clusters(self) -> NDArray[Any]:
        """The cluster of each point, from 0."""
        return self._mine("point_cluster")

    def _mine(self, field: str) -> NDArray[Any]:
        """The rows of a field that are of these points.

        Raises:
            InsufficientDataError: there are none.
        """
        members = np.flatnonzero(self.result.point_class == self.number)
        if not len(members):
            raise InsufficientDataError(f"the network gets no point of class {self.name!r} right")
        order = np.argsort(self.result.point_order[members], kind="stable")
        values: NDArray[Any] = self.result[field].values
        return values[members[order]]


def _most(result: Result) -> int:
    """The class with most points; the first of those."""
    if not len(result.point_class):
        raise NothingToDrawError("the network gets no point right")
    return int(np.bincount(result.point_class).argmax())


def draw_clusters(results: LayerResults, category: str | None = None) -> Figure:
    """Draw the transforms of a class's points, clustered, with separators (Fig. 6A).

    Args:
        results: of "slt_classes".
        category: of which class; the one with most points by default.

    Raises:
        LayerNotFoundError: no such class.
    """
    shown = ClassPoints.of(results, category)
    rows, clusters = shown.transforms, shown.clusters
    sheet, axes = _sheet(6.4, 3.6)
    limit = largest(rows)
    seen = axes.imshow(
        rows,
        aspect="auto",
        cmap=plotting.colour_map(symmetric=True),
        vmin=-limit,
        vmax=limit,
        interpolation="nearest",
    )
    for edge in np.flatnonzero(np.diff(clusters)) + 0.5:
        axes.axhline(edge, color="black", linewidth=1.2)
    middles = [float(np.flatnonzero(clusters == each).mean()) for each in np.unique(clusters)]
    axes.set_yticks(middles, [f"{each + 1}" for each in np.unique(clusters)])
    axes.tick_params(axis="y", length=0)
    axes.set_ylabel("cluster")
    axes.set_xlabel(f"{rows.shape[1]:,} inputs", color=MUTED)
    plotting.heading(
        axes,
        f"Transforms of {shown.name}",
        f"{len(rows):,} points that the network gets right",
        limit=60,
    )
    sheet.colorbar(seen, ax=axes, shrink=0.6, label="∂ output / ∂ input").outline.set_visible(False)
    return sheet


def draw_map(results: LayerResults, category: str | None = None) -> Figure:
    """Draw a class's points by the distances of their transforms, coloured by cluster (Fig. 6B).

    Args:
        results: of "slt_classes".
        category: of which class; the one with most points by default.

    Raises:
        LayerNotFoundError: no such class.
    """
    shown = ClassPoints.of(results, category)
    points, clusters = shown.places, shown.clusters
    sheet, axes = _sheet(4.8, 3.8)
    each = np.unique(clusters)
    for cluster, (colour, marker) in zip(each, plotting.marks(len(each)), strict=True):
        inside = clusters == cluster
        told = f"cluster {cluster + 1}: {int(inside.sum())}"
        axes.plot(*points[inside].T, marker, color=colour, label=told, markersize=5, alpha=0.8)
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(color=GRID)
    axes.set_xlabel("first component", color=MUTED)
    axes.set_ylabel("second component", color=MUTED)
    plotting.heading(axes, f"Transforms of {shown.name}", "classical scaling", limit=44)
    sheet.legend(loc="outside right center")
    return sheet


def draw_cluster_means(
    results: LayerResults,
    category: str | None = None,
    image: Sequence[int] | None = None,
    transpose: bool | None = None,
) -> Figure:
    """Draw the mean transform and mean features of a class's clusters, with counts (Fig. 6C, 8B).

    Args:
        results: of "slt_classes".
        category: of which class; the one with most points by default.
        image: the shape to draw in; by default the analyzer's, or that of the window.
        transpose: draw the second axis upwards, as by default where the analyzer knows the image.

    Raises:
        LayerNotFoundError: no such class.
    """
    points = ClassPoints.of(results, category)
    result, which = points.result, points.number
    sizes = result.cluster_size[which]
    shown = np.flatnonzero(sizes)[:MOST]
    cells = [result.cluster_features[which][shown], result.cluster_transform[which][shown]]
    names = [f"{at + 1}: n = {sizes[at]}" for at in shown]
    title = f"Clusters of {points.name}"
    told = Captions(names, ["mean features", "mean transform"], title, "points by their transforms")
    return grid(cells, told, frame_of(result, image, transpose=transpose), scale="row")


def _sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of one panel."""
    sheet = plotting.figure(width, height)
    sheet.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    return sheet, sheet.add_subplot()
