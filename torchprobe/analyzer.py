"""The contract of every analyzer, first-party or third-party."""

from __future__ import annotations

import copy
import inspect
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from torchprobe.accumulators import Accumulator
from torchprobe.errors import MergeError, PluginError
from torchprobe.labels import ClassNames
from torchprobe.results import Field, Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from torch import Tensor

    from torchprobe.accumulators import State
    from torchprobe.layer import Layer
    from torchprobe.network import Network

__all__ = ["Analyzer"]


class Analyzer:
    """Turns one layer's stream into a `Result`.

    The least a subclass writes is a ``name`` and three methods; ``__init__`` stores settings under
    their own names and nothing else. State lives in accumulators assigned in `start`: because these
    merge, save, load and move, the framework owns forking (one copy per layer and grouping),
    resetting, merging, checkpoints, devices and processes.

    Example:
        >>> from torchprobe.accumulators import Mean
        >>> class DeadUnits(Analyzer):
        ...     '''Fraction of rows in which a channel is not active.'''
        ...     name = "dead_units"
        ...     def start(self, layer):
        ...         self.active = Mean(layer.channels)
        ...     def update(self, batch):
        ...         self.active.update(batch.rows() > 0)  # [row, channel]
        ...     def compute(self):
        ...         return self.result(dead=("channel", 1 - self.active.value))
        >>> DeadUnits().settings()
        {}
    """

    name: str = ""
    """How users ask for it: ``analyzers=["dead_units"]``."""
    scope: ClassVar[str] = "layer"
    """"layer": one copy for each layer, fed with `LayerBatch`. "network": one copy for all layers,
    fed with `NetworkBatch`, for methods that run the model themselves; `start` gets a `Network`."""
    signals: ClassVar[tuple[str, ...]] = ("activations",)
    """What it is fed with: "activations", and "gradients" of the probe's objective where it reads
    `LayerBatch.gradients`; asking costs a backward pass for each batch."""
    needs_labels: ClassVar[bool] = False
    """Whether it reads labels; if so it is forked per grouping and refused where there are none."""
    needs_positions: bool = False
    """Whether it reads `Layer.positions_map`: how a layer's positions lie over the input's, which
    is measured before the first batch; settings may change it."""
    passes: int = 1
    """How often it must see the "fit" data; settings may change it."""
    splits: tuple[str, ...] = ("fit",)
    """Which data it uses; later splits come after all passes over "fit"."""

    positions: str = "each"
    """What a row is: "each" position, or the sample with its positions pooled by "mean", "max" or
    "center", or all of them by "flatten"."""
    groupings: tuple[str, ...] | None = None
    """The groupings it is wanted for; all where None."""

    layer: Layer
    """The layer this copy listens to."""
    network: Network
    """The network this copy listens to, where the scope is that."""
    grouping: str | None = None
    """The grouping whose labels this copy gets."""
    names: ClassNames | None = None
    """Names of the labels in this copy's grouping."""
    names_of: Mapping[str, ClassNames] = MappingProxyType({})
    """Names of the labels by grouping, for an analyzer that reads several."""
    provenance: Mapping[str, Any] | None = None
    """What the framework knows of the data behind a result; by layer, for a network."""

    def start(self, layer: Any, /) -> None:
        """Make the accumulators for a `Layer` (or `Network`); called once, before any data."""
        raise NotImplementedError(_missing(self, "start(self, layer)"))

    def update(self, batch: Any, /) -> None:
        """Take in one forward pass, a `LayerBatch` or `NetworkBatch`; change accumulators only."""
        raise NotImplementedError(_missing(self, "update(self, batch)"))

    def after(self, split: str, number: int) -> None:
        """Called when a pass over a split is complete and merged; ``number`` counts from 0.

        Whatever is set here must follow from the accumulators alone: a resumed run calls it again.
        """

    def compute(self) -> Result | Iterable[Result]:
        """The result of all that was seen, made with `result`; of a network, one for each layer.

        Raises:
            EmptyStateError: nothing was seen (accumulators raise it by themselves).
        """
        raise NotImplementedError(_missing(self, "compute(self)"))

    def state_bytes(self, layer: Layer | Network) -> int:
        """Bytes of state that this layer will need; more than the memory budget is refused."""
        return sum(acc.nbytes for _, acc in self.fork(layer).accumulators())

    # -- what subclasses call

    def result(
        self,
        *,
        of: Layer | None = None,
        coords: Mapping[str, Sequence[str]] | None = None,
        kind: str = "",
        notes: Iterable[str] = (),
        **fields: Field | tuple[Any, ...] | float,
    ) -> Result:
        """A `Result` of named arrays.

        Args:
            of: the layer that it is about, where the scope is the network.
            coords: names along an axis, e.g. ``{"class": self.class_names(groups)}``.
            kind: which plot draws it, the analyzer's name by default.
            notes: what a reader must know of these numbers: what was left out, and why.
            fields: ``name=(axes, array)``, ``(axes, array, unit)``, a number, or a `Field`.
        """
        origin = self.provenance or {}
        return Result(
            analyzer=self.name,
            layer=(of or self.layer).name,
            grouping=self.grouping,
            fields={name: _field(value) for name, value in fields.items()},
            coords={axis: tuple(names) for axis, names in (coords or {}).items()},
            settings=self.settings(),
            provenance=_with_notes(origin.get(of.name, {}) if of else origin, notes),
            kind=kind or type(self).name,
        )

    def class_names(self, groups: Tensor | Iterable[int]) -> tuple[str, ...]:
        """The names of integer labels in this copy's grouping."""
        names = self.names or ClassNames()
        return tuple(names.name(int(group)) for group in groups)

    # -- what the framework calls

    def settings(self) -> dict[str, Any]:
        """The arguments of ``__init__`` as stored, and the choice of rows where not the default."""
        parameters = inspect.signature(type(self).__init__).parameters
        settings = {name: getattr(self, name) for name in parameters if hasattr(self, name)}
        if self.positions != "each":
            settings["positions"] = self.positions
        return settings

    def named(self, name: str) -> Self:
        """A copy whose results go by another name, so that one kind can be used twice."""
        renamed = copy.copy(self)
        renamed.name = name
        return renamed

    def fork(
        self,
        subject: Layer | Network,
        grouping: str | None = None,
        names: ClassNames | None = None,
    ) -> Self:
        """A copy with the same settings and fresh state, for a layer or network and a grouping."""
        fork = copy.copy(self)
        setattr(fork, self.scope, subject)
        fork.grouping, fork.names = grouping, names
        fork.start(subject)
        return fork

    @property
    def subject(self) -> Layer | Network:
        """What this copy listens to: its layer or its network."""
        subject: Layer | Network = getattr(self, self.scope)
        return subject

    @property
    def finds(self) -> bool:
        """Whether something is found in a pass that later ones use: `after` is written."""
        return type(self).after is not Analyzer.after

    def accumulators(self) -> Iterator[tuple[str, Accumulator]]:
        """The state, by attribute: accumulators, also in dictionaries, lists and tuples."""
        for name, value in vars(self).items():
            if isinstance(value, Accumulator):
                yield name, value
            elif isinstance(value, dict):
                yield from _inside(name, value.items())
            elif isinstance(value, (list, tuple)):
                yield from _inside(name, enumerate(value))

    def unfed(self) -> Self:
        """A copy that knows what earlier passes have found but has seen nothing of its own."""
        copied = copy.copy(self)
        for name, value in vars(self).items():
            setattr(copied, name, _unfed(value))
        return copied

    def merge(self, other: Analyzer) -> Self:
        """Add what another copy for the same layer has seen.

        Raises:
            MergeError: the other holds other accumulators.
        """
        theirs = dict(other.accumulators())
        mine = [name for name, _ in self.accumulators()]
        if mine != list(theirs):
            raise MergeError(
                f"cannot merge copies of {self.name!r} that hold {', '.join(mine) or 'nothing'} "
                f"and {', '.join(theirs) or 'nothing'}; assign all accumulators in start()"
            )
        for name, accumulator in self.accumulators():
            accumulator.merge(theirs[name])
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """The state as named tensors: ``accumulator.tensor``."""
        return {
            f"{name}.{key}": tensor
            for name, accumulator in self.accumulators()
            for key, tensor in accumulator.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replace the state by one from `state_dict`."""
        for accumulator, own in self._parts(state):
            accumulator.load_state_dict(own)

    def check_slots(self, state: Mapping[str, Tensor]) -> None:
        """Raise `MergeError` unless a state has tensors of the names, dtypes and shapes of this.

        Values are not looked at: tensors may be on the meta device.
        """
        known = 0
        for accumulator, own in self._parts(state):
            known += len(own)
            if own:
                accumulator.check_slots(own)
        if known < len(state):
            raise MergeError(
                f"the state of {self.name!r} holds {', '.join(state)}; this copy has "
                f"{', '.join(name for name, _ in self.accumulators()) or 'no accumulators'}"
            )

    def _parts(self, state: Mapping[str, Tensor]) -> Iterator[tuple[Accumulator, State]]:
        for name, accumulator in self.accumulators():
            prefix = f"{name}."
            yield (
                accumulator,
                {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)},
            )


def _inside(name: str, items: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, Accumulator]]:
    for key, value in items:
        if isinstance(value, Accumulator):
            yield f"{name}[{key}]", value


def _unfed(value: Any) -> Any:
    """A value with empty accumulators in place of those in it."""
    if isinstance(value, Accumulator):
        return value.unfed()
    if type(value) is dict:
        return {key: _unfed(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_unfed, value))
    return value


def _field(value: Field | tuple[Any, ...] | float) -> Field:
    if isinstance(value, Field):
        return value
    if isinstance(value, tuple):
        return Field(*value)
    return Field("", value)


def _with_notes(provenance: Mapping[str, Any], notes: Iterable[str]) -> dict[str, Any]:
    added = [*provenance.get("notes", ()), *notes]
    return {**provenance, "notes": added} if added else dict(provenance)


def _missing(analyzer: Analyzer, method: str) -> str:
    kind = type(analyzer).__name__
    return f"analyzer {kind} does not define {method}; see docs/plugins.md for the contract"


def check_analyzer_class(cls: type[Analyzer]) -> None:
    """Raise `PluginError` unless a class can be forked and run."""
    if not cls.name or not isinstance(cls.name, str):
        raise PluginError(f"analyzer {cls.__qualname__} has no name; set name = 'my_analyzer'")
    if cls.scope not in ("layer", "network"):
        raise PluginError(
            f"analyzer {cls.name!r} has scope {cls.scope!r}; choose 'layer' or 'network'"
        )
    if not set(cls.signals) <= {"activations", "gradients"}:
        raise PluginError(
            f"analyzer {cls.name!r} has signals {cls.signals!r}; a tuple of 'activations' and "
            "'gradients'"
        )
