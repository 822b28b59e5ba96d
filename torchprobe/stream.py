"""The stream: from hooks to analyzers, batch by batch, each forward pass a transaction."""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from torchprobe import compat
from torchprobe.axes import Axes
from torchprobe.backward import NEVER, Backward, never_came
from torchprobe.batch import LayerBatch
from torchprobe.coverage import Coverage
from torchprobe.errors import IncompleteWarning, LabelError, LayerNotFoundError, LayoutError
from torchprobe.forks import Forks
from torchprobe.groupings import OfLayer
from torchprobe.labels import ClassNames, Labels
from torchprobe.layer import Layer
from torchprobe.naming import class_name
from torchprobe.network import Network, NetworkBatch, kept_inputs, shapes_of
from torchprobe.outputs import leaves, listed, plain
from torchprobe.sample_ids import SampleIds
from torchprobe.sandbox import CPU, Sandbox, unrecorded
from torchprobe.sensitivity import Origin
from torchprobe.training_loss import TrainingLoss
from torchprobe.waiting import Pass, Waiting, differentiate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torch import Tensor, nn

    from torchprobe.analyzer import Analyzer
    from torchprobe.groupings import Grouping
    from torchprobe.hooks import Call
    from torchprobe.layouts import Layouts
    from torchprobe.options import Options
    from torchprobe.receptive_fields import Book
    from torchprobe.selection import Selection

__all__ = ["Stream"]

_LARGEST_PART = 256 << 20
"""Bytes of float64 rows handed over at once; a larger layer comes in several parts."""


class Stream:
    """Matches what hooks deliver with labels and hands it to the analyzers' forks.

    Labels that are known beforehand let an analyzer reduce inside the hook: no activation outlives
    it. The first forward pass waits until its end, because only then are all layers, their axes
    and the memory they need known; so does every pass with groupings computed from the outputs.
    Waiting values are copies: anything may be overwritten in place later in the forward pass.
    """

    def __init__(
        self,
        selection: Selection,
        layouts: Layouts,
        analyzers: Mapping[str, Analyzer],
        computed: Mapping[str, Grouping],
        options: Options,
        names: tuple[str, str],
    ) -> None:
        self.selection, self.layouts = selection, layouts
        self.root, self.input = names
        self.computed, self.options = dict(computed), options
        self.layers: dict[str, Layer] = {}
        self._direct: dict[str, Layer] = {}
        """Modules whose only output, in their first call, is a layer and needs no more looking."""
        self.coverage = Coverage(expected=tuple(selection.modules))
        self.forks = Forks(analyzers, options, self.coverage)
        self.number = 0
        """Which pass over the split this is."""
        self.class_names: dict[str, ClassNames] = {}
        self.follows_inputs = self.discovering = True
        self.restored = False
        """Whether layers and forks come from a saved state, and axes are only told once more."""
        self.discovered: Callable[[], None] = lambda: None
        self.book: Book | None = None
        """What is known of the positions of layers; without it labels must fit each exactly."""
        self._warned = False
        self.lenient = False
        """Whether nobody chose the layers, so that what cannot be read is skipped, not refused."""
        self.backward: Backward | None = None
        self.aim(options)
        self.ids = SampleIds()
        self._lock = threading.RLock()
        self._said = threading.local()

    def aim(self, options: Options) -> None:
        """Options with another objective than before."""
        self.options, loss = options, options.objective
        if not isinstance(loss, TrainingLoss):
            self.backward = None
        elif self.backward is None:
            self.backward = Backward(loss)
        else:
            self.backward.loss = loss

    def renewed(self) -> Stream:
        """A stream that has seen nothing, but knows the layers and numbers samples on."""
        names = self.root, self.input
        new = Stream(
            self.selection, self.layouts, self.forks.analyzers, self.computed, self.options, names
        )
        for name in ("class_names", "book", "lenient", "ids"):
            setattr(new, name, getattr(self, name))
        if not self.discovering:
            new.layers = dict(self.layers)
            new.follows_inputs = new.discovering = False
        return new

    # -- what the hook manager tells

    def opened(self, call: Call) -> None:
        """An outermost call begins: a transaction."""
        self.settle()
        said = getattr(self._said, "batch", None) or (Labels(names=self.class_names), "fit")
        phase = said[1], self.number
        gradients = self.forks.want("gradients", phase)
        waits = self.discovering or bool(self.computed) or gradients
        call.data = Pass(said[0], phase, waits, gradients)

    def entered(self, call: Call, name: str, module: nn.Module, inputs: Any) -> None:
        """A module is about to run: its inputs tell axes, the model's are a layer themselves."""
        if self.discovering:
            self.layouts.enter(name, module, _tensors(inputs))
        if name != self.root or len(call.stack) > 1:
            return
        call.data.whole = True
        if self.book is not None:
            opened = self.book.opened((module, inputs), self.layouts, self.layers)
            call.data.labels.matching = opened
        self._warn_of_padding(call.data.labels, inputs[1])
        if self.forks.of_network:
            call.data.called = module, kept_inputs(inputs)
        if self.selection.input:
            found = leaves([*inputs[0], *inputs[1].values()])
            first = next((leaf for leaf in found if leaf.tensor is not None), None)
            if first is not None:
                leaf = first._replace(path="")
                self._take(call.data, Waiting(self.input, "", 0, module, leaf, True))

    def _warn_of_padding(self, labels: Labels, kwargs: Mapping[str, Any]) -> None:
        """Once: the model is told of padding and the probe is not."""
        mask = kwargs.get("attention_mask") if not self._warned else None
        if mask is None or labels.mask is not None or labels.lengths is not None:
            return
        if isinstance(mask, torch.Tensor) and mask.ndim == 2 and not bool(mask.all()):  # noqa: PLR2004
            self._warned = True
            warnings.warn(
                "the model gets an attention_mask that hides tokens, but the probe was not told: "
                "padding counts as data. Pass it on: probe.batch(..., mask=attention_mask)",
                IncompleteWarning,
                stacklevel=2,
            )

    def returned(
        self, call: Call, name: str, module: nn.Module, inputs: Any, output: Any, index: int
    ) -> None:
        """A module has returned: take what was selected of its output."""
        if not self.discovering and name not in self.selection.modules:
            return
        direct = self._direct.get(name)
        if direct is not None and index == 0 and plain(output) and output.shape == direct.shape:
            current: Pass = call.data
            if not (current.waits or output.is_meta):
                self._number(current, direct, output)
                self._hand_over(current, direct, name, output, None, current.labels)
                return
        found = listed(output)
        if self.discovering:
            self.layouts.leave(name, module, _tensors(inputs), found)
        if name not in self.selection.modules:
            return
        if not found:
            call.data.skipped.append((name, "returned no tensor"))
        primary = not self.lenient
        for leaf in found:
            if self.selection.wants(name, leaf.path, index):
                self._take(call.data, Waiting(name, leaf.path, index, module, leaf, primary))
            primary = primary and leaf.tensor is None

    def recomputed(self, name: str, module: nn.Module, output: Any) -> None:  # noqa: ARG002
        """Values of a recomputation were counted in the first pass; gradients may be found here."""
        if self.backward is not None and name in self.selection.modules:
            self.backward.recomputed(name, output)

    def closed(self, call: Call, output: Any) -> None:
        """The outermost call has succeeded: deliver what waits and commit."""
        current: Pass = call.data
        try:
            if self.book is not None and (current.labels.positional or self.computed):
                self.book.closed(current.labels, self.layouts, output)
            self._compute_groupings(current, output)
            if self.discovering:
                self._end_discovery(current)
            if self.forks.of_network:
                self._deliver_network(current, output)
            if current.gradients and self.backward is not None:
                self._number_samples(current)
                self.backward.wait(current)
                return
            if current.gradients:
                differentiate(current, self.options.objective, output)
            self._deliver_waiting(current)
        except BaseException:
            self._forget(current, "error while its values were delivered")
            raise
        self._commit(current)

    def settle(self, *, everything: bool = False) -> None:
        """Deliver the forward passes whose gradients have come from the loop's backward pass.

        Args:
            everything: no more will come: deliver the others without, or forget them.
        """
        if self.backward is None:
            return
        for current in self.backward.remaining() if everything else self.backward.complete():
            if never_came(current):
                self._forget(current, NEVER)
                continue
            try:
                self._deliver_waiting(current)
            except BaseException:
                self._forget(current, "error while its values were delivered")
                raise
            self._commit(current)

    def _deliver_waiting(self, current: Pass) -> None:
        while current.waiting:
            self._deliver(current, current.waiting.pop(0))
        self.forks.check_labels_fit()

    def _number_samples(self, current: Pass) -> None:
        """Gradients of a mean are scaled by the number of samples, when they come."""
        for item in current.waiting[:1]:
            self._labels(current, item, self._layer(item))

    def failed(self, call: Call, reason: str) -> None:
        """The outermost call has failed: forget it."""
        self.layouts.forget()
        self._forget(call.data, reason)

    def skipped(self, name: str, reason: str) -> None:
        """A module ran in a context whose values must not be recorded."""
        if name in self.selection.modules:
            with self._lock:
                self.coverage.skip(name, reason)

    # -- from value to analyzers

    def _take(self, current: Pass, item: Waiting) -> None:
        """Deliver at once, or keep a copy until the call has ended."""
        tensor = item.leaf.tensor
        reason = item.leaf.problem if tensor is None else compat.unsafe_tensor(tensor)
        if tensor is None or reason:
            current.skipped.append((self._layer_name(item), reason))
        elif current.waits:
            if current.gradients and self.backward is not None:
                self.backward.expect(current, item, item.leaf.produced)
            elif current.gradients:
                item.origin = Origin(item.leaf.produced)
            item.leaf = item.leaf._replace(tensor=tensor.detach().clone(), source=None)
            current.waiting.append(item)
        else:
            self._deliver(current, item)

    def _deliver(self, current: Pass, item: Waiting) -> None:
        tensor = item.leaf.tensor
        assert tensor is not None
        layer = self._layer(item)
        if item.note:
            current.skipped.append((layer.name, item.note))
        labels = self._labels(current, item, layer)
        if item.primary and not item.path and not item.call and item.leaf.source is None:
            self._direct[item.name] = self.layers[layer.name]
        self._hand_over(
            current, layer, item.name, tensor, item.gradient, labels, primary=item.primary
        )

    def _hand_over(
        self,
        current: Pass,
        layer: Layer,
        module: str,
        tensor: Tensor,
        gradient: Tensor | None,
        labels: Labels,
        *,
        primary: bool = True,
    ) -> None:
        """Give the values of a layer to the analyzers' forks, and count them."""
        seen = current.seen_of(layer.name, module)
        seen.calls += 1
        split, number = current.phase
        with Sandbox(CPU if tensor.is_cpu else tensor.device), current.transaction:
            for part, gradients, said in _parts(tensor, gradient, layer, labels):
                batch = LayerBatch(
                    layer,
                    part,
                    said,
                    split=split,
                    number=number,
                    nonfinite=self.options.nonfinite,
                    gradients=gradients,
                )
                if not primary and (misfit := _misfit(batch)):
                    current.skipped.append((layer.name, misfit))
                    self.forks.leave_out(layer.name)
                    continue
                self._update_all(current, batch, primary=primary)
                seen.samples += batch.values.shape[0]
                seen.rows += batch.n_rows
                seen.nonfinite += batch.n_nonfinite

    def _deliver_network(self, current: Pass, output: Any) -> None:
        """Hand a call of the model to the analyzers that run it themselves."""
        network = self._network(current)
        if network is None or current.called is None:
            alone = "called without the model around it, which analyzers of the network need"
            reason = alone if current.called is None else "none of the layers chosen was met"
            current.skipped.append((self.root, reason))
            return
        (args, kwargs), said = current.called[1], current.labels
        batch = NetworkBatch(network, args, kwargs, output, said, *current.phase)
        with Sandbox(network.device), current.transaction, unrecorded():
            listeners = self.forks.listeners(current.phase, network, said)
            views = [batch.view(key.grouping, fork.positions) for key, fork in listeners]
            for view in views:  # before any of them works, for it cannot be undone in all of them
                view.check_labels()
            for (key, fork), view in zip(listeners, views, strict=True):
                self.forks.update(key, fork, view, current.transaction)

    def _network(self, current: Pass) -> Network | None:
        """The model with the layers met so far; None where it was not the model that was called."""
        layers = tuple(layer for name, layer in self.layers.items() if name != self.input)
        if current.called is None or not self.layers:
            return None
        model, inputs = current.called
        axes, given = self._input_axes(current), self.layers.get(self.input)
        return Network(self.root, model, layers, shapes_of(inputs), axes, given)

    def _input_axes(self, current: Pass) -> tuple[str, ...]:
        matching = current.labels.matching if self.forks.want_positions else None
        try:
            return matching.axes() if matching is not None else ()
        except LayoutError:
            return ()

    def _update_all(self, current: Pass, batch: LayerBatch, *, primary: bool) -> None:
        for key, fork in self.forks.listeners(current.phase, batch.layer, batch.given):
            if "gradients" in fork.signals and not batch.has_gradients:
                continue
            view = batch.view(key.grouping, fork.positions)
            misfit = self.forks.fits(key, view, primary=primary) if key.grouping else ""
            try:
                if not misfit:
                    self.forks.update(key, fork, view, current.transaction)
            except LabelError as error:
                if primary:
                    raise
                misfit = f"labels do not fit this part: {error}"
                self.forks.unlabelled.add(key)
            if misfit:
                current.skipped.append((batch.layer.name, misfit))

    # -- layers

    def _layer_name(self, item: Waiting) -> str:
        if item.call == 0 or self.options.calls == "merge":
            return item.name + item.path
        if item.call >= self.options.max_calls:
            return f"{item.name}{item.path}@*"
        return f"{item.name}{item.path}@{item.call + 1}"

    def _layer(self, item: Waiting) -> Layer:
        """The layer an item belongs to, with the axes of this batch's rank.

        Raises:
            LayoutError: axes are unknown, or the number of channels is no longer what it was.
        """
        tensor = item.leaf.tensor
        assert tensor is not None
        name, shape = self._layer_name(item), tuple(tensor.shape)
        if name not in self.layers:
            self.layers[name] = self._new_layer(name, item, shape)
        layer = self.layers[name]
        if shape == layer.shape:
            return layer  # almost always
        if len(shape) != layer.axes.ndim:
            layer = self._new_layer(name, item, shape)
        width = layer.axes.size(shape, "channel")
        if width != self.layers[name].width:
            raise LayoutError(
                f"layer {name!r} had shape {self.layers[name].shape} and now has {shape}: the "
                f"number of channels in {str(layer.axes)!r} changed. If another axis holds them, "
                f"pass axes={{{name!r}: ...}}; else probe a layer of constant width"
            )
        return layer

    def _new_layer(self, name: str, item: Waiting, shape: tuple[int, ...]) -> Layer:
        tensor = item.leaf.tensor
        assert tensor is not None
        merged = self.options.calls == "merge" or item.call >= self.options.max_calls
        call = None if merged else item.call
        axes = item.leaf.axes or self.layouts.axes(item.name, item.path, item.module, shape, call)
        kind = "" if item.name == self.input else class_name(item.module)
        return Layer(name, Axes.parse(axes), shape, kind, tensor.dtype, tensor.device)

    def _labels(self, current: Pass, item: Waiting, layer: Layer) -> Labels:
        labels, tensor = current.labels, item.leaf.tensor
        assert tensor is not None
        self._number(current, layer, tensor)
        return labels if item.leaf.lengths is None else labels.with_lengths(item.leaf.lengths)

    def _number(self, current: Pass, layer: Layer, tensor: Tensor) -> None:
        """Number the samples of a batch that came without numbers, by what is seen of it first."""
        labels = current.labels
        if labels.n_ids is not None:
            return
        n = layer.axes.size(tensor.shape, "sample") if "sample" in layer.axes.names else 1
        told = labels.samples  # a table of positions that comes first is no sample
        labels.ids = self.ids.next(*current.phase, n if told is None else told)

    # -- the end of a call

    def _compute_groupings(self, current: Pass, output: Any) -> None:
        for name, compute in self.computed.items():
            with Sandbox(CPU):
                seen = output
                if isinstance(compute, OfLayer):
                    seen = self._delivered(current, compute.layer)
                current.labels.add(name, compute(seen, current.labels))

    def _delivered(self, current: Pass, name: str) -> LayerBatch:
        """What a layer has delivered in this call, for a grouping that is computed from it."""
        for item in current.waiting:
            layer = self._layer(item)  # also of those before it: layers stand in order of execution
            if layer.name == name and item.leaf.tensor is not None:
                labels = self._labels(current, item, layer)
                return LayerBatch(layer, item.leaf.tensor, labels, split=current.phase[0])
        raise LabelError(
            f"a grouping is computed from layer {name!r}, which this call of the model did not "
            f"deliver; it delivered {', '.join(self.layers) or 'nothing'}: add it to layers="
        )

    def _end_discovery(self, current: Pass) -> None:
        """All axes are known now: make every fork, so that refusals come before any data."""
        with self._lock, Sandbox(CPU):
            try:
                self._leave_out_unknown(current)
                self._place_layers(current)
                met = [(self._layer(item), item) for item in current.waiting]
                said = [(layer, self._labels(current, item, layer)) for layer, item in met]
                self.forks.take_turns(said)
                for layer, labels in said:
                    self.forks.listeners(current.phase, layer, labels)
                network = self._network(current)
                if network is not None and self.forks.of_network:
                    self.forks.listeners(current.phase, network, current.labels)
                if not self.restored:  # else all was met before
                    self._check_met()
            except BaseException:
                if not self.restored:
                    self.layers = {}
                    self.forks.clear()
                raise
            finally:
                self.layouts.forget()
            self.follows_inputs = self.discovering = False
        self.discovered()

    def _leave_out_unknown(self, current: Pass) -> None:
        """Layers that nobody chose may have axes that nobody knows: skipped and counted."""
        for item in list(current.waiting) if self.lenient else ():
            try:
                self._layer(item)
            except LayoutError as error:
                current.waiting.remove(item)
                current.skipped.append((self._layer_name(item), str(error)))

    def _place_layers(self, current: Pass) -> None:
        """Tell layers how their positions lie over the input's, where an analyzer asks for it."""
        matching = current.labels.matching
        for item in current.waiting if self.forks.want_positions else ():
            layer = self._layer(item)
            if matching is None or not layer.axes.positions:
                continue
            try:
                found = matching.map_of(layer.name)
            except LabelError as error:
                current.skipped.append((layer.name, f"its positions are not placed: {error}"))
            else:
                self.layers[layer.name] = replace(layer, positions_map=found)

    def _check_met(self) -> None:
        """Axes given by hand, and parts of outputs that were chosen, must have been met."""
        self.layouts.check_used()
        missed = self.selection.unmet()
        if missed:
            raise LayerNotFoundError(
                f"no layer delivered {', '.join(map(repr, missed))}; met were "
                f"{', '.join(map(repr, self.layers))}"
            )

    def _commit(self, current: Pass) -> None:
        with self._lock:
            if current.transaction.pending:
                with Sandbox(CPU):
                    current.transaction.commit()
            for layer, seen in current.seen.items():
                self.coverage.count(layer, seen, *current.phase)
            for layer, reason in current.skipped:
                self.coverage.skip(layer, reason)
            self.coverage.forwards += 1
            if current.labels.n_ids is not None:
                self.ids.count(*current.phase, current.labels.n_ids)
        current.labels.matching = None  # holds the inputs

    def _forget(self, current: Pass | None, reason: str) -> None:
        if current is None:
            return
        if self.backward is not None:
            self.backward.drop(current)
        current.waiting.clear()
        current.transaction.pending.clear()
        current.labels.matching = None
        with self._lock:
            self.coverage.rolled_back[reason] += 1

    @contextmanager
    def speaking_of(self, labels: Labels, split: str) -> Iterator[None]:
        """While active, this thread's forward passes are about a batch with these labels."""
        before = getattr(self._said, "batch", None)
        self._said.batch = labels, split
        try:
            yield
        finally:
            self._said.batch = before


def _tensors(inputs: Any) -> list[Tensor]:
    args, kwargs = inputs
    found = [*leaves(args), *leaves(kwargs)]
    return [leaf.tensor for leaf in found if leaf.tensor is not None]


def _misfit(batch: LayerBatch) -> str:
    """Why lengths or a mask do not fit a part that nobody chose ("" where they do)."""
    try:
        batch.check_mask()
    except LabelError as error:
        return f"lengths or mask do not fit this part: {error}"
    return ""


def _parts(
    tensor: Tensor, gradient: Tensor | None, layer: Layer, labels: Labels
) -> Iterable[tuple[Tensor, Tensor | None, Labels]]:
    """A layer's values and gradients in parts of at most `_LARGEST_PART` bytes of float64."""
    n_parts = -(-tensor.numel() * 8 // _LARGEST_PART)
    if n_parts <= 1 or "sample" not in layer.axes.names:
        return ((tensor, gradient, labels),)  # almost always
    return _cut(tensor, gradient, layer, labels, n_parts)


def _cut(
    tensor: Tensor, gradient: Tensor | None, layer: Layer, labels: Labels, n_parts: int
) -> Iterator[tuple[Tensor, Tensor | None, Labels]]:
    axis = layer.axes.index("sample")
    size = max(1, tensor.shape[axis] // n_parts)
    for start in range(0, tensor.shape[axis], size):
        narrowed = axis, start, min(size, tensor.shape[axis] - start)
        part = None if gradient is None else gradient.narrow(*narrowed)
        yield tensor.narrow(*narrowed), part, labels.slice(start, start + size)
