"""What the spectra of all samples and of easy and difficult ones have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators import BoundedSample
from torchprobe.errors import MemoryBudgetError, SettingError
from torchprobe_slt.base import SltAnalyzer
from torchprobe_slt.products import Products
from torchprobe_slt.spectrum import Spectra

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from torchprobe import Layer, Network, NetworkBatch
    from torchprobe.numerics.spectra import AucForm
    from torchprobe_slt.base import Size
    from torchprobe_slt.windows import WindowSpec

    Grams = Mapping[str, Products]

__all__ = ["AXES", "SltDiversity"]

AXES = ("node", "input")
"""Over what spectra are taken: all SLTs of one node, or the effects of one input on all nodes."""


class SltDiversity(SltAnalyzer):
    """The base of analyzers that take spectra of SLTs, of one or several subsets of the samples.

    Args:
        samples: how many samples of each subset are taken at most, those with the smallest hashes
            of their ids, and as many of each; all of them where None.
        d: how many singular values count.
        form: how the area is taken, see `torchprobe.numerics.auc`.
        axes: "node", "input" or both.
        point, route, window, sample_axis, memory_budget: see `SltAnalyzer`.
    """

    subsets: tuple[str, ...] = ("all",)
    """What the subsets are called."""
    block_bytes = 192 << 20
    """Gram matrices are the largest things there are: each pass over them should serve many
    samples."""

    def __init__(
        self,
        *,
        samples: int | None,
        d: int,
        form: AucForm,
        axes: Sequence[str],
        point: str | None,
        route: str,
        window: WindowSpec | None,
        sample_axis: int,
        memory_budget: int | None,
    ) -> None:
        super().__init__(point, route, window, sample_axis, memory_budget)
        if d < 2:  # noqa: PLR2004 - an area needs two points
            raise SettingError(f"d={d}; an area needs at least 2 singular values")
        if samples is not None and samples < 1:
            raise SettingError(f"samples={samples}; take at least 1, or all of them with None")
        if not axes or set(axes) - set(AXES):
            raise SettingError(f"axes={axes!r}; choose from {AXES}")
        self.samples, self.d, self.form, self.axes = samples, d, form, tuple(axes)

    def start(self, network: Network, /) -> None:
        """Make Gram matrices of every node and input, or room for a sample of inputs."""
        super().start(network)
        self.grams: dict[str, Products] = {}
        self.sample: BoundedSample | None = None
        if self.samples is None:
            self.grams = self._matrices(self.layers)
        else:
            self._refuse_too_much()
            self.sample = BoundedSample(self.packing.width, self.samples, per_group=True)

    def take(self, batch: NetworkBatch, subset: Tensor) -> None:
        """Take in the samples of a batch, given the subset of each, -1 for none: int64 [sample].

        Jacobians are multiplied into Gram matrices as they come, not when the transaction commits:
        the forward pass has succeeded, and waiting would take as much memory as the matrices again.
        """
        if self.sample is not None:
            self.sample.update(self.packed(batch), batch.sample_ids, subset)
            return
        for block in self.rows(batch):
            for rows in block:
                self._add(self.grams, rows.layer, rows.values, subset[rows.samples])

    def found(self) -> Iterator[tuple[Layer, Grams]]:
        """Each layer with Gram matrices that hold its own."""
        if self.sample is None:
            yield from ((layer, self.grams) for layer in self.layers)
            return
        parts = self._parts(self.sample)
        for layers in self._together():
            grams = self._matrices(layers)
            for number, rows in enumerate(parts):
                for block in self.again(rows, layers):
                    for layer in layers:
                        values = block[layer.name].values
                        self._add(grams, layer, values, torch.full((len(values),), number))
            yield from ((layer, grams) for layer in layers)

    def spectra(self, grams: Grams, layer: Layer, axis: str) -> list[Spectra]:
        """The spectra of each subset."""
        each = [grams[_key(layer, axis, subset)] for subset in self.subsets]
        return [
            Spectra.of(gram.lower, self.d, self.form)
            if gram.state
            else Spectra.none(gram.leading[0], self.d)
            for gram in each
        ]

    def counts(self, grams: Grams, layer: Layer) -> list[int]:
        """Rows of each subset."""
        each = [grams[_key(layer, self.axes[0], subset)] for subset in self.subsets]
        return [int(gram.count) if gram.state else 0 for gram in each]

    def _parts(self, sample: BoundedSample) -> list[Tensor]:
        """The rows kept of each subset, as many of each."""
        labels, rows = sample.labels, sample.rows
        parts = [rows[(labels == n).to(rows.device)] for n in range(len(self.subsets))]
        return [part[: min(map(len, parts))] for part in parts]

    def _matrices(self, layers: Sequence[Layer]) -> dict[str, Products]:
        return {
            _key(layer, axis, subset): _gram(self.size(self.network, layer), axis)
            for layer in layers
            for axis in self.axes
            for subset in self.subsets
        }

    def _add(self, grams: Grams, layer: Layer, jacobians: Tensor, subset: Tensor) -> None:
        """Multiply Jacobians [row, node, input] into the Gram matrices of their subsets."""
        for number, name in enumerate(self.subsets):
            here = (subset == number).to(jacobians.device)
            part = jacobians if bool(here.all()) else jacobians[here]
            for axis in self.axes:
                rows = part if axis == "node" else part.transpose(1, 2)
                grams[_key(layer, axis, name)].add(rows)

    # -- memory

    def _bytes(self, layers: Sequence[Layer]) -> int:
        return sum(gram.nbytes for gram in self._matrices(layers).values())

    def _together(self) -> list[list[Layer]]:
        """The layers, all at once or, where that takes too much memory, one by one."""
        at_once = self._bytes(self.layers) <= self.sweep().memory_budget
        return [self.layers] if at_once else [[layer] for layer in self.layers]

    def _refuse_too_much(self) -> None:
        budget = self.sweep().memory_budget
        for layer in self.layers:
            need = self._bytes([layer])
            if need > budget:
                size = self.size(self.network, layer)
                raise MemoryBudgetError(
                    f"{self.name}: the Gram matrices of layer {layer.name!r} ({size.nodes:,} "
                    f"nodes, {size.inputs:,} inputs) need {need:,} bytes, more than the budget of "
                    f"{budget:,}; take axes=('node',) or ('input',) alone, a deeper point=, a "
                    "window= of the input, positions='center', or raise memory_budget="
                )


def _key(layer: Layer, axis: str, subset: str) -> str:
    return f"{layer.name}/{axis}/{subset}"


def _gram(size: Size, axis: str) -> Products:
    """The Gram matrices of every node over its inputs, or of every input over the nodes."""
    sizes = (size.inputs, size.nodes) if axis == "node" else (size.nodes, size.inputs)
    return Products(*sizes)
