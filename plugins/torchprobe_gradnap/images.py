"""Profiles as images, and how one is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe import plotting
from torchprobe.errors import NothingToDrawError
from torchprobe_gradnap.choosing import chosen, last_over_positions, one, titled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from torchprobe.results import LayerResults

    Array = NDArray[np.float64]

__all__ = ["as_image", "draw_images", "draw_stages", "show"]

_WIDE, _HIGH = 2.3, 1.75  # inches of a panel
_ROBUST = 99.8  # percentile at which colours saturate
_DARK = "#374151"
_STAGES = {
    "unaligned": "mean activation",
    "activation": "aligned",
    "normalised": "less the mean of all data",
    "mask": "mask from gradients",
    "gradnap": "profile",
}


def draw_images(
    results: LayerResults,
    groups: Iterable[str] | None = None,
    layer: str | None = None,
    grouping: str | None = None,
) -> Figure:
    """Draw profiles of the input as images, NAvAI above where stages were kept (Fig. 2).

    Colours are symmetric around 0 and saturate at the 99.8th percentile of a row; the dashed line
    is the time of alignment.

    Args:
        results: of gradient-adjusted profiles.
        groups: names; the six largest by default.
        layer: of which layer; its channels are drawn upwards. The input by default, or what comes
            first after it.
        grouping: which, where there are several.

    Raises:
        NothingToDrawError: the profiles are not [channel, time], or [channel, height, width].
    """
    result = one(results, layer or results.layers[0], grouping)
    shown = chosen(result, groups, 6)
    rows = {"normalised": "before masking"} if "normalised" in result else {}
    if rows and result.layer == "input":
        rows["normalised"] = "NAvAI"
    rows["gradnap"] = "GradNAP"
    sheet = _Sheet.of(len(rows), len(shown), titled(result))
    timed = result.gradnap.ndim == 3  # noqa: PLR2004 - [group, channel, time]
    for row, (name, what) in enumerate(rows.items()):
        profiles = [result[name].values[group] for group in shown]
        sheet.draw_row(row, profiles, what, timed=timed)
    sheet.name_columns([result.coords["group"][group] for group in shown], timed=timed)
    return sheet.figure


def draw_stages(
    results: LayerResults,
    group: str | None = None,
    layer: str | None = None,
    grouping: str | None = None,
) -> Figure:
    """Draw how the profile of one group is aligned and computed, neurons upwards (Fig. 1).

    Stages without negative numbers have colours from 0, the others are symmetric around it.

    Args:
        results: of gradient-adjusted profiles with ``stages=True``.
        group: its name; the largest by default.
        layer: which; the last with several positions by default.
        grouping: which, where there are several.

    Raises:
        NothingToDrawError: the stages were not kept, or the layer has no positions.
    """
    result = one(results, layer or last_over_positions(results), grouping)
    if "mask" not in result:
        raise NothingToDrawError(
            "these results hold no stages; ask for them: tp.analyzer('gradnap', stages=True)"
        )
    shown = chosen(result, None if group is None else [group], 1)[0]
    stages = [result[name].values[shown] for name in _STAGES]
    sheet = _Sheet.of(1, len(_STAGES), f"{titled(result)}: {result.coords['group'][shown]}")
    timed = result.gradnap.ndim == 3  # noqa: PLR2004
    sheet.draw_each(stages, aligned=[name != "unaligned" for name in _STAGES])
    sheet.name_columns(list(_STAGES.values()), timed=timed)
    if timed:
        sheet.axes[0][0].set_ylabel("neuron")
        sheet.axes[0][0].set_xlabel("positions from the middle")
    return sheet.figure


@dataclass
class _Sheet:
    """Images in rows and columns."""

    figure: Figure
    axes: Any

    @classmethod
    def of(cls, rows: int, columns: int, title: str) -> _Sheet:
        sheet = plotting.figure(1.0 + _WIDE * columns, 0.95 + _HIGH * rows)
        sheet.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
        sheet.suptitle(plotting.label(title, 80), x=0.01, ha="left", weight="bold", size=11)
        return cls(sheet, sheet.subplots(rows, columns, squeeze=False))

    def draw_row(self, row: int, profiles: Sequence[Array], name: str, *, timed: bool) -> None:
        """Profiles with one symmetric range of colours."""
        line, limit = list(self.axes[row]), _limit([as_image(each) for each in profiles])
        for axes, profile in zip(line, profiles, strict=True):
            drawn = show(axes, profile, limit, aligned=True)
        for axes in line[1:]:
            axes.tick_params(labelleft=False)
        line[0].set_ylabel(f"{name}\nchannel" if timed else name)
        self.figure.colorbar(drawn, ax=line, shrink=0.85, pad=0.01)

    def draw_each(self, stages: Sequence[Array], aligned: Sequence[bool]) -> None:
        """Stages in one row, each with a range of colours of its own."""
        for axes, stage, there in zip(self.axes[0], stages, aligned, strict=True):
            drawn = show(axes, stage, aligned=there, from_zero=bool(stage.min() >= 0))
            self.figure.colorbar(drawn, ax=axes, shrink=0.85, pad=0.02)

    def name_columns(self, names: Sequence[str], *, timed: bool) -> None:
        """Titles above, and what runs along the axis below."""
        for axes, name in zip(self.axes[0], names, strict=True):
            axes.set_title(plotting.label(name, 30), loc="left", size=9)
        for axes in self.axes[-1] if timed else ():
            axes.set_xlabel("from the alignment")


def show(
    axes: Axes,
    profile: Array,
    limit: float | None = None,
    *,
    aligned: bool = False,
    from_zero: bool = False,
) -> Any:
    """[channel, time] with channels upwards, or [channel, height, width] upright, as an image.

    Positions count from the middle, where dashed lines say that examples are aligned there.
    Colours go up to a limit, by default the profile's own.
    """
    image, pixels = as_image(profile), profile.ndim == 3  # noqa: PLR2004
    limit = _limit([image]) if limit is None else limit
    rows, columns = image.shape
    middle = columns // 2
    below, above = (rows - rows // 2 - 0.5, -(rows // 2) - 0.5) if pixels else (-0.5, rows - 0.5)
    drawn = axes.imshow(
        image,
        origin="lower",
        aspect="equal" if pixels else "auto",
        cmap=plotting.colour_map(symmetric=not from_zero),
        vmin=0 if from_zero else -limit,
        vmax=limit,
        extent=(-middle - 0.5, columns - middle - 0.5, below, above),
        interpolation="nearest",
    )
    axes.locator_params(integer=True, nbins=5)
    for line in (axes.axvline, *([axes.axhline] if pixels else [])) if aligned else ():
        line(0, color=_DARK, linewidth=0.8, linestyle="--")
    return drawn


def _limit(images: Sequence[Array]) -> float:
    values = np.abs(np.concatenate([image.ravel() for image in images]))
    values = values[np.isfinite(values)]
    return float(np.percentile(values, _ROBUST)) or float(values.max(initial=0)) or 1.0


def as_image(values: Array) -> Array:
    """[channel, time] as it is; [channel, height, width] as the mean over channels, upright.

    Raises:
        NothingToDrawError: it is neither.
    """
    if values.ndim == 2:  # noqa: PLR2004
        return values
    if values.ndim == 3:  # noqa: PLR2004
        return np.asarray(values.mean(0)[::-1])
    raise NothingToDrawError(
        f"a profile of shape {values.shape} is no image; images are [channel, time] or "
        "[channel, height, width]"
    )
