"""Profiles as images and as action potentials, how they were made, and how groups cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe import plotting
from torchprobe.errors import NothingToDrawError, SettingError
from torchprobe.optimal_input import most_responsive
from torchprobe.plotting import Tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from torchprobe import Result
    from torchprobe.results import LayerResults

    Array = NDArray[np.float64]

__all__ = ["draw_clusters", "draw_images", "draw_neurons", "draw_silhouettes", "draw_stages"]

_PALE, _WIDE, _HIGH = "#9ca3af", 2.3, 1.75  # grey lines; inches of a panel
_ROBUST = 99.8  # percentile at which colours saturate
_STAGES = {
    "activation": "mean activation",
    "normalised": "less the mean of all data",
    "mask": "mask from gradients",
    "gradnap": "profile",
}


def draw_silhouettes(results: LayerResults) -> Figure:
    """Draw silhouettes by layer, a line for each threshold; means where there are two groupings.

    Args:
        results: of gradient-adjusted profiles (Fig. 4A).
    """
    series: dict[str, dict[str, float]] = {}
    several = len(results.groupings) > 1
    for result in results.values():
        if several:
            series.setdefault(str(result.grouping), {})[result.layer] = result.mean_silhouette
            continue
        for name, score in zip(result.coords["percentile"], result.silhouettes, strict=True):
            series.setdefault(f"{name}th", {})[result.layer] = float(score)
        series.setdefault("mean", {})[result.layer] = result.mean_silhouette
    return plotting.by_layer(
        series,
        ylabel="silhouette",
        title="How distinct the groups' profiles are",
        subtitle="mean over five thresholds"
        if several
        else "clusters cut at percentiles of the distances",
    )


def draw_clusters(
    results: LayerResults,
    layer: str | None = None,
    grouping: str | None = None,
    categories: Mapping[str, str] | None = None,
) -> Figure:
    """Draw the distances between profiles with their dendrogram and clusters (Fig. 4B).

    Args:
        results: of gradient-adjusted profiles.
        layer: which; the last by default.
        grouping: which, where there are several.
        categories: group name → category, shown beside the names.
    """
    result = _one(results, layer, grouping)
    tree = Tree(result.linkage, result.order)
    n = int(result.n_clusters)
    return plotting.clustergram(
        result.distances,
        rows=tree,
        columns=tree,
        row_names=result.coords["group"],
        clusters=result.cluster,
        categories=categories,
        value_label="distance",
        column_label="groups in the same order",
        height_label="distance",
        title=result.layer,
        subtitle=f"{len(result.counts)} groups, {n} cluster{'s' if n > 1 else ''} at the "
        f"{result.settings['percentile']:g}th percentile",
    )


def draw_images(
    results: LayerResults,
    groups: Iterable[str] | None = None,
    layer: str | None = None,
    grouping: str | None = None,
) -> Figure:
    """Draw profiles of the input as images, NAvAI above where stages were kept (Fig. 2).

    Colours are symmetric around 0 and saturate at the 99.8th percentile; the dashed line is the
    time of alignment.

    Args:
        results: of gradient-adjusted profiles.
        groups: names; the six largest by default.
        layer: of which layer; its channels are drawn upwards. The input by default, or what comes
            first after it.
        grouping: which, where there are several.

    Raises:
        NothingToDrawError: the profiles are not [channel, time], or [1 or 3, height, width].
    """
    result = _one(results, layer or results.layers[0], grouping)
    chosen = _chosen(result, groups, 6)
    rows = {"normalised": "before masking (NAvAI)"} if "normalised" in result else {}
    rows["gradnap"] = "GradNAP"
    images = [[_image(result[name].values[group]) for group in chosen] for name in rows]
    names = [result.coords["group"][group] for group in chosen]
    aligned = result.gradnap.ndim == 3  # noqa: PLR2004 - [group, channel, time]
    return _grid(images, names, list(rows.values()), aligned=aligned, title=result.layer)


def draw_stages(
    results: LayerResults,
    group: str | None = None,
    layer: str | None = None,
    grouping: str | None = None,
) -> Figure:
    """Draw how the profile of one group is made, neurons upwards (Fig. 1B).

    Args:
        results: of gradient-adjusted profiles with ``stages=True``.
        group: its name; the largest by default.
        layer: which; the last by default.
        grouping: which, where there are several.

    Raises:
        NothingToDrawError: the stages were not kept.
    """
    result = _one(results, layer, grouping)
    if "mask" not in result:
        raise NothingToDrawError(
            "these results hold no stages; ask for them: tp.analyzer('gradnap', stages=True)"
        )
    chosen = _chosen(result, None if group is None else [group], 1)[0]
    images = [[_image(result[name].values[chosen]) for name in _STAGES]]
    title = f"{result.layer}: {result.coords['group'][chosen]}"
    return _grid(images, list(_STAGES.values()), [""], aligned=True, title=title, alike=False)


def draw_neurons(
    results: LayerResults,
    groups: Iterable[str] | None = None,
    layer: str | None = None,
    grouping: str | None = None,
    n: int = 5,
    optimal: Mapping[str, ArrayLike] | None = None,
) -> Figure:
    """Draw every neuron's profile as a line over time, the most responsive coloured (Fig. 3).

    Args:
        results: of gradient-adjusted profiles of a layer with time.
        groups: names; the three largest by default.
        layer: which; the last by default.
        grouping: which, where there are several.
        n: how many neurons are coloured.
        optimal: inputs [channel, time] by group, from `torchprobe.optimal_input`, drawn beside.

    Raises:
        NothingToDrawError: the layer has no axis of time alone.
    """
    result = _one(results, layer, grouping)
    if result.gradnap.ndim != 3:  # noqa: PLR2004
        raise NothingToDrawError(
            f"layer {result.layer!r} has no single axis of positions; lines over time need one"
        )
    chosen = _chosen(result, groups, 3)
    sheet = plotting.figure(3.4 + (2.4 if optimal else 0), 0.5 + 1.8 * len(chosen))
    sheet.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    grid = sheet.subplots(
        len(chosen), 2 if optimal else 1, squeeze=False,
        width_ratios=[1.5, 1] if optimal else None,
    )  # fmt: skip
    for (axes, *beside), group in zip(grid, chosen, strict=True):
        name = result.coords["group"][group]
        _lines(axes, result, group, n)
        plotting.heading(axes, name, limit=40)
        if beside and optimal and name in optimal:
            _show(beside[0], _image(np.asarray(optimal[name], dtype=float)), None)
            beside[0].set_title("optimal input", loc="left", size=8.5)
        elif beside:
            beside[0].set_axis_off()
    grid[-1][0].set_xlabel("positions from the time of alignment")
    return sheet


def _lines(axes: Axes, result: Result, group: int, n: int) -> None:
    profile = result.gradnap[group]  # [channel, time]
    offsets = np.arange(profile.shape[1]) - profile.shape[1] // 2
    axes.plot(offsets, profile.T, color=_PALE, linewidth=0.5, alpha=0.6)
    strongest = np.flatnonzero(most_responsive(result.responsiveness[group], n)[0])
    for neuron, (colour, _) in zip(strongest, plotting.marks(len(strongest)), strict=True):
        axes.plot(offsets, profile[neuron], color=colour, linewidth=1.6, label=f"{neuron}")
    axes.axvline(0, color=_PALE, linewidth=0.8, linestyle="--", zorder=0)
    if len(strongest):
        axes.legend(title="neuron", fontsize=7, title_fontsize=7, loc="upper right")
    axes.set_ylabel("GradNAP")


def _grid(
    images: Sequence[Sequence[Array]],
    columns: Sequence[str],
    rows: Sequence[str],
    *,
    aligned: bool,
    title: str,
    alike: bool = True,
) -> Figure:
    """Images in rows and columns, each row with one symmetric range, or each image its own."""
    sheet = plotting.figure(1.0 + _WIDE * len(columns), 0.9 + _HIGH * len(rows))
    sheet.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
    sheet.suptitle(plotting.label(title, 80), x=0.01, ha="left", weight="bold", size=11)
    grid: Any = sheet.subplots(len(rows), len(columns), squeeze=False)
    for row, (name, line) in enumerate(zip(rows, images, strict=True)):
        limit = _limit(line) if alike else None
        for column, image in enumerate(line):
            axes = grid[row][column]
            drawn = _show(axes, image, limit, aligned=aligned)
            if row == 0:
                axes.set_title(plotting.label(columns[column], 30), loc="left", size=9)
            if not alike:
                sheet.colorbar(drawn, ax=axes, shrink=0.85, pad=0.02)
        grid[row][0].set_ylabel(name)
        if alike:
            sheet.colorbar(drawn, ax=list(grid[row]), shrink=0.85, pad=0.01)
    return sheet


def _limit(images: Sequence[Array]) -> float:
    values = np.abs(np.concatenate([image.ravel() for image in images]))
    values = values[np.isfinite(values)]
    return float(np.percentile(values, _ROBUST)) or float(values.max(initial=0)) or 1.0


def _show(axes: Axes, image: Array, limit: float | None, *, aligned: bool = False) -> Any:
    limit = _limit([image]) if limit is None else limit
    middle = image.shape[1] // 2
    extent = (-middle - 0.5, image.shape[1] - middle - 0.5, -0.5, image.shape[0] - 0.5)
    drawn = axes.imshow(
        image,
        origin="lower",
        aspect="auto",
        cmap=plotting.colour_map(symmetric=True),
        vmin=-limit,
        vmax=limit,
        extent=extent,
        interpolation="nearest",
    )
    axes.locator_params(integer=True, nbins=5)
    if aligned:
        axes.axvline(0, color="#374151", linewidth=0.8, linestyle="--")
    return drawn


def _image(values: Array) -> Array:
    """[channel, time] as it is; [channel, height, width] as the mean over channels, upright."""
    if values.ndim == 2:  # noqa: PLR2004
        return values
    if values.ndim == 3:  # noqa: PLR2004
        return np.asarray(values.mean(0)[::-1])
    raise NothingToDrawError(
        f"a profile of shape {values.shape} is no image; images are [channel, time] or "
        "[channel, height, width]"
    )


def _chosen(result: Result, groups: Iterable[str] | None, n: int) -> list[int]:
    names = list(result.coords["group"])
    if groups is None:
        return sorted(np.argsort(-result.counts, kind="stable")[:n].tolist())
    missing = [name for name in groups if name not in names]
    if missing:
        raise SettingError(f"no group {missing[0]!r}; there are {', '.join(names)}")
    return [names.index(name) for name in groups]


def _one(results: LayerResults, layer: str | None, grouping: str | None) -> Result:
    if grouping is not None:
        results = results.grouping(grouping)
    return results[layer or results.layers[-1]]
