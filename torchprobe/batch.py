"""What one layer delivered in one forward pass, as analyzers get it."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators.rows import float64_device, positions_first, row_parts
from torchprobe.errors import LabelError, NonFiniteError, SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from torchprobe.accumulators import Groups
    from torchprobe.labels import Labels
    from torchprobe.layer import Layer

__all__ = ["LayerBatch"]

NONFINITE = ("ignore", "propagate", "raise")
"""What happens to rows with NaN or infinity: left out and counted, kept, or an error."""

_POSITIONS_PER_SAMPLE = 1 << 20


class _Values:
    """One layer's values and what is derived from them, shared by every analyzer and grouping."""

    def __init__(self, layer: Layer, canonical: Tensor, labels: Labels, nonfinite: str) -> None:
        self.layer = layer
        self.canonical = canonical
        self.labels = labels
        self.nonfinite = nonfinite
        self.n_nonfinite = 0
        self.gradients: Tensor | None = None
        self.pooled: dict[str, _Values] = {}
        self.shape = (canonical.shape[0], *canonical.shape[2:])  # [sample, *positions]

    @cached_property
    def mask(self) -> Tensor | None:
        """Which positions count, bool [sample, *positions], on the values' device."""
        mask = self.labels.valid(self.shape, self.layer.name)
        return None if mask is None else mask.to(self.canonical.device)

    @cached_property
    def kept(self) -> Tensor | None:
        """Rows left after padding is taken out, by index; None where all count."""
        keep = self.labels.keep(self.shape, self.layer.name)
        return None if keep is None else keep.to(self.canonical.device)

    @cached_property
    def surely_finite(self) -> bool:
        values = self.canonical  # as they are, before they are made twice as large
        exact = torch.promote_types(values.dtype, torch.float32)
        return bool(torch.isfinite(values.sum(dtype=exact)))

    @property
    def _sound(self) -> bool:
        """Whether no row is to be left out for its values, as far as a look at all of them says."""
        return self.nonfinite == "propagate" or self.surely_finite

    @cached_property
    def _rows(self) -> tuple[Tensor, Tensor | None]:
        """Float64 rows without padding and non-finite ones, and which of the kept are finite."""
        rows = _float64_rows(self.canonical)
        if self.kept is not None:
            rows = rows.index_select(0, self.kept.to(rows.device))
        if self._sound or bool(torch.isfinite(rows.sum())):
            return rows, None
        finite = torch.isfinite(rows.sum(1))
        self.n_nonfinite = int((~finite).sum())
        if self.nonfinite == "raise":
            raise NonFiniteError(
                f"layer {self.layer.name!r} delivered {self.n_nonfinite} of {len(rows)} rows with "
                "NaN or infinity; nonfinite='ignore' leaves such rows out and counts them"
            )
        return rows[finite], finite

    @property
    def _finite(self) -> Tensor | None:
        """Which of the kept rows are finite; None for all, which is known without making rows."""
        return None if self._sound else self._rows[1]

    def rows(self) -> Tensor:
        return self._rows[0]

    def row_parts(self) -> Iterator[Tensor]:
        """The rows, in parts where that is faster: not where some must be left out one by one."""
        maps = self.canonical
        lies_ready = maps.ndim == 2 or maps.device.type != "cpu" or "_rows" in vars(self)  # noqa: PLR2004
        if lies_ready or not self._sound:
            yield self.rows()
            return
        parts, kept = row_parts(maps.flatten(2)), self.kept
        yield from parts if kept is None else _chosen(parts, kept)

    def select(self, per_row: Tensor) -> Tensor:
        """Something given per kept row, for the rows that `rows` returns."""
        finite = self._finite
        return per_row if finite is None else per_row[finite.to(per_row.device)]

    def groups(self, grouping: str) -> Groups:
        finite, device = self._finite, float64_device(self.canonical.device)
        groups = self.labels.groups(grouping, self.shape, self.layer.name, device)
        return groups if finite is None else groups.select(finite)

    def at(self, positions: str) -> _Values:
        """The same with positions pooled or flattened, worked out once."""
        if positions == self.layer.positions:
            return self
        if positions not in self.pooled:
            self.pooled[positions] = _Values(
                self.layer.at(positions), self._pool(positions), self.labels, self.nonfinite
            )
        return self.pooled[positions]

    def _pool(self, positions: str) -> Tensor:
        """[sample, channel] values: mean, max or middle over valid positions, or all of them."""
        if self.canonical.ndim == 2:  # noqa: PLR2004 - no positions: nothing to pool
            return self.canonical
        maps = self.canonical.flatten(2)  # [sample, channel, position]
        if positions == "flatten":
            return self._flatten(maps)
        valid = torch.ones(maps.shape[0], maps.shape[2], dtype=torch.bool, device=maps.device)
        if self.mask is not None:
            valid = self.mask.flatten(1)
        if positions == "max":
            return maps.masked_fill(~valid[:, None], -torch.inf).amax(2)
        if positions == "center":
            return _center(maps, valid)
        counts = valid.sum(1).clamp(min=1)[:, None]
        return (maps.double() * valid[:, None]).sum(2) / counts

    def _flatten(self, maps: Tensor) -> Tensor:
        if self.mask is not None and not bool(self.mask.all()):
            raise LabelError(
                f"positions='flatten' of layer {self.layer.name!r} needs all positions, but some "
                "are padding; pool them with positions='mean' or crop the samples"
            )
        width = maps.shape[1] * maps.shape[2]
        if width != self.layer.at("flatten").channels:
            raise SettingError(
                f"positions='flatten' of layer {self.layer.name!r}: {maps.shape[2]} positions now, "
                f"{self.layer.at('flatten').channels // maps.shape[1]} before; crop samples to one "
                "length or pool with positions='mean'"
            )
        return maps.flatten(1)


def _center(maps: Tensor, valid: Tensor) -> Tensor:
    """The middle valid position, T // 2 of each sample's T."""
    order = valid.cumsum(1)  # 1-based rank among the valid ones
    middle = (order[:, -1:] // 2).clamp(min=0) + 1
    at = ((order == middle.clamp(max=order[:, -1:])) & valid).int().argmax(1)  # [sample]
    return maps.gather(2, at[:, None, None].expand(-1, maps.shape[1], 1)).squeeze(2)


def _chosen(parts: Iterator[Tensor], kept: Tensor) -> Iterator[Tensor]:
    """Of rows in parts those that are kept, by their ascending indices."""
    first = seen = 0
    for part in parts:
        last = int(torch.searchsorted(kept, seen + len(part)))
        index = kept[first:last] - seen
        if len(index) == len(part):
            yield part
        elif part.is_contiguous():
            yield part.index_select(0, index)
        else:  # channels first, and so it stays
            yield part.t().index_select(1, index).t()
        first, seen = last, seen + len(part)


def _float64_rows(canonical: Tensor) -> Tensor:
    """[sample, channel, *positions] → float64 [row, channel] in one copy."""
    values = canonical.to(float64_device(canonical.device))
    if values.ndim == 2:  # noqa: PLR2004 - no positions
        return values.to(torch.float64, copy=True, memory_format=torch.contiguous_format)
    return positions_first(values.flatten(2)).flatten(0, 1)


class LayerBatch:
    """One layer's values in one forward pass, with labels matched and padding excluded.

    Analyzers must not write into its tensors: they are shared.
    """

    def __init__(
        self,
        layer: Layer,
        values: Tensor,
        labels: Labels,
        *,
        split: str = "fit",
        number: int = 0,
        nonfinite: str = "ignore",
        gradients: Tensor | None = None,
    ) -> None:
        values = values.detach() if values.requires_grad else values
        self._values = _Values(layer, layer.axes.canonical(values), labels, nonfinite)
        if gradients is not None:
            self._values.gradients = layer.axes.canonical(gradients.detach())
        self.split = split
        """Which data this is: "fit", "score", ..."""
        self.number = number
        """Which pass over the split this is, from 0."""
        self.grouping: str | None = None
        """The grouping that `groups` and `labels` speak of."""

    def view(self, grouping: str | None, positions: str) -> LayerBatch:
        """This batch for one grouping and one choice of rows; values are shared, not copied."""
        view = object.__new__(LayerBatch)
        view._values = self._values.at(positions)
        view.split, view.number, view.grouping = self.split, self.number, grouping
        return view

    @property
    def layer(self) -> Layer:
        """Where the values come from."""
        return self._values.layer

    @property
    def values(self) -> Tensor:
        """As delivered: [sample, channel, *positions], the model's dtype, padding included."""
        return self._values.canonical

    @property
    def surely_finite(self) -> bool:
        """Whether `values`, padding included, hold neither NaN nor infinity.

        Known from one look at all of them, worked out once; False where their sum is too large to
        tell. On an accelerator it waits for them.
        """
        return self._values.surely_finite

    @property
    def has_gradients(self) -> bool:
        """Whether the objective's gradients came with the values."""
        return self._values.gradients is not None

    @property
    def gradients(self) -> Tensor:
        """Of the objective with respect to `values`, in the same order and shape.

        Raises:
            SettingError: there are none, or positions were pooled: gradients are of single values.
        """
        if self._values.gradients is None:
            raise SettingError(
                f"layer {self.layer.name!r} came without gradients; an analyzer that reads them "
                'says signals = ("activations", "gradients") and positions = "each"'
            )
        return self._values.gradients

    def gradient_rows(self) -> Tensor:
        """Float64 [row, channel]: the gradients of `rows`.

        Raises:
            SettingError: there are none.
        """
        rows = _float64_rows(self.gradients)
        kept = self._values.kept
        return self._values.select(rows if kept is None else rows[kept.to(rows.device)])

    @property
    def given(self) -> Labels:
        """All that was said of the batch."""
        return self._values.labels

    @property
    def mask(self) -> Tensor | None:
        """Which positions count: bool [sample, *positions]; None where all do."""
        return self._values.mask

    def rows(self) -> Tensor:
        """Float64 [row, channel]: every position of every sample that counts, finite ones only.

        Rows are sample-major; a layer without positions has one row a sample. float64 because
        sums in the model's own precision are biased (half precision) or lose digits (single).
        """
        return self._values.rows()

    def row_parts(self) -> Iterator[Tensor]:
        """The same rows in parts of a few samples, for what only adds them up.

        A part is there until the next is asked for, so that nothing of the size of the layer is
        made; in memory it may lie channels first.
        """
        return self._values.row_parts()

    @property
    def groups(self) -> Groups:
        """The labels of `rows`, sorted out for accumulators.

        Raises:
            LabelError: the batch came without labels, or they do not fit this layer.
        """
        if self.grouping is None:
            raise LabelError(
                f"layer {self.layer.name!r}: this analyzer reads labels but none were given; pass "
                "labels= (and set needs_labels = True on the analyzer)"
            )
        return self._values.groups(self.grouping)

    @property
    def labels(self) -> Tensor:
        """The labels of `rows`: int64 [row], -1 where a row is to be ignored."""
        return self.groups.labels

    @property
    def sample_ids(self) -> Tensor:
        """A stable number for each sample: int64 [sample], on the CPU."""
        ids = self._values.labels.ids
        if ids is None:
            raise LabelError("this batch has no sample ids; pass ids= with the batch")
        return ids

    @property
    def row_ids(self) -> Tensor:
        """A stable number for each of `rows`, from sample id and position: int64 [row]."""
        ids, shape = self.sample_ids, self._values.shape
        if len(ids) != shape[0]:
            raise LabelError(
                f"layer {self.layer.name!r} has {shape[0]} samples but ids are given for {len(ids)}"
            )
        n_positions = math.prod(shape[1:])
        if n_positions > _POSITIONS_PER_SAMPLE:
            raise SettingError(f"{n_positions} positions a sample; at most {_POSITIONS_PER_SAMPLE}")
        every = (ids[:, None] * _POSITIONS_PER_SAMPLE + torch.arange(n_positions)).flatten()
        kept = self._values.kept
        return self._values.select(every if kept is None else every[kept.cpu()])

    @property
    def n_rows(self) -> int:
        """How many rows count, finite or not."""
        values = self._values
        if values.labels.whole or (kept := values.kept) is None:
            return math.prod(values.shape)
        return len(kept)

    def check_labels(self) -> None:
        """Raise `LabelError` unless the labels of `grouping` fit this layer."""
        values = self._values
        assert self.grouping is not None
        values.labels.at(self.grouping, values.shape, self.layer.name)
        values.labels.keep(values.shape, self.layer.name)

    def check_mask(self) -> None:
        """Raise `LabelError` unless lengths and mask fit this layer."""
        _ = self._values.kept

    @property
    def n_nonfinite(self) -> int:
        """Rows left out because they hold NaN or infinity (0 until `rows` was asked for)."""
        return self._values.n_nonfinite
