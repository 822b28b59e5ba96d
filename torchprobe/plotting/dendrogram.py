"""Where the lines of a dendrogram run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["Tree", "draw_tree", "merge_lines"]


@dataclass(frozen=True, eq=False)
class Tree:
    """A hierarchical clustering as it is drawn."""

    linkage: NDArray[np.float64]
    """scipy's: [merge, 4], numbering the clustered items from 0."""
    order: NDArray[np.intp]
    """The clustered items from left to right, by their number among all items [leaf]."""

    @property
    def positions(self) -> NDArray[np.float64]:
        """Where each item stands, by its number among the clustered ones [leaf]."""
        positions = np.empty(len(self.order))
        positions[self.order.argsort().argsort()] = np.arange(len(self.order))
        return positions


def merge_lines(tree: Tree, floor: float = 0.0) -> NDArray[np.float64]:
    """The merges above ``floor`` as lines of four points: up, across, down [merge, point, 2].

    A point is (place along the leaves, height); legs end at ``floor`` where the branch below it is
    not drawn. Not scipy's ``dendrogram``, which recurses and fails on long chains of merges.

    >>> tree = Tree(np.array([[0, 2, 0.2, 2], [1, 3, 1.5, 3]]), np.array([4, 9, 7]))
    >>> merge_lines(tree, floor=0.5).tolist()
    [[[2.0, 0.5], [2.0, 1.5], [0.5, 1.5], [0.5, 0.5]]]
    """
    leaves = len(tree.order)
    place, height = np.empty((2, leaves + len(tree.linkage)))  # [item or merge]
    place[:leaves], height[:leaves] = tree.positions, 0.0
    lines = np.empty((len(tree.linkage), 4, 2))
    for merge, (left, right, distance, _) in enumerate(tree.linkage):
        ends = [int(left), int(right)]
        place[leaves + merge], height[leaves + merge] = place[ends].mean(), distance
        legs = np.maximum(height[ends], floor)
        lines[merge, :, 0] = place[ends].repeat(2)
        lines[merge, :, 1] = legs[0], distance, distance, legs[1]
    return lines[tree.linkage[:, 2] > floor]


def draw_tree(axes: Axes, tree: Tree, *, floor: float = 0.0, sideways: bool = False) -> None:
    """Draw a dendrogram over columns, or beside rows with its root at the left."""
    from matplotlib.collections import LineCollection

    from torchprobe.plotting.style import INK

    lines = merge_lines(tree, floor)
    top = max(float(tree.linkage[:, 2].max(initial=0.0)), floor) * 1.03 + 1e-9
    width = 0.9 if len(lines) < 100 else 0.6  # noqa: PLR2004 - many lines would run into each other
    points: Any = lines[:, :, ::-1] if sideways else lines  # matplotlib's types want a list
    collection = LineCollection(points, colors=INK)
    collection.set(linewidth=width, capstyle="projecting")
    axes.add_collection(collection, autolim=False)
    if sideways:
        axes.set(xlim=(top, floor), ylim=(len(tree.order) - 0.5, -0.5))
    else:
        axes.set(ylim=(floor, top), xlim=(-0.5, len(tree.order) - 0.5))
