"""The copies of analyzers that listen: one for each layer and grouping."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from torchprobe.errors import (
    IncompleteWarning,
    LabelError,
    MemoryBudgetError,
    NonFiniteError,
)
from torchprobe.network import Network, NetworkBatch
from torchprobe.threads import blas_threads
from torchprobe.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    import torch

    from torchprobe.accumulators import Transaction
    from torchprobe.analyzer import Analyzer
    from torchprobe.batch import LayerBatch
    from torchprobe.coverage import Coverage
    from torchprobe.labels import ClassNames, Labels
    from torchprobe.layer import Layer
    from torchprobe.options import Options

__all__ = ["Forks", "Key", "Phase", "widest"]

Phase: TypeAlias = "tuple[str, int]"
"""A split and which pass over it."""


@dataclass(frozen=True)
class Key:
    """What a fork of an analyzer listens to."""

    analyzer: str
    layer: str
    grouping: str | None

    def __str__(self) -> str:
        grouping = f" by {self.grouping!r}" if self.grouping else ""
        return f"{self.analyzer} at {self.layer!r}{grouping}"


class Forks:
    """Makes forks when a layer is first heard, within the memory budget, and lets them work.

    Args:
        analyzers: by the name under which their results go.
        options: memory budget, and what happens when an analyzer raises.
        coverage: where an analyzer that is left out is noted.
    """

    def __init__(
        self, analyzers: Mapping[str, Analyzer], options: Options, coverage: Coverage
    ) -> None:
        self.analyzers, self.options, self.coverage = dict(analyzers), options, coverage
        self.forks: dict[Key, Analyzer] = {}
        self.disabled: dict[Key, str] = {}
        self.unlabelled: set[Key] = set()
        """Forks at parts of an output that labels, lengths or a mask do not fit."""
        self._misfit: LabelError | None = None
        self._fitted = False
        self.of_network = any(each.scope == "network" for each in analyzers.values())
        self.want_positions = any(each.needs_positions for each in analyzers.values())
        self._heard: dict[tuple[object, ...], list[tuple[Key, Analyzer]]] = {}
        self.turns = Turns()
        self._state_bytes = 0
        self._lock = threading.RLock()

    def clear(self) -> None:
        """Forget all forks."""
        self.forks, self._heard, self._state_bytes = {}, {}, 0

    def note_labels(self, *, fitted: bool) -> None:
        """Labels have fitted a layer before, in a run that is resumed."""
        self._fitted = self._fitted or fitted

    @property
    def labels_fitted(self) -> bool:
        """Whether labels have fitted any layer so far."""
        return self._fitted

    # -- who listens

    def want(self, signal: str, phase: Phase) -> bool:
        """Whether an analyzer that takes part in a phase asks for a signal."""
        each = self.analyzers.values()
        return any(signal in one.signals and takes_part(one, phase) for one in each)

    def listeners(
        self, phase: Phase, layer: Layer | Network, labels: Labels
    ) -> list[tuple[Key, Analyzer]]:
        """The forks that want this layer in this phase; worked out once for each combination.

        Raises:
            LabelError: an analyzer needs labels and there are none.
            MemoryBudgetError: a new fork would need more state than is allowed.
        """
        heard = (layer.name, type(layer), phase, *labels.labels)
        found = self._heard.get(heard)
        if found is None:
            keys = [] if self._postponed(layer, labels) else self._keys(phase, layer, labels)
            found = [(key, self._fork(key, layer, labels)) for key in keys]
            self._heard[heard] = found
        return found

    def _keys(self, phase: Phase, layer: Layer | Network, labels: Labels) -> Iterator[Key]:
        if not self.turns.has(layer.name):
            return
        for name, analyzer in self.analyzers.items():
            of_network = analyzer.scope == "network"
            if of_network != isinstance(layer, Network) or not takes_part(analyzer, phase):
                continue
            if not analyzer.needs_labels:
                yield Key(name, layer.name, None)
                continue
            wanted = analyzer.groupings or tuple(labels.labels)
            if not wanted:
                raise LabelError(
                    f"analyzer {name!r} needs labels but this forward pass came without; use "
                    "`with probe.batch(labels=...)`, or a loader that yields (inputs, labels)"
                )
            yield from (Key(name, layer.name, grouping) for grouping in wanted)

    def _fork(self, key: Key, layer: Layer | Network, labels: Labels) -> Analyzer:
        return self.forks[key] if key in self.forks else self.make(key, layer, labels.names)

    def make(self, key: Key, layer: Layer | Network, names: Mapping[str, ClassNames]) -> Analyzer:
        """A new fork, to be kept from now on; names of labels are those of all groupings."""
        with self._lock:
            self._reserve(key, layer)
            analyzer = self.analyzers[key.analyzer]
            own = names.get(key.grouping) if key.grouping else None
            fork = analyzer.fork(layer.at(analyzer.positions), key.grouping, own)
            device = "cpu" if layer.device.type == "mps" else layer.device
            return self.keep(key, fork, names, device)

    def keep(
        self,
        key: Key,
        fork: Analyzer,
        names: Mapping[str, ClassNames],
        device: torch.device | str = "cpu",
    ) -> Analyzer:
        """Take a fork in, with its state on a device."""
        fork.names = names.get(key.grouping) if key.grouping else None
        fork.names_of = names
        for _, accumulator in fork.accumulators():
            accumulator.to(device)
        self.forks[key] = fork
        return fork

    def take_turns(self, layers: Iterable[tuple[Layer, Labels]]) -> None:
        """Let layers wait for another turn over the data where they would not all fit memory."""
        if self.forks:  # a run that was resumed had planned before
            return
        needs = {layer.name: self._need(layer, labels) for layer, labels in layers}
        budget = self.options.budget
        for layer, need in needs.items() if self.turns.allowed else ():
            if need > budget:
                raise MemoryBudgetError(f"layer {layer!r} alone {_too_much(need, budget)}")
        self.turns.plan(needs, budget, told=self.options.memory_budget is not None)

    def _postponed(self, layer: Layer | Network, labels: Labels) -> bool:
        """Whether a layer that nobody planned with must wait, being met late and too large."""
        if isinstance(layer, Network) or not self.turns.allowed or not self.turns.has(layer.name):
            return False
        late = all(key.layer != layer.name for key in self.forks)
        if late and self._state_bytes + self._need(layer, labels) > self.options.budget:
            self.turns.later = (*self.turns.later, frozenset([layer.name]))
            return True
        return False

    def _need(self, layer: Layer, labels: Labels) -> int:
        """Bytes of state that all forks at a layer will need, whenever they are made."""
        return sum(
            analyzer.state_bytes(layer.at(analyzer.positions))
            * (len(analyzer.groupings or labels.labels) if analyzer.needs_labels else 1)
            for analyzer in self.analyzers.values()
            if analyzer.scope != "network"
        )

    def _reserve(self, key: Key, layer: Layer | Network) -> None:
        """Refuse state beyond the memory budget before it is made."""
        analyzer = self.analyzers[key.analyzer]
        need, budget = analyzer.state_bytes(layer.at(analyzer.positions)), self.options.budget
        if self._state_bytes + need > budget:
            turns = "" if self.turns.allowed else ", or let probe.run() take layers in turns"
            used = f" beside {self._state_bytes:,} in use" if self._state_bytes else ""
            raise MemoryBudgetError(f"{key} {_too_much(need, budget, used)}{turns}")
        self._state_bytes += need

    # -- their work

    def fits(self, key: Key, view: LayerBatch, *, primary: bool) -> str:
        """Why labels do not fit a secondary part of an output ("" where they do).

        Raises:
            LabelError: they do not fit a layer's first output.
        """
        try:
            view.check_labels()
        except LabelError as error:
            if primary:
                raise
            self.unlabelled.add(key)
            self._misfit = self._misfit or error
            return f"labels do not fit this part: {error}"
        self._fitted = True
        return ""

    def leave_out(self, layer: str) -> None:
        """Expect nothing of the forks at a layer that what is said of samples does not fit."""
        self.unlabelled.update(key for key in self.forks if key.layer == layer)

    def check_labels_fit(self) -> None:
        """Raise `LabelError` if labels have fitted no layer at all so far."""
        if self._misfit is not None and not self._fitted:
            raise self._misfit

    def update(
        self, key: Key, fork: Analyzer, view: LayerBatch | NetworkBatch, transaction: Transaction
    ) -> None:
        """Let a fork take a batch in; one that raises is left out from then on.

        Raises:
            LabelError: labels do not fit.
            NonFiniteError: a value is not finite, and that shall be an error.
        """
        if self.disabled and key in self.disabled:
            return
        try:
            fork.update(view)
        except Exception as error:
            transaction.discard({id(accumulator) for _, accumulator in fork.accumulators()})
            if isinstance(error, (LabelError, NonFiniteError)):
                raise
            self.disable(key, error)

    def disable(self, key: Key, error: Exception) -> None:
        """Leave a fork out after its analyzer raised; all else goes on, unless asked to raise."""
        if self.options.on_error == "raise":
            raise error
        with self._lock:
            self.disabled[key] = f"{type(error).__name__}: {error}"
            self.coverage.disabled[str(key)] = self.disabled[key]
        warnings.warn(
            f"{key} raised {self.disabled[key]} and is left out from here on; its result will be "
            "marked incomplete (on_error='raise' shows the traceback)",
            IncompleteWarning,
            stacklevel=2,
        )

    def end_phase(self, phase: Phase, only: Container[Key] | None = None) -> None:
        """Tell the analyzers that take part in a phase that it is complete; only some forks."""
        for key, fork in self.forks.items():
            if only is not None and key not in only:
                continue
            if takes_part(fork, phase) and key not in self.disabled:
                try:
                    with blas_threads(widest(fork)):
                        fork.after(*phase)
                except Exception as error:  # noqa: BLE001 - re-raised or reported by disable
                    self.disable(key, error)


def widest(fork: Analyzer) -> int:
    """Channels of the widest layer that a fork listens to."""
    if isinstance(fork.subject, Network):
        return max(layer.channels for layer in fork.network.with_input)
    return fork.layer.channels


def _too_much(need: int, budget: int, used: str = "") -> str:
    return (
        f"needs {need:,} bytes of state{used}; the memory budget is {budget:,} bytes. Probe fewer "
        "layers, pool positions, raise it with Probe(memory_budget=...)"
    )


def takes_part(analyzer: Analyzer, phase: Phase) -> bool:
    """Whether an analyzer wants the data of a phase."""
    split, number = phase
    return split in analyzer.splits and not (split == "fit" and number >= analyzer.passes)
