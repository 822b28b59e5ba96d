"""What the SLT analyzers share: the sweep over a network, its rows, and what they are labelled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from torchprobe import Analyzer
from torchprobe.errors import LabelError, SettingError
from torchprobe.loading import eval_mode
from torchprobe_slt.arguments import Arguments
from torchprobe_slt.packing import Packing
from torchprobe_slt.program import Program
from torchprobe_slt.readout import Readout
from torchprobe_slt.receptive import measured
from torchprobe_slt.sweep import Sweep
from torchprobe_slt.windows import Window, Windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from torchprobe import Layer, Network, NetworkBatch
    from torchprobe.accumulators import Groups
    from torchprobe.labels import Labels
    from torchprobe_slt.jacobian import Jacobian, Jacobians
    from torchprobe_slt.windows import WindowSpec

__all__ = ["Rows", "Size", "SltAnalyzer"]

_POSITIONS_PER_SAMPLE = 1 << 20


@dataclass(frozen=True)
class Size:
    """How large the Jacobians of one layer are."""

    nodes: int
    inputs: int


@dataclass(frozen=True, eq=False)
class Rows:
    """The Jacobians of one layer for one block, less rows that do not count."""

    layer: Layer
    jacobian: Jacobian
    kept: Tensor
    """Which rows count: indices [row]."""
    given: Labels
    """What was said of the block's samples."""
    shape: tuple[int, ...]
    """[sample, *positions] of the rows."""
    first: int
    """Which sample of the batch the block's first is."""

    @property
    def values(self) -> Tensor:
        """J of the rows that count: [row, node, input]."""
        whole = len(self.kept) == len(self.jacobian.values)
        return self.jacobian.values if whole else self.jacobian.values[self.kept]

    @property
    def inputs(self) -> Tensor:
        """Inputs x of the rows that count: [row, input]."""
        return self.jacobian.input[self.kept]

    @property
    def outputs(self) -> Tensor:
        """Nodes h of the rows that count: [row, node]."""
        return self.jacobian.output[self.kept]

    @property
    def samples(self) -> Tensor:
        """Which sample of the batch each row that counts belongs to: int64 [row], on the CPU."""
        return self.first + self.kept.cpu() // math.prod(self.shape[1:])

    @property
    def ids(self) -> Tensor:
        """A stable number of each row that counts: int64 [row], on the CPU."""
        if self.given.ids is None:
            raise LabelError("this batch has no sample ids; pass ids= with the batch")
        positions = torch.arange(math.prod(self.shape[1:]))
        every = self.given.ids[:, None] * _POSITIONS_PER_SAMPLE + positions
        return every.flatten()[self.kept.cpu()]

    def labels(self, grouping: str) -> Tensor:
        """The labels of the rows that count: int64 [row]."""
        groups: Groups = self.given.groups(
            grouping, self.shape, self.layer.name, self.jacobian.values.device
        )
        every = self.jacobian.values.new_full((len(self.jacobian.values),), -1, dtype=torch.int64)
        keep = self.given.keep(self.shape, self.layer.name)
        every[slice(None) if keep is None else keep.to(every.device)] = groups.labels
        return every[self.kept]


class SltAnalyzer(Analyzer):
    """The base of the SLT analyzers, with the settings of their sweep.

    Args:
        point: differentiate by this layer's output instead of the model's input; it must be among
            the probed layers.
        route: "auto", or one of "push", "pull", "forward", "reverse" (see `jacobians`).
        window: what each position of a layer sees of the input, by layer or for all that have
            positions; measured by default. With positions="each" every (sample, position) is a row
            then, every channel a node, and the input is the window. Where positions see no windows
            of one size (recurrence, attention), a sample is a row and every (channel, position) a
            node.
        sample_axis: which axis of the model's input is the sample.
        memory_budget: bytes that the Jacobians of one block may need.
    """

    scope = "network"
    block_bytes: int | None = None
    """Bytes of the Jacobians handed over at once."""

    def __init__(
        self,
        point: str | None = None,
        route: str = "auto",
        window: WindowSpec | None = None,
        sample_axis: int = 0,
        memory_budget: int | None = None,
    ) -> None:
        self.point, self.route, self.window = point, route, window
        self.sample_axis, self.memory_budget = sample_axis, memory_budget

    def start(self, network: Network, /) -> None:
        """Forget what an earlier copy knew of its model."""
        self._sweeps: dict[tuple[str, ...], Sweep] = {}
        self._windows: dict[str, tuple[Window, ...] | None] | None = None
        self.layers = [layer for layer in self.wanted(network) if layer.name != self.point]
        if not self.layers:
            raise SettingError(f"{self.name} needs a probed layer behind the point; choose one")

    def wanted(self, network: Network) -> list[Layer]:
        """The layers that are analysed."""
        return list(network.layers)

    def signature(self, network: Network) -> Arguments:
        """The arguments that the model was first called with, without values."""
        return Arguments.of(*network.inputs, sample_axis=self.sample_axis)

    def input_shape(self, network: Network) -> tuple[int, ...]:
        """Sizes of what is differentiated by, without the sample axis."""
        if self.point is None:
            return tuple(self.signature(network).input.shape[1:])
        found = next((layer for layer in network.layers if layer.name == self.point), None)
        if found is None:
            raise SettingError(
                f"point={self.point!r} is not among the probed layers; add it to its layers="
            )
        sizes = list(found.shape)
        del sizes[self.sample_axis]
        return tuple(sizes)

    def size(self, network: Network, layer: Layer) -> Size:
        """How many nodes and inputs the Jacobians of a layer have."""
        shape, along = self.input_shape(network), self.window_of(layer)
        if along is None:
            return Size(layer.channels * math.prod(layer.position_shape), math.prod(shape))
        windows = Windows.of(along, shape, (layer.width, *layer.position_shape))
        return Size(layer.width, math.prod(windows.shape))

    def window_of(self, layer: Layer) -> Window | Sequence[Window] | None:
        """What each position of a layer sees, given or measured; None where it is everything."""
        if not layer.position_shape:
            return None
        if self.window is not None:
            return self.window.get(layer.name) if isinstance(self.window, Mapping) else self.window
        if self._windows is None:
            readouts = [Readout.of(each) for each in self.layers]
            program = Program(self.network.model, readouts, self.point)
            with eval_mode(self.network.model):
                self._windows = measured(program, self.signature(self.network))
        return self._windows[layer.name]

    def sweep(self, layers: Sequence[Layer] | None = None) -> Sweep:
        """The sweep over some layers, or all of them; made once."""
        layers = self.layers if layers is None else layers
        names = tuple(layer.name for layer in layers)
        if names not in self._sweeps:
            windows = {layer.name: self.window_of(layer) for layer in layers}
            self._sweeps[names] = Sweep(
                self.network.model,
                layers,
                point=self.point,
                route=self.route,
                window={name: along for name, along in windows.items() if along is not None},
                memory_budget=self.memory_budget,
                sample_axis=self.sample_axis,
                block_bytes=self.block_bytes,
            )
        return self._sweeps[names]

    def arguments(self, batch: NetworkBatch) -> Arguments:
        """What the model was called with."""
        return Arguments.of(batch.args, batch.kwargs, self.sample_axis)

    def inputs(self, batch: NetworkBatch) -> Tensor:
        """What is differentiated by, without derivatives: [sample, input]."""
        return self.sweep().program.start(self.arguments(batch)).flatten(1)

    def rows(self, batch: NetworkBatch) -> Iterator[list[Rows]]:
        """The Jacobians of a batch: for each block of samples, the rows of every layer."""
        for block in self.sweep()(*batch.args, **batch.kwargs):
            given = batch.given.slice(block.samples.start, block.samples.stop)
            yield [
                self.rows_of(layer, block[layer.name], given, block.samples)
                for layer in self.layers
            ]

    @property
    def packing(self) -> Packing:
        """How samples of the model's inputs are kept."""
        return Packing(self.signature(self.network))

    def packed(self, batch: NetworkBatch) -> Tensor:
        """The inputs of a batch as rows that can be kept: [sample, entry]."""
        return self.packing.rows(self.arguments(batch))

    def again(self, packed: Tensor, layers: Sequence[Layer] | None = None) -> Iterator[Jacobians]:
        """The Jacobians of samples that were kept as rows, of the network as it is now."""
        arguments = self.packing.call(packed, self.network.device)
        with eval_mode(self.network.model):
            yield from self.sweep(layers).run(arguments)

    def remarks(self) -> list[str]:
        """What a reader must know of these Jacobians."""
        sweeps = [sweep for sweep in self._sweeps.values() if sweep.used]
        routes = dict.fromkeys(route for sweep in sweeps for route in sweep.used)
        remarks = [f"Jacobians by {', '.join(routes)}"] if routes else []
        if not all(sweep.exact for sweep in sweeps):
            remarks.append("the network is not piecewise linear: SLTs are local approximations")
        return remarks

    def rows_of(self, layer: Layer, jacobian: Jacobian, given: Labels, samples: slice) -> Rows:
        """The Jacobians of some samples, less rows of padding and those that are not finite."""
        count = samples.stop - samples.start
        windowed = self.window_of(layer) is not None
        if not windowed:
            _refuse_padding(given, layer, count)
        positions = _positions(layer, len(jacobian.values) // max(1, count)) if windowed else ()
        shape = (count, *positions)
        kept = torch.isfinite(jacobian.offset).all(1)
        keep = given.keep(shape, layer.name)
        if keep is not None:
            counted = torch.zeros_like(kept)
            counted[keep.to(kept.device)] = True
            kept = kept & counted
        return Rows(layer, jacobian, kept.nonzero().squeeze(1), given, shape, samples.start)


def _positions(layer: Layer, count: int) -> tuple[int, ...]:
    """Sizes of the position axes now; a single one may differ from batch to batch."""
    return (count,) if len(layer.position_shape) == 1 else layer.position_shape


def _refuse_padding(given: Labels, layer: Layer, samples: int) -> None:
    positions = layer.at("each").position_shape
    if not positions or (given.mask is None and given.lengths is None):
        return
    valid = given.valid((samples, *positions), layer.name)
    if valid is not None and not bool(valid.all()):
        raise LabelError(
            f"layer {layer.name!r} has samples with padding, whose positions are taken together "
            f"(positions={layer.positions!r}), so that the padding would count. Crop samples to "
            "one length, or let each position be a row: positions='each' with window="
        )
