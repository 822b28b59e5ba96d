"""Drawings of the transforms of classes: spectra, templates, pairs (NM17, Fig. 1, 7C, 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchprobe import plotting
from torchprobe.errors import InsufficientDataError
from torchprobe_slt.chosen import MOST, number_of, output_of
from torchprobe_slt.pictures import Captions, draw, frame_of, grid, largest, shaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from torchprobe import Result
    from torchprobe.results import LayerResults

__all__ = [
    "draw_class_spectra",
    "draw_complexity",
    "draw_pairs",
    "draw_templates",
    "draw_transform",
]


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
    result = output_of(results)
    classes = result.coords["class"]
    which = int(result.point_class[0]) if category is None else number_of(result, category)
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
    result = output_of(results)
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
    result = output_of(results)
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


# -- which


def _chosen(result: Result, classes: Sequence[str] | None) -> NDArray[np.intp]:
    """Classes by name, or those with most points, as they stand."""
    if classes is not None:
        return np.array([number_of(result, name) for name in classes], dtype=np.intp)
    counts = np.asarray(result.template_n)
    most = np.argsort(-counts, kind="stable")[:MOST]
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
