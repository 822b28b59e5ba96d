"""Which positions of a layer's map belong to a labelled position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from torchprobe.errors import LabelError, SettingError, ShapeError
from torchprobe_nap.cutting import aligned_rows, labels_of

if TYPE_CHECKING:
    from torch import Tensor

    from torchprobe import LayerBatch
    from torchprobe.positions import Map

__all__ = ["Windows", "field_windows", "stated_windows"]


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of equal width over the positions of every sample's map."""

    first: Tensor
    """The position at which each begins, in or out of the map: int64 [window]."""
    width: int
    centre: int
    """Which position of a window must be data where windows may be incomplete."""
    labels: Tensor
    """Int64 [sample, window], -1 where there is none."""


def stated_windows(batch: LayerBatch, left: int, right: int) -> Windows:
    """So many positions before and after each position of the layer.

    Raises:
        ShapeError: the layer has not one position axis.
        LabelError: labels do not fit the layer's positions.
    """
    _check_axes(batch)
    _, valid = aligned_rows(batch)
    labels = torch.full(
        (len(batch.values) * batch.values.shape[2],), -1, device=batch.labels.device
    )
    labels[slice(None) if valid is None else valid.to(labels.device)] = batch.labels
    first = torch.arange(batch.values.shape[2]) - left
    return Windows(first, left + right + 1, left, labels.view(len(batch.values), -1))


def _check_axes(batch: LayerBatch) -> None:
    names = batch.layer.axes.positions
    if batch.values.ndim != 3:  # noqa: PLR2004 - [sample, channel, position]
        raise ShapeError(
            f"windows run along one position axis but layer {batch.layer.name!r} has "
            f"{', '.join(names) or 'none'}; use window='map' with labels per sample"
        )


def field_windows(batch: LayerBatch) -> Windows:
    """The positions that a network fed with an output's receptive field alone would compute.

    Raises:
        ShapeError: the layer has not one position axis.
        LabelError: labels fit neither the model's output nor its input, or strides change with the
            input's length.
        SettingError: it is not known what the layer's positions, or the output's, see.
    """
    _check_axes(batch)
    mine, output = _maps(batch)
    labels = _labels_at_output(batch)
    _check_strides(batch, labels)
    first, last = mine.inside(output, labels.shape[1])
    widths = (last - first + 1).unique().tolist()
    if len(widths) != 1 or widths[0] < 1:
        raise SettingError(
            f"the output's positions see {widths} positions of layer {batch.layer.name!r}; "
            "windows need one width: state window=(left, right)"
        )
    return Windows(first, widths[0], widths[0] // 2, labels)


def _maps(batch: LayerBatch) -> tuple[Map, Map]:
    """How the positions of the layer, and those of the output, lie over the input's."""
    name, where, matching = batch.layer.name, batch.layer.positions_map, batch.given.matching
    unknown = f"it is not known what the positions of layer {name!r} see of the input"
    try:
        where = where or (matching.map_of(name) if matching else None)
        output = where and (where.output or (matching.map_of("output") if matching else None))
    except LabelError as error:
        raise SettingError(f"{unknown}: {error}; or state window=(left, right)") from error
    if not where or not output:
        raise SettingError(f"{unknown}; state the window: window=(left, right)")
    if len(output.maps) != 1 or output.along != where.along:
        raise SettingError(
            f"windows need an output with the position axis of layer {name!r}, {where.along}, but "
            f"it has {output.along or 'none'}; state window=(left, right)"
        )
    return where.maps[0], output.maps[0]


def _labels_at_output(batch: LayerBatch) -> Tensor:
    """Int64 [sample, position of the output]."""
    labels, matching = labels_of(batch), batch.given.matching
    if labels.ndim != 2:  # noqa: PLR2004 - [sample, position]
        raise LabelError(
            f"labels {batch.grouping!r} have shape {tuple(labels.shape)}; windows need a label for "
            "each position of the output, [sample, position]"
        )
    return matching.at_output(labels, str(batch.grouping)) if matching else labels


def _check_strides(batch: LayerBatch, labels: Tensor) -> None:
    """Refuse layer and output where they have other sizes than the maps say for this input."""
    name, matching = batch.layer.name, batch.given.matching
    if matching is None:
        return
    try:
        matching.check(name, tuple(batch.values.shape[2:]))
        matching.check("output", tuple(labels.shape[1:]))
    except LabelError as error:
        raise LabelError(f"windows of layer {name!r} are not known: {error}") from error
