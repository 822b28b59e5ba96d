"""Maps of groups, how they are made, and how alike neighbours are by layer (Fig. 1B)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe import plotting
from torchprobe.errors import LayerNotFoundError, SettingError
from torchprobe.plotting import heading
from torchprobe.wording import unknown
from torchprobe_topography.analyzer import arrangement_of
from torchprobe_topography.maps import Region, smoothed
from torchprobe_topography.panels import bar_of, draw_panel, draw_points, limit_of, panels

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from torchprobe import Result
    from torchprobe.results import LayerResults
    from torchprobe_topography.arrangement import Arrangement
    from torchprobe_topography.panels import Kind

    Array = NDArray[np.float64]

__all__ = [
    "draw_alikeness",
    "draw_inputs",
    "draw_maps",
    "draw_scatter",
    "draw_stages",
    "head",
    "maps_of",
]

_KINDS: tuple[Kind, ...] = ("grid", "smoothed", "interpolated")
_MOST = 40  # maps of one figure; more are too small to read


def draw_alikeness(results: LayerResults) -> Figure:
    """Draw the cosine of neighbours by layer beside that of any two units.

    Args:
        results: of topography; of several groupings each has its own lines.
    """
    series: dict[str, dict[str, float]] = {}
    several = len(results.groupings) > 1
    for result in results.values():
        by = f" by {result.grouping}" if several else ""
        for name, field in (("neighbours", "neighbour_cosine"), ("any two units", "random_cosine")):
            series.setdefault(name + by, {})[result.layer] = result[field].item
    return plotting.by_layer(
        series,
        ylabel="mean cosine",
        title="How alike neighbours are",
        subtitle="cosine of the responses to all classes",
    )


def draw_maps(
    results: LayerResults,
    layer: str | None = None,
    grouping: str | None = None,
    groups: Iterable[str] | None = None,
    kind: Kind = "interpolated",
    arrangement: Arrangement | None = None,
    limit: float | None = None,
) -> Figure:
    """Draw a map for each class, in one range of colours around 0, with the region that is highest.

    Args:
        results: of topography.
        layer: which; the last by default.
        grouping: which, where there are several.
        groups: names of classes; all by default, the 40 largest where there are more.
        kind: "grid" cell by cell; "smoothed"; or "interpolated", the smoothed map as the
            topography of an EEG is drawn, with contours.
        arrangement: where units lie, if not as in the result: that of another checkpoint.
        limit: where colours saturate; by default what 99.8 % of all cells stay below.

    Raises:
        SettingError: an unknown kind or class.
        LayerNotFoundError: no such layer or grouping, or several and none was named.
    """
    if kind not in _KINDS:
        raise SettingError(f"kind={kind!r}; choose one of {', '.join(map(repr, _KINDS))}")
    result = _one(results, layer, grouping)
    chosen = _chosen(result, groups, _MOST)
    maps = _maps(result, kind, arrangement)
    limit = limit or limit_of(maps)
    figure, axes = panels(len(chosen), maps.shape[1:])
    names = result.coords["class"]
    for place, group in zip(axes, chosen, strict=True):
        region = _region(result, group) if arrangement is None else None
        image = draw_panel(place, maps[group], limit, kind, names[group], region)
    bar_of(figure, image, axes, "response")
    head(figure, result.layer, _subtitle(result, len(chosen), kind))
    return figure


def draw_stages(
    results: LayerResults,
    layer: str | None = None,
    grouping: str | None = None,
    groups: Iterable[str] | None = None,
) -> Figure:
    """Draw maps of some classes as they are, smoothed, and interpolated, with their regions.

    Args:
        results: of topography.
        layer: which; the last by default.
        grouping: which, where there are several.
        groups: names of classes; the six largest by default.
    """
    result = _one(results, layer, grouping)
    chosen = _chosen(result, groups, 6)
    figure, axes = panels(3 * len(chosen), result.maps.shape[1:], most=len(chosen))
    names = result.coords["class"]
    for row, kind in enumerate(_KINDS):
        maps = _maps(result, kind, None)
        limit, line = limit_of(maps), axes[row * len(chosen) : (row + 1) * len(chosen)]
        for place, group in zip(line, chosen, strict=True):
            title = names[group] if not row else ""
            box = _region(result, group) if row else None
            image = draw_panel(place, maps[group], limit, kind, title, box)
        bar_of(figure, image, line, "")
        line[0].set_ylabel(("on grid", *_KINDS[1:])[row], fontsize=8.5)
    head(figure, result.layer, "from cells to a map; boxes show the region of highest response")
    return figure


@plotting.styled
def draw_scatter(
    values: ArrayLike,
    points: ArrayLike | Arrangement,
    names: Sequence[str] | None = None,
    title: str = "",
    limit: float | None = None,
) -> Figure:
    """Draw values of units where a layout put them, interpolated in between.

    Args:
        values: [group, unit].
        points: [unit, 2], or an arrangement that has points.
        names: of the groups.
        title: above all.
        limit: where colours saturate.

    Raises:
        SettingError: the arrangement has no points: units stand in their own order.
    """
    array = np.atleast_2d(np.asarray(values, dtype=np.float64))
    places = getattr(points, "points", points)
    if places is None:
        raise SettingError("this arrangement has no points; make one with arrange()")
    places = np.asarray(places, dtype=np.float64)
    limit = limit or limit_of(array)
    figure, axes = panels(len(array), (1, 1), most=6, height=1.6)
    for number, (place, each) in enumerate(zip(axes, array, strict=True)):
        dots = draw_points(place, places, each, limit, names[number] if names else "")
    bar_of(figure, dots, axes, "response")
    head(figure, title or "Units where they were laid out", f"{len(places):,} units")
    return figure


@plotting.styled
def draw_inputs(inputs: ArrayLike, names: Sequence[str] | None = None, title: str = "") -> Figure:
    """Draw optimal inputs of a region as the paper does: its units on their square, then the joint.

    Args:
        inputs: what `region_inputs` found: [unit + 1, height, width] or [unit + 1, feature]; a
            channel axis of 1 is dropped.
        names: of the units.
        title: above all.

    Raises:
        SettingError: inputs are no vectors or images.
    """
    images = np.asarray(inputs, dtype=np.float64)
    if images.ndim == 4 and images.shape[1] == 1:  # noqa: PLR2004
        images = images[:, 0]
    if images.ndim not in (2, 3):
        raise SettingError(f"inputs of shape {images.shape}; give [unit, height, width]")
    if images.ndim == 2:  # noqa: PLR2004 - vectors become one row of pixels
        images = images[:, np.newaxis]
    side = max(1, round((len(images) - 1) ** 0.5))
    figure = plotting.figure(7.2, 4.1)
    grid = figure.add_gridspec(1, 2, left=0.05, right=0.93, top=0.78, bottom=0.07, wspace=0.12)
    singles = grid[0].subgridspec(-(-(len(images) - 1) // side), side, wspace=0.12, hspace=0.25)
    limit, axes = limit_of(images[:-1]), []
    for number, image in enumerate(images[:-1]):
        axes.append(figure.add_subplot(singles[divmod(number, side)]))
        _image(axes[-1], image, limit, names[number] if names else "")
    joint = figure.add_subplot(grid[1])
    shown = _image(joint, images[-1], limit_of(images[-1]), "all of them together")
    bar_of(figure, shown, [joint], "")
    head(figure, title or "Optimal inputs of a region", "of each unit, and of all together")
    return figure


def _image(axes: Any, image: Array, limit: float, title: str) -> Any:
    colours = plotting.colour_map(symmetric=True)
    shown = axes.imshow(image, cmap=colours, vmin=-limit, vmax=limit, aspect="auto", origin="lower")
    axes.set(xticks=[], yticks=[])
    if title:
        axes.set_title(plotting.label(title, 24), fontsize=8, pad=3)
    return shown


def maps_of(results: LayerResults, layer: str | None, grouping: str | None, kind: str) -> Array:
    """The maps of a layer as a kind of drawing shows them: [class, row, column]."""
    return _maps(_one(results, layer, grouping), kind, None)


def _maps(result: Result, kind: str, arrangement: Arrangement | None) -> Array:
    maps = (arrangement or arrangement_of(result)).lay(result.responses)
    return maps if kind == "grid" else smoothed(maps, result.settings["size"])


def _region(result: Result, group: int) -> Region | None:
    row, column = int(result.region_row[group]), int(result.region_column[group])
    if row < 0:
        return None
    return Region(row, column, result.settings["size"], float(result.region_value[group]))


def _chosen(result: Result, groups: Iterable[str] | None, most: int) -> list[int]:
    """Classes by number, in their order: those named, or the largest."""
    names = result.coords["class"]
    if groups is None:
        largest = np.argsort(-result.counts, kind="stable")[:most]
        return sorted(int(group) for group in largest)
    wanted = [groups] if isinstance(groups, str) else list(groups)
    for name in wanted:
        if name not in names:
            raise SettingError(unknown("class", name, names))
    if not wanted:
        raise SettingError("groups names no class")
    return [names.index(name) for name in wanted]


def _one(results: LayerResults, layer: str | None, grouping: str | None) -> Result:
    if grouping is not None:
        results = results.grouping(grouping)
    if not results.layers:
        raise LayerNotFoundError("there are no results to draw")
    return results[layer or results.layers[-1]]


def _subtitle(result: Result, shown: int, kind: str) -> str:
    classes, rows, columns = result.maps.shape
    some = f"{shown} of {classes} classes" if shown < classes else f"{classes} classes"
    return f"{some} · {result.responses.shape[1]:,} units on {rows} × {columns} · {kind}"


def head(figure: Figure, title: str, subtitle: str) -> None:
    """A title and a line under it, at the top left of a figure."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0.3 / width, 1 - 0.58 / height, 0.9, 0.001))
    axes.set_axis_off()
    heading(axes, title, subtitle, limit=max(20, int(9 * width)))
