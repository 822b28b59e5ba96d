"""The table of a model's layers: what could be probed, and what its axes mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from torchprobe.errors import EmptyStateError, LayoutError
from torchprobe.hooks import HookManager
from torchprobe.layouts import Layouts
from torchprobe.loading import device_of, eval_mode, unpack
from torchprobe.naming import aliases, canonical_names, input_name, root_name
from torchprobe.options import Options
from torchprobe.plugins import plugins
from torchprobe.sandbox import all_generators_kept
from torchprobe.selection import select
from torchprobe.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd
    from torch import nn

    from torchprobe.axes import Axes
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


class LayerTable:
    """The layers of a model; prints as a table."""

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

        return pd.DataFrame([vars(row) for row in self.rows])

    def __str__(self) -> str:
        cells = [("layer", "type", "shape", "axes", "")]
        cells += [
            (row.name, row.module, " × ".join(map(str, row.shape)), row.axes, row.note)
            for row in self.rows
        ]
        widths = [max(len(cell[column]) for cell in cells) for column in range(5)]
        lines = ("  ".join(c.ljust(w) for c, w in zip(cell, widths, strict=True)) for cell in cells)
        return "\n".join(line.rstrip() for line in lines)

    __repr__ = __str__


def layers(
    model: nn.Module,
    sample: Any,
    select_layers: Selector | None = None,
    *,
    axes: Mapping[str, str | Axes] | None = None,
) -> LayerTable:
    """The layers that a model has for such an input: name, type, shape and axes.

    Runs the model once, in eval mode and without gradients, and leaves everything as it was.

    Args:
        model: any module.
        sample: what the model is called with: a tensor, a tuple of positional or a mapping of
            keyword arguments, or a batch as a loader yields it.
        select_layers: only these, as for `Probe`; by default every module and the input.
        axes: what axes mean where it cannot be inferred.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 5), torch.nn.ReLU())
        >>> print(layers(model, torch.zeros(1, 2, 9)))
        layer  type        shape      axes
        input              1 × 2 × 9  sample channel time
        0      Conv1d      1 × 3 × 5  sample channel time
        1      ReLU        1 × 3 × 5  sample channel time
        model  Sequential  1 × 3 × 5  sample channel time
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
        self.rows = []
        for item in call.data.waiting:
            tensor = item.leaf.tensor
            try:
                axes, note = str(self._layer(item).axes), ""
            except LayoutError:
                axes, note = "?", "pass axes= for it"
            kind = "" if item.name == self.input else type(item.module).__name__
            dtype = str(tensor.dtype).removeprefix("torch.")
            name = self._layer_name(item)
            self.rows.append(LayerRow(name, kind, tuple(tensor.shape), axes, dtype, note))
        for name, reason in call.data.skipped:
            self.rows.append(LayerRow(name, "", (), "", "", reason))


def _noted(survey: _Survey, model: nn.Module) -> list[LayerRow]:
    """Rows with the other names of shared modules, and modules that never ran."""
    also = aliases(model)
    rows = []
    for row in survey.rows:
        others = also.get(row.name, ())
        note = f"also {', '.join(others)}" if others else row.note
        rows.append(LayerRow(row.name, row.module, row.shape, row.axes, row.dtype, note))
    ran = {row.name.split("[")[0].split("@")[0] for row in rows}
    for name, module in survey.selection.modules.items():
        if name not in ran:
            kind = type(module).__name__
            rows.append(LayerRow(name, kind, (), "", "", "did not run, or returned no tensor"))
    return rows
