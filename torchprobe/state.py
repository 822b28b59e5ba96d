"""The state of a probe as tensors and plain values: for checkpoints, and for other processes."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from torchprobe.archive import pack, unpack
from torchprobe.coverage import Coverage
from torchprobe.documents import dumps, freeze, loads
from torchprobe.errors import MergeError
from torchprobe.forks import Key
from torchprobe.labels import ClassNames
from torchprobe.layer import Layer
from torchprobe.network import Network, shapes_from_state, shapes_state
from torchprobe.results import LayerResults, Results

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from torch import Tensor, nn

    from torchprobe.analyzer import Analyzer
    from torchprobe.stream import Stream

__all__ = ["SCHEMA", "State", "check", "describe", "dump", "fill", "meet", "placed", "subject_here"]

SCHEMA = 1
"""Of states; another is refused."""

State = dict[str, Any]


# -- saving


def dump(stream: Stream) -> State:
    """What a stream has seen: layers, coverage, names of labels, every fork's accumulators."""
    forks = stream.forks
    return {
        "layers": [layer.state() for layer in stream.layers.values()],
        "coverage": stream.coverage.state(),
        "class_names": {name: names.state() for name, names in stream.class_names.items()},
        "turns": forks.turns.state(),
        "labels_fitted": forks.labels_fitted,
        "forks": [_fork_state(stream, key, fork) for key, fork in forks.forks.items()],
    }


def _fork_state(stream: Stream, key: Key, fork: Analyzer) -> State:
    of_network = isinstance(fork.subject, Network)
    return {
        "analyzer": key.analyzer,
        "layer": key.layer,
        "grouping": key.grouping,
        "disabled": stream.forks.disabled.get(key, ""),
        "unlabelled": key in stream.forks.unlabelled,
        "inputs": shapes_state(fork.network.inputs) if of_network else None,
        "input_axes": list(fork.network.input_axes) if of_network else [],
        "layers": [layer.name for layer in fork.network.layers] if of_network else [],
        "input": fork.network.input.name if of_network and fork.network.input else "",
        "tensors": fork.state_dict(),
    }


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, list[Any]]:
    """Dtype and shape of named tensors as plain values, in the order in which they travel.

    Example:
        >>> shapes({"mean.count": torch.ones(3)})
        {'mean.count': ['float32', [3]]}
    """
    return {
        name: [str(tensors[name].dtype).removeprefix("torch."), list(tensors[name].shape)]
        for name in sorted(tensors)
    }


def metas(shaped: Mapping[str, Sequence[Any]]) -> dict[str, Tensor]:
    """Tensors of these dtypes and shapes without values, on the meta device."""
    return {
        name: torch.empty(tuple(shape), dtype=getattr(torch, dtype), device="meta")
        for name, (dtype, shape) in shaped.items()
    }


def tensors_of(state: Mapping[str, Any]) -> list[Tensor]:
    """The values of all forks, in the order in which they travel."""
    return [each["tensors"][name] for each in state["forks"] for name in sorted(each["tensors"])]


def with_tensors(state: Mapping[str, Any], values: Iterator[Tensor]) -> State:
    """A state whose values have arrived, in the order of `tensors_of`."""
    forks = [
        {**each, "tensors": {name: next(values) for name in sorted(each["tensors"])}}
        for each in state["forks"]
    ]
    return {**state, "forks": forks}


# -- loading and merging


def check(state: Mapping[str, Any], described: str, who: str) -> None:
    """Raise `MergeError` unless a state is of this schema and of a probe that was made alike.

    Args:
        state: what `torchprobe.Probe.state_dict` gave.
        described: what this probe was made of.
        who: whose state it is, for the message.
    """
    if state.get("schema") != SCHEMA:
        raise MergeError(
            f"{who} has a state of schema {state.get('schema')!r} (torchprobe "
            f"{state.get('torchprobe')}), this torchprobe reads {SCHEMA}; use the same version"
        )
    theirs, ours = loads(state["probe"].encode(), who), loads(described.encode(), "this probe")
    for what in ours:
        if theirs.get(what) != ours[what]:
            raise MergeError(
                f"{who} has a probe with other {what}: {theirs.get(what)!s:.300}, not "
                f"{ours[what]!s:.300}; make the probe with the same model, layers, analyzers "
                "and options"
            )


def meet(
    stream: Stream,
    states: Mapping[str, Mapping[str, Any]],
    model: nn.Module,
    known: Mapping[Key, Analyzer] = MappingProxyType({}),
) -> None:
    """Know the layers, names and forks of states beside each other; values come by `fill`.

    Args:
        stream: where all of it goes.
        states: of probes made alike, by whose they are; their tensors may be on the meta device.
        model: what analyzers of the network run.
        known: forks that know what passes before have found; copies of them are used.

    Raises:
        MergeError: a layer, a name or a fork's tensors contradict each other.
    """
    for who, state in states.items():  # all layers first: they explain what forks differ in
        for each in state["layers"]:
            _meet_layer(stream, Layer.from_state(each), who)
        for grouping, names in state["class_names"].items():
            ours = stream.class_names.setdefault(grouping, ClassNames())
            ours.merge(ClassNames.from_state(names), grouping)
        stream.coverage.merge(Coverage.from_state(state["coverage"]))
        stream.forks.note_labels(fitted=state["labels_fitted"])
    for who, state in states.items():
        for each in state["forks"]:
            fork = _fork(stream, each, model, known)
            try:
                fork.check_slots(each["tensors"])
            except MergeError as error:
                raise MergeError(f"{_key(each)} in {who}: {error}") from error


def _meet_layer(stream: Stream, layer: Layer, who: str) -> None:
    known = stream.layers.setdefault(layer.name, layer)
    for what in ("axes", "width", "module", "dtype"):
        ours, theirs = getattr(known, what), getattr(layer, what)
        if ours != theirs:
            raise MergeError(
                f"layer {layer.name!r} has {what} {theirs} in {who} and {ours} elsewhere; run the "
                "same model, in the same precision, everywhere"
            )


def _fork(
    stream: Stream, state: Mapping[str, Any], model: nn.Module, known: Mapping[Key, Analyzer]
) -> Analyzer:
    """The fork that a state is about, which may be new."""
    forks, key = stream.forks, _key(state)
    if key not in forks.forks and key in known:
        forks.keep(key, known[key].unfed(), stream.class_names)
    elif key not in forks.forks:
        forks.make(key, _subject(stream, state, model), stream.class_names)
    if state["disabled"]:
        forks.disabled.setdefault(key, state["disabled"])
    if state["unlabelled"]:
        forks.unlabelled.add(key)
    return forks.forks[key]


def _key(state: Mapping[str, Any]) -> Key:
    return Key(state["analyzer"], state["layer"], state["grouping"])


def _subject(stream: Stream, state: Mapping[str, Any], model: nn.Module) -> Layer | Network:
    if state["inputs"] is None:
        return stream.layers[state["layer"]]
    layers = tuple(stream.layers[name] for name in state["layers"])
    inputs = shapes_from_state(state["inputs"])
    given = stream.layers.get(state["input"])
    return Network(state["layer"], model, layers, inputs, tuple(state["input_axes"]), given)


def subject_here(stream: Stream, fork: Analyzer) -> Layer | Network:
    """What a fork of another stream listens to, as this stream knows it."""
    if not isinstance(fork.subject, Network):
        return stream.layers[fork.layer.name]
    given, layers = fork.network.input, fork.network.layers
    return replace(
        fork.network,
        layers=tuple(stream.layers[layer.name] for layer in layers),
        input=given and stream.layers[given.name],
    )


def fill(stream: Stream, state: Mapping[str, Any]) -> None:
    """Add the values of a state that was met to the forks.

    Raises:
        MergeError: they do not fit (a sample drawn with another seed).
    """
    for each in state["forks"]:
        fork = stream.forks.forks[_key(each)]
        arrived = fork.unfed()
        arrived.load_state_dict(each["tensors"])
        fork.merge(arrived)


# -- what goes with it


def describe(**parts: Any) -> str:
    """What a probe is made of as text, to be compared with another's."""
    return dumps(freeze(parts), sort_keys=True).decode()


def analyzers_described(analyzers: Mapping[str, Analyzer]) -> dict[str, Any]:
    """Class and settings of each analyzer."""
    return {
        name: {"class": type(each), "settings": each.settings(), "groupings": each.groupings}
        for name, each in analyzers.items()
    }


def pack_results(parts: Iterable[Results]) -> list[State]:
    """Results of layers that had their turn as tensors and text."""
    packed = []
    for part in parts:
        arrays, document = pack({name: part[name] for name in part})
        text = dumps({"results": document, "provenance": part.provenance}).decode()
        packed.append({"arrays": arrays, "document": text})
    return packed


def unpack_results(parts: Sequence[Mapping[str, Any]]) -> list[Results]:
    """The inverse of `pack_results`."""
    found = []
    for part in parts:
        document = loads(part["document"].encode(), "a state")
        analyzers = unpack(part["arrays"], document["results"])
        layers = {name: LayerResults(results) for name, results in analyzers.items()}
        found.append(Results(layers, document["provenance"]))
    return found


def placed(layer: Mapping[str, Any], devices: Sequence[torch.device]) -> dict[str, Any]:
    """A layer's state where this model is: on the same device if it has that, else on its first."""
    there = layer["device"] in map(str, devices)
    return {**layer, "device": layer["device"] if there else str(devices[0])}
