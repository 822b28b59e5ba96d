"""Templates, clusters and confusable classes as pictures (NM17, Fig. 6 and 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe import plotting
from torchprobe.errors import LayerNotFoundError
from torchprobe.plotting import colour_map, label, marks
from torchprobe.plotting.style import INK, MUTED
from torchprobe.wording import unknown
from torchprobe_slt.pictures import FEATURES, SLT, Folding, limit_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from torchprobe import Result
    from torchprobe.results import LayerResults

    Array = NDArray[np.float64]

__all__ = ["draw_clusters", "draw_pairs", "draw_points", "draw_slts", "draw_templates"]

_CELL = 0.92  # inches: the width of one picture
_MOST_CLASSES = 12  # of which templates are drawn unasked


def draw_templates(
    results: LayerResults,
    classes: Sequence[str] | None = None,
    fold: Sequence[int] | None = None,
    grouping: str | None = None,
) -> Figure:
    """Draw mean features over the mean SLT of the samples nearest to each class's centroid (8A).

    Args:
        results: of the analyzer "slt_templates".
        classes: which, by name; by default the largest, twelve at most.
        fold: (columns, rows) of a flat input; as the analyzer was told by default.
        grouping: which, where there are several.
    """
    result = _one(results, grouping)
    places = _places(result, classes)
    pictures = {
        "features": ("template_features", FEATURES),
        "SLT": ("template", SLT),
    }
    sheet, cells = _grid(_folding(result, fold), 2, len(places), left=0.75)
    for row, (name, (field, colour)) in enumerate(pictures.items()):
        values = result[field].values[places]
        for column, one in enumerate(values):
            _fill(cells[row][column], _folding(result, fold), one, limit_of(values), colour)
        _row_name(cells[row][0], name, colour)
    for column, place in enumerate(places):
        _column_name(cells[0][column], result.coords["class"][place])
        _below(cells[1][column], f"n = {int(result.template_count[place]):,}")
    _head(cells, "Templates", "mean of the samples nearest to each class's centroid")
    return sheet


def draw_clusters(
    results: LayerResults,
    name: str | None = None,
    fold: Sequence[int] | None = None,
    grouping: str | None = None,
) -> Figure:
    """Draw the clusters of one class's SLTs: mean features, mean SLT and size of each (6C, 8B).

    Args:
        results: of the analyzer "slt_templates".
        name: the class; by default the one whose clusters are most even.
        fold: (columns, rows) of a flat input; as the analyzer was told by default.
        grouping: which, where there are several.
    """
    result = _one(results, grouping)
    place = _even(result) if name is None else _places(result, [name])[0]
    counts = result.cluster_count[place]
    n = max(1, int((counts > 0).sum()))
    sheet, cells = _grid(_folding(result, fold), 2, n, left=0.75)
    for row, (title, field, colour) in enumerate(
        (("features", "cluster_features", FEATURES), ("SLT", "cluster_slt", SLT))
    ):
        values = result[field].values[place, :n]
        for column, one in enumerate(values):
            _fill(cells[row][column], _folding(result, fold), one, limit_of(values), colour)
        _row_name(cells[row][0], title, colour)
    for column in range(n):
        _below(cells[1][column], f"n = {int(counts[column]):,}")
    class_name = result.coords["class"][place]
    _head(cells, f"Clusters of SLTs: {class_name}", "mean of each, with its number of samples")
    return sheet


def draw_slts(
    results: LayerResults, name: str | None = None, grouping: str | None = None
) -> Figure:
    """Draw the SLTs of one class as columns, clustered, with lines between the clusters (6A).

    Args:
        results: of the analyzer "slt_templates".
        name: the class; by default the one whose clusters are most even.
        grouping: which, where there are several.
    """
    result = _one(results, grouping)
    place = _even(result) if name is None else _places(result, [name])[0]
    items = result.item_class == place
    slts, clusters = result.slt[items], result.item_cluster[items]
    sheet = plotting.figure(6.6, 3.4)
    sheet.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    axes = sheet.add_subplot()
    limit = limit_of(slts)
    image = axes.imshow(
        slts.T,
        aspect="auto",
        cmap=colour_map(symmetric=True),
        vmin=-limit,
        vmax=limit,
        interpolation="nearest",
    )
    for edge in np.flatnonzero(np.diff(clusters)) + 0.5:
        axes.axvline(edge, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set(xlabel="samples, similar SLTs side by side", ylabel="input")
    sheet.colorbar(image, ax=axes, shrink=0.8).outline.set_visible(False)
    class_name, n = result.coords["class"][place], len(np.unique(clusters))
    plotting.heading(axes, f"SLTs of {class_name}", f"{len(slts):,} samples, {n} clusters")
    return sheet


def draw_points(
    results: LayerResults, name: str | None = None, grouping: str | None = None
) -> Figure:
    """Draw the distances between one class's SLTs in two dimensions, coloured by cluster (6B).

    Args:
        results: of the analyzer "slt_templates".
        name: the class; by default the one whose clusters are most even.
        grouping: which, where there are several.
    """
    result = _one(results, grouping)
    place = _even(result) if name is None else _places(result, [name])[0]
    items = result.item_class == place
    points, clusters = result.mds[items], result.item_cluster[items]
    sheet = plotting.figure(4.9, 3.8)
    sheet.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    axes = sheet.add_subplot()
    every = np.unique(clusters)
    for number, (colour, marker) in zip(every, marks(len(every)), strict=True):
        members = points[clusters == number]
        named = f"{number + 1}: {len(members):,}"
        x, y = members.T
        axes.scatter(x, y, s=16, color=colour, marker=marker, alpha=0.75, lw=0, label=named)
    axes.set(xlabel="MDS 1", ylabel="MDS 2", aspect="equal", xticks=[], yticks=[])
    sheet.legend(loc="outside right center", title="cluster: samples")
    class_name = result.coords["class"][place]
    plotting.heading(axes, f"SLTs of {class_name}", "classical scaling of Euclidean distances")
    return sheet


def draw_pairs(
    results: LayerResults,
    classes: Sequence[str] | None = None,
    fold: Sequence[int] | None = None,
    grouping: str | None = None,
) -> Figure:
    """Draw the mean SLT of classes' own output nodes to samples of each of these classes (8C).

    Args:
        results: of the analyzer "slt_templates".
        classes: which, by name; by default the two whose functions are most alike.
        fold: (columns, rows) of a flat input; as the analyzer was told by default.
        grouping: which, where there are several.
    """
    result = _one(results, grouping)
    places = _alike(result) if classes is None else _places(result, classes)
    nodes = [int(result.own_node[place]) for place in places]
    values = result.table[np.ix_(places, nodes)]  # [class, node, input]
    sheet, cells = _grid(_folding(result, fold), len(places), len(places), left=0.95)
    limit = limit_of(values)
    for row, place in enumerate(places):
        for column in range(len(places)):
            _fill(cells[row][column], _folding(result, fold), values[row, column], limit, SLT)
        _row_name(cells[row][0], f"samples: {result.coords['class'][place]}", INK)
        _column_name(cells[0][row], f"node {result.coords['class'][place]}")
    _head(cells, "How classes are told apart", "mean SLT of a node to a class")
    return sheet


def _one(results: LayerResults, grouping: str | None) -> Result:
    results = results if grouping is None else results.grouping(grouping)
    return results[results.layers[-1]]


def _places(result: Result, names: Sequence[str] | None) -> list[int]:
    """Which classes are meant: by name, or the largest in the order in which they stand."""
    known = result.coords["class"]
    if names is None:
        largest = np.argsort(-result.class_count, kind="stable")[:_MOST_CLASSES]
        return sorted(int(place) for place in largest)
    for name in names:
        if name not in known:
            raise LayerNotFoundError(unknown("class", name, known))
    return [known.index(name) for name in names]


def _even(result: Result) -> int:
    """The class whose samples are spread most evenly over its clusters."""
    counts = result.cluster_count
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=1)
    return int(entropy.argmax())


def _alike(result: Result) -> list[int]:
    """The two classes whose own functions point most in the same direction."""
    rows = np.nan_to_num(result.centroid)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    return sorted(int(place) for place in np.unravel_index(cosines.argmax(), cosines.shape))


def _folding(result: Result, fold: Sequence[int] | None) -> Folding:
    fold = fold if fold is not None else result.settings.get("fold")
    entries = result.centroid.shape[1]
    return Folding.of(entries, tuple(int(size) for size in result.input_shape), fold)


# -- a grid of pictures, placed to the inch


def _grid(
    folding: Folding, rows: int, columns: int, left: float
) -> tuple[Figure, list[list[Axes]]]:
    height, gap, top, bottom = _CELL * folding.aspect, 0.1, 0.72, 0.28
    width = max(left + columns * (_CELL + gap) + 0.1, 4.0)
    whole = (width, top + rows * (height + gap) + bottom)
    sheet = plotting.figure(*whole)
    cells = [
        [
            sheet.add_axes(
                (
                    (left + column * (_CELL + gap)) / whole[0],
                    (bottom + (rows - 1 - row) * (height + gap)) / whole[1],
                    _CELL / whole[0],
                    height / whole[1],
                )
            )
            for column in range(columns)
        ]
        for row in range(rows)
    ]
    return sheet, cells


def _fill(axes: Axes, folding: Folding, values: Array, limit: float, colour: str) -> None:
    if np.isfinite(values).all():
        folding.draw(axes, values, limit, colour)
        return
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, "none", color=MUTED, size=8, ha="center", va="center")


def _head(cells: list[list[Axes]], title: str, subtitle: str) -> None:
    """A title above the names of the columns."""
    corner = cells[0][0].get_position()
    assert cells[0][0].figure is not None
    height = float(cells[0][0].figure.get_size_inches()[1])  # type: ignore[union-attr]
    strip = cells[0][0].figure.add_axes((corner.x0, corner.y1, corner.width, 0.14 / height))
    strip.set_axis_off()
    plotting.heading(strip, title, subtitle)


def _row_name(axes: Axes, name: str, colour: str) -> None:
    _say(axes, name, (0, 0.5), (-6, 0), ha="right", va="center", color=colour)


def _column_name(axes: Axes, name: str) -> None:
    _say(axes, name, (0.5, 1), (0, 3), ha="center", va="bottom", color=INK)


def _below(axes: Axes, text: str) -> None:
    _say(axes, text, (0.5, 0), (0, -3), ha="center", va="top", color=MUTED)


def _say(axes: Axes, text: str, at: Any, offset: Any, **looks: Any) -> None:
    axes.annotate(
        label(text, 22),
        at,
        offset,
        xycoords="axes fraction",
        textcoords="offset points",
        annotation_clip=False,
        size=8,
        **looks,
    )
