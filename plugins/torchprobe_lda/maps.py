"""Maps of points: t-SNE of all classes, MDS of a few with their centroids' triangles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from torchprobe import plotting
from torchprobe.errors import InsufficientDataError
from torchprobe.plotting.style import INK, MUTED
from torchprobe_lda.geometry import aggregated, centroids, mds_map, tsne_map
from torchprobe_lda.plots import one_grouping
from torchprobe_lda.points import class_indices, points

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from torchprobe.results import LayerResults
    from torchprobe_lda.geometry import Aggregates

    Array = NDArray[np.float64]

__all__ = ["draw_mds", "draw_tsne"]

_PANEL = 2.5  # inches
_AREA = 7.0  # of a point's bubble, in square points
_MOST_PANELS = 8
_OTHER = "other"
"""What is said of classes that have no category."""


def draw_tsne(
    results: LayerResults,
    grouping: str | None = None,
    layers: str | Sequence[str] | None = None,
    categories: Mapping[str, str] | None = None,
    subset: str | None = None,
    reference: str | None = None,
    perplexity: float = 30.0,
    seed: int = 0,
) -> Figure:
    """Draw t-SNE of a layer's points, aggregated by K-means to a tenth (Fig. 4).

    A bubble is a group of neighbours of one class, its area their number.

    Args:
        results: of `torchprobe_lda.LDA`.
        grouping: which, where there are several.
        layers: which, a panel each; the middle hidden one and the last by default.
        categories: class name → category: colours tell categories, and a legend explains them.
        subset: only "separable" or "inseparable" rows.
        reference: the layer that says which are; the first by default.
        perplexity: of t-SNE.
        seed: of K-means and t-SNE.
    """
    results = one_grouping(results, grouping)
    chosen = [layers] if isinstance(layers, str) else list(layers or _middle_and_last(results))
    sheet = plotting.figure(4.6 * len(chosen) + (1.3 if categories else 0), 4.7)
    sheet.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    panels = sheet.subplots(1, len(chosen), squeeze=False)[0]
    for axes, layer in zip(panels, chosen, strict=True):
        groups = aggregated(points(results, layer, subset=subset, reference=reference), seed=seed)
        places = tsne_map(groups, perplexity, seed)
        colours = _colours(groups.names, categories)
        _bubbles(axes, places, groups, colours)
        axes.set_aspect("auto")  # t-SNE's distances mean little beyond neighbours
        _name_classes(axes, places, groups, colours)
        told = f"{groups.sizes.sum():,} points in {len(groups):,} groups"
        plotting.heading(axes, layer, told, limit=44)
    if categories:
        _explain(sheet, _category_colours(next(iter(results.values())).coords["class"], categories))
    return sheet


def draw_mds(
    results: LayerResults,
    grouping: str | None = None,
    classes: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    subset: str | None = None,
    reference: str | None = None,
    method: Literal["classical", "smacof"] = "classical",
    seed: int = 0,
) -> Figure:
    """Draw a few classes in each layer by MDS, with the triangle of their centroids (Fig. 5A-C).

    Panels share their scale, so that distances can be compared; bubbles are groups of neighbours of
    one class, their area the number of points. The last panel lays triangles of the centroids' true
    distances over one another.

    Args:
        results: of `torchprobe_lda.LDA`.
        grouping: which, where there are several.
        classes: their names; by default the two that the reference layer takes for one another most
            often, and the third that it takes for these.
        layers: which, a panel each; at most eight by default.
        subset: only "separable" or "inseparable" rows.
        reference: the layer that says which are; the first by default.
        method: "classical" or "smacof".
        seed: of K-means.
    """
    results = one_grouping(results, grouping)
    names = list(classes) if classes is not None else _confusable(results, reference)
    chosen = list(layers) if layers else plotting.spread(results.layers, _MOST_PANELS)
    maps = [_map(results, layer, names, subset, reference, method, seed) for layer in chosen]
    maps = [_turned_map(each, maps[-1].corners) for each in maps]
    colours = _colours(names, None)
    sheet, panels = _grid(len(chosen) + 1)
    for axes, layer, (groups, places, corners) in zip(panels, chosen, maps, strict=False):
        _bubbles(axes, places, groups, colours)
        _triangle(axes, corners, INK)
        _name_corners(axes, corners, names)
        told = f"{subset or 'all'} rows, {method} MDS" if axes is panels[0] else " "
        plotting.heading(axes, layer, told, limit=24)
    _share_scale(panels[: len(chosen)])
    own = class_indices(results[chosen[0]], names)
    triangles = [mds_map(centroids(results, layer, subset, reference)[own]) for layer in chosen]
    _overlay(panels[len(chosen)], [_turned(each, maps[-1].corners) for each in triangles], names)
    return sheet


class _Map(NamedTuple):
    """A layer's classes in two dimensions."""

    groups: Aggregates
    places: Array
    """Of the groups [group, 2]."""
    corners: Array
    """Of the classes' centroids [class, 2]."""


def _map(
    results: LayerResults,
    layer: str,
    names: Sequence[str],
    subset: str | None,
    reference: str | None,
    method: Literal["classical", "smacof"],
    seed: int,
) -> _Map:
    """Groups of some classes and the classes' centroids in one map.

    Two dimensions need not show how far apart the centroids are.
    """
    found = points(results, layer, classes=names, subset=subset, reference=reference)
    groups = aggregated(found, seed=seed)
    chosen = class_indices(results[layer], names)
    centres = centroids(results, layer, subset, reference)[chosen]
    empty = [name for name, centre in zip(names, centres, strict=True) if np.isnan(centre).any()]
    if empty:
        raise InsufficientDataError(
            f"no {subset or 'sampled'} row of {', '.join(map(repr, empty))} in {layer!r}; choose "
            "classes=, or take more points with LDA(sample=...)"
        )
    places = mds_map(np.concatenate([groups.centres, centres]), method, seed)
    return _Map(groups, places[: len(groups)], places[len(groups) :])


def _turned_map(each: _Map, onto: Array) -> _Map:
    """A map turned or mirrored so that its corners lie as others do."""
    middle, turn = each.corners.mean(axis=0), _turn(each.corners, onto)
    return _Map(each.groups, (each.places - middle) @ turn, (each.corners - middle) @ turn)


# -- which layers and classes


def _middle_and_last(results: LayerResults) -> list[str]:
    """The middle layer and the last, without the model's input and output where there are more."""
    layers = list(results.layers)
    inner = layers[1:-1] if len(layers) > 3 else layers  # noqa: PLR2004
    return list(dict.fromkeys([inner[len(inner) // 2], inner[-1]]))


def _confusable(results: LayerResults, reference: str | None) -> list[str]:
    """Three classes: the pair with the most mistakes, relative to their rows, and what joins them.

    Where nothing is mistaken these are the first three, never one class twice.
    """
    result = results[reference or results.layers[0]]
    name = next((n for n in ("confusion", "confusion_fit") if n in result), None)
    names = list(result.coords["class"])
    if name is None or len(names) < 3:  # noqa: PLR2004 - a triangle
        return names[:3]
    rows = np.maximum(result[name].values.sum(axis=1, keepdims=True), 1)
    shares = result[name].values / rows
    mistakes = np.where(np.eye(len(names), dtype=bool), -1.0, shares + shares.T)
    a, b = np.unravel_index(mistakes.argmax(), mistakes.shape)
    joined = mistakes[a] + mistakes[b]
    joined[[a, b]] = -1.0
    return [names[i] for i in (a, b, joined.argmax())]


def _category_colours(names: Sequence[str], categories: Mapping[str, str]) -> dict[str, str]:
    """Colours of the categories of these classes, and of what has none."""
    colours = plotting.category_colours([categories[n] for n in names if n in categories])
    return colours if all(name in categories for name in names) else {**colours, _OTHER: MUTED}


# -- drawing


def _colours(names: Sequence[str], categories: Mapping[str, str] | None) -> list[str]:
    if categories is None:
        return [colour for colour, _ in plotting.marks(len(names))]
    known = _category_colours(names, categories)
    return [known[categories.get(name, _OTHER)] for name in names]


def _bubbles(axes: Axes, places: Array, groups: Aggregates, colours: Sequence[str]) -> None:
    """Aggregates as bubbles, large ones behind."""
    order = np.argsort(-groups.sizes, kind="stable")
    axes.scatter(
        places[order, 0],
        places[order, 1],
        s=_AREA * groups.sizes[order],
        c=[colours[k] for k in groups.classes[order]],
        alpha=0.55,
        linewidths=0,
    )
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[["left", "bottom"]].set_visible(False)


def _name_classes(axes: Axes, places: Array, groups: Aggregates, colours: Sequence[str]) -> None:
    """The name of each class where most of its points lie."""
    for k, name in enumerate(groups.names):
        own = groups.classes == k
        if own.any():
            weights = groups.sizes[own] / groups.sizes[own].sum()
            middle = weights @ places[own]
            nearest = places[own][np.linalg.norm(places[own] - middle, axis=1).argmin()]
            _text(axes, nearest, name, _darker(colours[k]))


def _name_corners(axes: Axes, corners: Array, names: Sequence[str]) -> None:
    for corner, name in zip(corners, names, strict=True):
        if np.isfinite(corner).all():
            _text(axes, corner, name, INK)


def _text(axes: Axes, place: Array, name: str, colour: Any) -> None:
    from matplotlib.patheffects import withStroke

    axes.annotate(
        plotting.label(name, 12),
        (place[0], place[1]),
        ha="center",
        va="center",
        size=8,
        weight="bold",
        color=colour,
        path_effects=[withStroke(linewidth=2.2, foreground="white")],
        annotation_clip=False,
    )


def _darker(colour: str) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return tuple(0.6 * part for part in to_rgb(colour))


def _triangle(axes: Axes, corners: Array, colour: Any, **looks: Any) -> None:
    closed = np.concatenate([corners, corners[:1]])
    axes.plot(*closed.T, color=colour, linewidth=1.1, zorder=3, **looks)


def _overlay(axes: Axes, triangles: Sequence[Array], names: Sequence[str]) -> None:
    """The triangles of all layers about one middle, in colours that run with depth."""
    for corners, colour in zip(triangles, plotting.depth_colours(len(triangles)), strict=True):
        _triangle(axes, corners, colour)
    every = np.stack(triangles)  # [layer, class, 2]
    outermost = np.linalg.norm(every, axis=2).argmax(axis=0)
    _name_corners(axes, 1.13 * every[outermost, np.arange(len(names))], names)
    half = 1.35 * float(np.abs(every).max()) or 1.0  # room for the names; one class is a point
    axes.set(xticks=[], yticks=[], xlim=(-half, half), ylim=(-half, half))
    axes.set_aspect("equal", adjustable="box")
    axes.spines[["left", "bottom"]].set_visible(False)
    plotting.heading(axes, "all layers", "darker: deeper", limit=24)


def _turned(corners: Array, onto: Array) -> Array:
    """Corners about their middle, turned or mirrored to lie as others do; distances stay."""
    return np.asarray((corners - corners.mean(axis=0)) @ _turn(corners, onto))


def _turn(corners: Array, onto: Array) -> Array:
    """The rotation, maybe with a mirror, that brings corners nearest to others [2, 2]."""
    from scipy.linalg import orthogonal_procrustes

    turn, _ = orthogonal_procrustes(corners - corners.mean(axis=0), onto - onto.mean(axis=0))
    return np.asarray(turn)


def _share_scale(panels: Sequence[Axes]) -> None:
    """The same units per inch in all panels, each about its own middle."""
    half = 0.55 * max(np.ptp(axes.dataLim.intervalx) for axes in panels)
    half = max(half, 0.55 * max(np.ptp(axes.dataLim.intervaly) for axes in panels))
    for axes in panels:
        middle = axes.dataLim.intervalx.mean(), axes.dataLim.intervaly.mean()
        axes.set_aspect("equal", adjustable="box")
        axes.set_xlim(middle[0] - half, middle[0] + half)
        axes.set_ylim(middle[1] - half, middle[1] + half)


def _grid(n: int) -> tuple[Figure, list[Axes]]:
    columns = min(n, 4)
    rows = -(-n // columns)
    sheet = plotting.figure(_PANEL * columns + 0.4, (_PANEL + 0.3) * rows + 0.2)
    sheet.set_layout_engine("constrained", w_pad=0.06, h_pad=0.1)
    panels = list(np.ravel(sheet.subplots(rows, columns, squeeze=False)))
    for axes in panels[n:]:
        axes.remove()
    return sheet, panels[:n]


def _explain(sheet: Figure, colours: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], marker="o", linestyle="", color=c) for c in colours.values()]
    names = [plotting.label(name, 20) for name in colours]
    sheet.legend(handles, names, loc="outside right center")
