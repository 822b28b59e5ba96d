"""The table of a model's layers: what could be probed, and what its axes mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import torch

from torchprobe.axes import Axes
from torchprobe.errors import EmptyStateError, LabelError, LayoutError
from torchprobe.hooks import HookManager
from torchprobe.layouts import Layouts
from torchprobe.loading import device_of, eval_mode, unpack
from torchprobe.matching import Rules
from torchprobe.naming import aliases, canonical_names, input_name, root_name
from torchprobe.options import Options
from torchprobe.plugins import plugins
from torchprobe.receptive_fields import Book
from torchprobe.sandbox import all_generators_kept
from torchprobe.selection import select
from torchprobe.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pandas as pd
    from torch import nn

    from torchprobe.matching import Matching
    from torchprobe.positions import Map, PositionsMap
    from torchprobe.receptive_fields import Stated
    from torchprobe.selection import Selector

__all__ = ["LayerRow", "LayerTable", "layers"]


@dataclass(frozen=True)
class LayerRow:
    """One layer as it was met in one forward pass."""

    name: str
    module: str
    """Class name, empty for the model's input."""
    shape: tuple[int, ...]
    axes: str
    """Axis names in order; "?" where they must be given by hand."""
    dtype: str
    note: str = ""
    """Other names of the same module, or why there is nothing to probe."""
    positions: PositionsMap | None = None
    """How its positions lie over the input's; None where it has none, or that is not known."""

    @property
    def stride(self) -> str:
        """Input positions from one position to the next, "ratio" where these depend on its length.

        Along several axes "2 × 1", or one number where it is the same along all.
        """
        return self._along(lambda each: "ratio" if each.stride is None else str(each.stride))

    @property
    def offset(self) -> str:
        """The input position that the first stands for."""
        return self._along(lambda each: "" if each.stride is None else str(each.offset))

    @property
    def field(self) -> str:
        """How many input positions one sees; "past" or "future": all on one side; "global": all.

        "varies" where it differs from position to position, as in adaptive pooling.
        """
        if self.positions is not None and "varies" in self.positions.note:
            return "varies"
        return self._along(lambda each: each.field_text)

    def _along(self, text: Callable[[Map], str]) -> str:
        if self.positions is None:
            return ""
        pairs = zip(self.positions.along, self.positions.maps, strict=True)
        texts = [text(each) for axis, each in pairs if axis is not None]
        return texts[0] if len(set(texts)) == 1 else " × ".join(texts)


_COLUMNS: dict[str, Callable[[Any], str]] = {
    "layer": attrgetter("name"),
    "type": attrgetter("module"),
    "shape": lambda row: " × ".join(map(str, row.shape)),
    "axes": attrgetter("axes"),
    "stride": attrgetter("stride"),
    "offset": attrgetter("offset"),
    "field": attrgetter("field"),
    "": attrgetter("note"),
}


class LayerTable:
    """The layers of a model; prints as a table.

    Stride, offset and field are those of the layer's positions over the model's input, where there
    are any: position i stands for input position offset + stride · i, the middle of a receptive
    field of so many positions.
    """

    def __init__(self, rows: list[LayerRow]) -> None:
        self.rows = tuple(rows)

    def __iter__(self) -> Iterator[LayerRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> LayerRow:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def to_frame(self) -> pd.DataFrame:
        """The table as a pandas frame."""
        import pandas as pd

        names = [f.name for f in fields(LayerRow) if f.name not in ("positions", "note")]
        names += ["stride", "offset", "field", "note"]
        return pd.DataFrame([{name: getattr(row, name) for name in names} for row in self.rows])

    def __str__(self) -> str:
        placed = any(row.positions for row in self.rows)
        columns = [c for c in _COLUMNS if placed or c not in ("stride", "offset", "field")]
        cells = [columns, *([_COLUMNS[c](row) for c in columns] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ("  ".join(c.ljust(w) for c, w in zip(cell, widths, strict=True)) for cell in cells)
        return "\n".join(line.rstrip() for line in lines)

    __repr__ = __str__


def layers(
    model: nn.Module,
    sample: Any,
    select_layers: Selector | None = None,
    *,
    axes: Mapping[str, str | Axes] | None = None,
    positions: Mapping[str, Stated] | None = None,
) -> LayerTable:
    """The layers that a model has for such an input: name, type, shape and axes.

    For layers with positions (times, pixels) also their stride, offset and receptive field over
    the input, as measured. Runs the model, in eval mode and without gradients: once, and a few
    times more to measure; leaves everything as it was.

    Args:
        model: any module.
        sample: what the model is called with: a tensor, a tuple of positional or a mapping of
            keyword arguments, or a batch as a loader yields it.
        select_layers: only these, as for `Probe`; by default every module and the input.
        axes: what axes mean where it cannot be inferred.
        positions: how positions lie over the input's, where you state it, as for `Probe`.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Conv1d(2, 8, 5, stride=2), torch.nn.ReLU())
        >>> print(layers(model, torch.zeros(1, 2, 19)))
        layer  type        shape       axes                 stride  offset  field
        input              1 × 2 × 19  sample channel time
        0      Conv1d      1 × 8 × 8   sample channel time  2       2       5
        1      ReLU        1 × 8 × 8   sample channel time  2       2       5
        model  Sequential  1 × 8 × 8   sample channel time  2       2       5
    """
    everything = [input_name(model), "*"] if select_layers is None else select_layers
    survey = _Survey(
        select(model, everything),
        Layouts(model, axes or {}, plugins().layout),
        {},
        {},
        Options(max_calls=2),
        (root_name(model), input_name(model)),
    )
    survey.book = Book(model, positions or {}, Rules())
    batch = unpack(sample) if not isinstance(sample, (tuple, dict)) else _as_arguments(sample)
    where = device_of(model)
    hooks = HookManager(canonical_names(model), survey).attach()
    try:
        with all_generators_kept(where), eval_mode(model), torch.no_grad():
            batch.call(model, where)
    finally:
        hooks.detach()
    if not survey.rows:
        raise EmptyStateError("no module ran its hooks; is the model compiled or scripted?")
    return LayerTable(_noted(survey, model))


def _as_arguments(sample: Any) -> Any:
    from torchprobe.loading import Batch

    return Batch(sample)


class _Survey(Stream):
    """A stream without analyzers that writes down layers, also those it cannot read."""

    rows: list[LayerRow]

    def closed(self, call: Any, output: Any) -> None:  # noqa: ARG002 - the listener's signature
        self.rows, matching = [], call.data.labels.matching
        for item in call.data.waiting:
            tensor = item.leaf.tensor
            try:
                axes, note = str(self._layer(item).axes), ""
            except LayoutError:
                axes, note = "?", "pass axes= for it"
            kind = "" if item.name == self.input else type(item.module).__name__
            dtype = str(tensor.dtype).removeprefix("torch.")
            name = self._layer_name(item)
            shape = tuple(tensor.shape)
            row = LayerRow(name, kind, shape, axes, dtype, note)
            placeable = kind and matching is not None and axes != "?"
            self.rows.append(_placed(row, matching) if placeable else row)
        for name, reason in call.data.skipped:
            self.rows.append(LayerRow(name, "", (), "", "", reason))


def _placed(row: LayerRow, matching: Matching) -> LayerRow:
    if not Axes.parse(row.axes).positions:
        return row
    try:
        return replace(row, positions=matching.map_of(row.name))
    except LabelError as error:
        return replace(row, note=row.note or f"positions unknown: {error}")


def _noted(survey: _Survey, model: nn.Module) -> list[LayerRow]:
    """Rows with the other names of shared modules, and modules that never ran."""
    also = aliases(model)
    rows = []
    for row in survey.rows:
        others = also.get(row.name, ())
        rows.append(replace(row, note=f"also {', '.join(others)}") if others else row)
    ran = {row.name.split("[")[0].split("@")[0] for row in rows}
    for name, module in survey.selection.modules.items():
        if name not in ran:
            kind = type(module).__name__
            rows.append(LayerRow(name, kind, (), "", "", "did not run, or returned no tensor"))
    return rows
