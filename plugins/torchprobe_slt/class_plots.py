"""Drawings of the transforms of classes: templates, clusters, pairs (NM17, Fig. 6, 7C, 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchprobe import plotting
from torchprobe.errors import InsufficientDataError, LayerNotFoundError, NothingToDrawError
from torchprobe.plotting.style import GRID, MUTED
from torchprobe.wording import unknown
from torchprobe_slt.pictures import Captions, draw, frame_of, grid, largest, shaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from torchprobe import Result
    from torchprobe.results import LayerResults

__all__ = [
    "draw_class_spectra",
    "draw_cluster_means",
    "draw_clusters",
    "draw_complexity",
    "draw_map",
    "draw_pairs",
    "draw_templates",
    "draw_transform",
]

_MOST = 8


def draw_complexity(results: LayerResults) -> Figure:
    """Draw by layer how complex a class's transforms are, and ΔAUC of misleading points (Fig. 7C).

    Args:
        results: of "slt_classes".
    """
    told = {"class_spectrum_auc": "area: transforms of a class", "delta_auc": "ΔAUC: INC − COR"}
    panels = {name: _by_grouping(results, name) for name in told}
    known = {
        told[name]: series
        for name, series in panels.items()
        if any(np.isfinite(list(numbers.values())).any() for numbers in series.values())
    }
    subtitle = "INC: LDA of the input is wrong" if len(known) > 1 else ""
    return plotting.by_layer_panels(known or panels, title="Transforms by layer", subtitle=subtitle)


def _by_grouping(results: LayerResults, name: str) -> dict[str, dict[str, float]]:
    return {
        grouping or "": {
            each.layer: float(each[name].values) for each in results.grouping(grouping).values()
        }
        for grouping in results.groupings
    }


def draw_class_spectra(results: LayerResults, logarithmic: bool = False) -> Figure:
    """Draw the average spectrum of a class's transforms by layer.

    Args:
        results: of "slt_classes".
        logarithmic: a logarithmic axis of singular values.
    """
    results = results.grouping(results.groupings[0])
    longest = max(result.class_sigma.shape[1] for result in results.values())
    return plotting.spectra(
        {result.layer: result.class_spectrum[:longest] for result in results.values()},
        ylabel="σ / σ₁",
        title="Transforms of a class",
        subtitle="average of the normalised spectra of classes",
        logarithmic=logarithmic,
    )


def draw_transform(
    results: LayerResults,
    category: str | None = None,
    point: int = 0,
    image: Sequence[int] | None = None,
    transpose: bool | None = None,
) -> Figure:
    """Draw the transform of one point beside its features (Fig. 1).

    Args:
        results: of "slt_classes".
        category: of which class; the first that the network gets right by default.
        point: which of its points.
        image: the shape to draw in, as (11, 23) of frames × bands; by default the analyzer's,
            or that of the window.
        transpose: draw the second axis upwards, as by default where the analyzer knows the image.

    Raises:
        InsufficientDataError: there is no such point.
        LayerNotFoundError: no such class.
    """
    result = _output(results)
    classes = result.coords["class"]
    which = int(result.point_class[0]) if category is None else _number(result, category)
    members = np.flatnonzero(result.point_class == which)
    if point >= len(members):
        raise InsufficientDataError(
            f"class {classes[which]!r} has {len(members)} points that the network gets right"
        )
    at = members[point]
    shape, upwards = frame_of(result, image, transpose=transpose)
    sheet = plotting.figure(6.0, 2.9)
    sheet.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    pictures = {"transform": result.points[at], "features": result.point_features[at]}
    for place, (told, values) in enumerate(pictures.items()):
        axes = sheet.add_subplot(1, 2, place + 1)
        draw(axes, shaped(values, shape, transpose=upwards), largest(values))
        plotting.heading(axes, f"{classes[which]}: {told}" if not place else told, limit=40)
    return sheet


def draw_templates(
    results: LayerResults,
    classes: Sequence[str] | None = None,
    image: Sequence[int] | None = None,
    transpose: bool | None = None,
) -> Figure:
    """Draw of some classes what the input is like beside what the network looks for (Fig. 8A).

    Each picture has colours of its own, which run to its largest value.

    Args:
        results: of "slt_classes".
        classes: which, by name; eight with the most points by default.
        image: the shape to draw in; by default the analyzer's, or that of the window.
        transpose: draw the second axis upwards, as by default where the analyzer knows the image.
    """
    result = _output(results)
    shown = _chosen(result, classes)
    rows = {
        "mean features": result.template_features[shown],
        "mean transform": result.template[shown],
    }
    names = [result.coords["class"][at] for at in shown]
    nearest = result.settings["nearest"]
    return grid(
        list(rows.values()),
        Captions(
            names, list(rows), "Templates", f"averages over up to {nearest} points of a class"
        ),
        frame_of(result, image, transpose=transpose),
        scale="each",
    )


def draw_pairs(
    results: LayerResults,
    classes: Sequence[str] | None = None,
    image: Sequence[int] | None = None,
    transpose: bool | None = None,
) -> Figure:
    """Draw the mean transform of each class's node over the points of each class (Fig. 8C).

    Args:
        results: of "slt_classes".
        classes: which, by name, such as pairs that are confused; by default the four classes whose
            transforms of their own node are most like those of another class.
        image: the shape to draw in; by default the analyzer's, or that of the window.
        transpose: draw the second axis upwards, as by default where the analyzer knows the image.
    """
    result = _output(results)
    shown = _chosen(result, classes) if classes is not None else _alike(result)
    nodes = result.class_node[shown]
    cells = [result.transforms[at][nodes] for at in shown]
    names = [result.coords["class"][at] for at in shown]
    told = Captions(
        [f"node {name}" for name in names],
        [f"points {name}" for name in names],
        "Mean transforms",
        "of output nodes (columns) over the points of classes (rows)",
    )
    return grid(cells, told, frame_of(result, image, transpose=transpose), scale="all")


def draw_clusters(results: LayerResults, category: str | None = None) -> Figure:
    """Draw the transforms of a class's points, clustered, with separators (Fig. 6A).

    Args:
        results: of "slt_classes".
        category: of which class; the one with most points by default.

    Raises:
        LayerNotFoundError: no such class.
    """
    result = _output(results)
    which = _most(result) if category is None else _number(result, category)
    members = _members(result, which)
    rows, clusters = result.points[members], result.point_cluster[members]
    sheet = plotting.figure(6.4, 3.6)
    sheet.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    axes = sheet.add_subplot()
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
    name = result.coords["class"][which]
    plotting.heading(
        axes, f"Transforms of {name}", f"{len(rows):,} points that the network gets right", limit=60
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
    result = _output(results)
    which = _most(result) if category is None else _number(result, category)
    members = _members(result, which)
    points, clusters = result.point_map[members], result.point_cluster[members]
    sheet = plotting.figure(4.8, 3.8)
    sheet.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    axes = sheet.add_subplot()
    each = np.unique(clusters)
    for cluster, (colour, marker) in zip(each, plotting.marks(len(each)), strict=True):
        inside = clusters == cluster
        told = f"cluster {cluster + 1}: {int(inside.sum())}"
        axes.plot(*points[inside].T, marker, color=colour, label=told, markersize=5, alpha=0.8)
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(color=GRID)
    axes.set_xlabel("first component", color=MUTED)
    axes.set_ylabel("second component", color=MUTED)
    name = result.coords["class"][which]
    plotting.heading(axes, f"Transforms of {name}", "classical scaling", limit=44)
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
    result = _output(results)
    which = _most(result) if category is None else _number(result, category)
    sizes = result.cluster_size[which]
    shown = np.flatnonzero(sizes)[:_MOST]
    cells = [result.cluster_features[which][shown], result.cluster_transform[which][shown]]
    names = [f"{at + 1}: n = {sizes[at]}" for at in shown]
    title = f"Clusters of {result.coords['class'][which]}"
    told = Captions(names, ["mean features", "mean transform"], title, "points by their transforms")
    return grid(cells, told, frame_of(result, image, transpose=transpose), scale="row")


# -- which


def _output(results: LayerResults) -> Result:
    """The output layer's result.

    Raises:
        NothingToDrawError: the output was not probed.
    """
    found = [each for each in results.values() if "template" in each.fields]
    if not found:
        raise NothingToDrawError(
            "there are no transforms of output nodes; probe the model's output as the last layer"
        )
    return found[0]


def _number(result: Result, name: str) -> int:
    classes = result.coords["class"]
    if name not in classes:
        raise LayerNotFoundError(unknown("class", name, classes))
    return classes.index(name)


def _members(result: Result, which: int) -> NDArray[np.intp]:
    """A class's points, as they stand under its dendrogram.

    Raises:
        InsufficientDataError: there are none.
    """
    members = np.flatnonzero(result.point_class == which)
    if not len(members):
        name = result.coords["class"][which]
        raise InsufficientDataError(f"the network gets no point of class {name!r} right")
    return members[np.argsort(result.point_order[members], kind="stable")]


def _most(result: Result) -> int:
    """The class with most points; the first of those."""
    if not len(result.point_class):
        raise NothingToDrawError("the network gets no point right")
    return int(np.bincount(result.point_class).argmax())


def _chosen(result: Result, classes: Sequence[str] | None) -> NDArray[np.intp]:
    """Classes by name, or those with most points, as they stand."""
    if classes is not None:
        return np.array([_number(result, name) for name in classes], dtype=np.intp)
    counts = np.asarray(result.template_n)
    most = np.argsort(-counts, kind="stable")[:_MOST]
    return np.sort(most)


def _alike(result: Result, n: int = 4) -> NDArray[np.intp]:
    """Classes whose nodes' mean transforms are most alike, pair by pair."""
    own = np.stack(
        [means[node] for means, node in zip(result.transforms, result.class_node, strict=True)]
    )
    sizes = np.linalg.norm(own, axis=1, keepdims=True)
    own = own / np.where(sizes > 0, sizes, 1)
    alike = own @ own.T
    pairs = np.argwhere(np.triu(np.ones_like(alike), 1))
    order = np.argsort([-alike[a, b] for a, b in pairs], kind="stable")
    found = dict.fromkeys(int(at) for pair in pairs[order] for at in pair)
    return np.array([*found, 0][: min(n, len(own))], dtype=np.intp)
