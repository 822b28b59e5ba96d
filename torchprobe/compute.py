"""From the state of a stream to results."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from torchprobe.archive import pack, unpack
from torchprobe.documents import dumps, loads
from torchprobe.errors import EmptyStateError, IncompleteWarning
from torchprobe.forks import widest
from torchprobe.results import LayerResults, Result, Results
from torchprobe.sandbox import unrecorded
from torchprobe.state import metas, shapes
from torchprobe.threads import blas_threads
from torchprobe.training_loss import TrainingLoss

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torchprobe.analyzer import Analyzer
    from torchprobe.distributed import Team
    from torchprobe.forks import Key
    from torchprobe.stream import Stream

__all__ = ["compute", "joined"]


@dataclass
class _Part:
    """What some forks gave, by their places among all."""

    results: dict[int, list[Result]] = field(default_factory=dict)
    empty: dict[int, str] = field(default_factory=dict)
    """Why there is nothing to tell."""
    disabled: dict[int, str] = field(default_factory=dict)


def compute(
    stream: Stream,
    phases: Iterable[tuple[str, int]],
    *,
    alone: bool = True,
    team: Team | None = None,
) -> Results:
    """Every fork's result; one that saw nothing or raises is reported and left out.

    Args:
        stream: whose forks.
        phases: the passes that are complete.
        alone: whether these are all the results there are, so that it is an error to have none.
        team: the processes that have the same stream; each computes the results of some forks.

    Raises:
        EmptyStateError: there is not one result.
    """
    forks = list(stream.forks.forks)
    if team is None:
        part = _part(stream, list(phases), range(len(forks)))
    else:
        mine = range(team.rank, len(forks), team.size)
        part = team.all_or_none(lambda: _part(stream, list(phases), mine), "compute results")
        part = _shared(part, team)
        _note_disabled(stream, forks, part.disabled)
    computed: dict[str, list[Result]] = {name: [] for name in stream.forks.analyzers}
    for place in sorted(part.results):
        computed[forks[place].analyzer] += part.results[place]
    empty = [f"{forks[place]}: {why}" for place, why in sorted(part.empty.items())]
    _report_empty(stream, empty, any(computed.values()) or not alone)
    found = {name: LayerResults(results) for name, results in computed.items() if results}
    return Results(found, _of_run(stream))


def _part(stream: Stream, phases: list[tuple[str, int]], places: Iterable[int]) -> _Part:
    """The results of the forks at some places."""
    part, forks = _Part(), stream.forks
    keys = list(forks.forks)
    for place in places:
        key = keys[place]
        fork = forks.forks[key]
        try:
            with blas_threads(widest(fork)):
                part.results[place] = _results(stream, key, fork, phases)
        except EmptyStateError as error:
            if key not in forks.disabled and key not in forks.unlabelled:  # told already
                part.empty[place] = str(error)
        except Exception as error:  # noqa: BLE001 - re-raised or reported by disable
            forks.disable(key, error)
            part.disabled[place] = forks.disabled[key]
    return part


def _shared(part: _Part, team: Team) -> _Part:
    """The parts of all processes together, the same bits in each."""
    named = {str(place): dict(enumerate(found)) for place, found in part.results.items()}
    arrays, packed = pack(named)
    text = dumps({"results": packed, "empty": part.empty, "disabled": part.disabled})
    tensors = {"document": torch.frombuffer(bytearray(text), dtype=torch.uint8), **arrays}
    together = _Part()
    for source, shaped in enumerate(team.exchange(shapes(tensors), "send results")):
        sent = tensors if source == team.rank else metas(shaped)
        names = sorted(sent)
        arrived = dict(
            zip(names, team.broadcast([sent[name] for name in names], source), strict=True)
        )
        document = loads(arrived.pop("document").numpy().tobytes(), f"process {source}")
        found = unpack(arrived, document["results"])
        together.results |= {int(place): results for place, results in found.items()}
        together.empty |= {int(place): why for place, why in document["empty"].items()}
        together.disabled |= {int(place): why for place, why in document["disabled"].items()}
    return together


def _note_disabled(stream: Stream, keys: Sequence[Key], disabled: Mapping[int, str]) -> None:
    """Know of the forks that raised in any process, in the same order in each."""
    forks = stream.forks
    forks.disabled |= {keys[place]: why for place, why in disabled.items()}
    told = {str(key): forks.disabled[key] for key in keys if key in forks.disabled}
    stream.coverage.disabled.clear()
    stream.coverage.disabled.update(told)


def joined(parts: Sequence[Results], unreached: Sequence[str] = ()) -> Results:
    """The results of layers that took turns over the data as one.

    Args:
        parts: those of each turn.
        unreached: layers whose turn did not come.

    Raises:
        EmptyStateError: no turn had a result.
    """
    if len(parts) == 1 and not unreached:
        return parts[0]
    names = dict.fromkeys(name for part in parts for name in part)
    if not names:
        raise EmptyStateError("there is no result of any layer; the warnings before say why")
    found = {
        name: LayerResults(each for part in parts for each in part.get(name, {}).values())
        for name in names
    }
    runs = [part.provenance for part in parts]
    notes = dict.fromkeys(note for run in runs for note in run["notes"])
    notes |= {f"layers not reached: {', '.join(unreached)}": None} if unreached else {}
    together = {
        "complete": all(run["complete"] for run in runs) and not unreached,
        "forwards": sum(run["forwards"] for run in runs),
        "turns": len(parts),
        "notes": list(notes),
    }
    return Results(found, {**runs[-1], **together})


def _of_run(stream: Stream) -> dict[str, Any]:
    """What is known of the run as a whole."""
    coverage = stream.coverage
    return {
        "complete": coverage.complete,
        "forwards": coverage.forwards,
        "rolled_back": dict(coverage.rolled_back),
        "never_fired": list(coverage.silent),
        "disabled": "; ".join(f"{what}: {why}" for what, why in coverage.disabled.items()),
        "notes": list(coverage.notes),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    from torchprobe.version import __version__

    return {"torchprobe": __version__, "torch": torch.__version__}


def _results(
    stream: Stream, key: Key, fork: Analyzer, phases: list[tuple[str, int]]
) -> list[Result]:
    """One result, or those of a whole network, each with what is known of its layer's data."""
    fork = _alphabetical(fork, phases)
    if fork.scope == "network":
        fork.provenance = {name: _provenance(stream, key, name) for name in stream.layers}
    else:
        fork.provenance = _provenance(stream, key, key.layer)
    with unrecorded():
        found = fork.compute()
        return [found] if isinstance(found, Result) else list(found)


def _alphabetical(fork: Analyzer, phases: list[tuple[str, int]]) -> Analyzer:
    """The fork with string labels renumbered by their alphabetical order."""
    names = fork.names
    if names is None or not names.strings:
        return fork
    ranks = names.ranks()
    ordered = fork.fork(fork.subject, fork.grouping, names.ranked())
    ordered.load_state_dict(fork.state_dict())
    for _, accumulator in ordered.accumulators():
        accumulator.relabel(ranks)
    for split, number in phases:
        if split in ordered.splits:
            ordered.after(split, number)
    return ordered


def _provenance(stream: Stream, key: Key, name: str) -> dict[str, Any]:
    """What is known of the data that a layer delivered, and of a fork's fate."""
    layer, disabled = stream.layers[name], stream.forks.disabled.get(key, "")
    account = stream.coverage.of(name, stream.forks.analyzers[key.analyzer].splits)
    return {
        **account,
        **_scale(stream, key),
        "axes": str(layer.axes),
        "module": layer.module,
        "dtype": str(layer.dtype).removeprefix("torch."),
        "disabled": disabled,
        "complete": not (account["rolled_back"] or account["notes"] or disabled),
        "versions": _versions(),
    }


def _scale(stream: Stream, key: Key) -> dict[str, Any]:
    """What a reader must know of gradients that a training loop computed."""
    loss = stream.options.objective
    if not isinstance(loss, TrainingLoss) or "gradients" not in stream.forks.forks[key].signals:
        return {}
    return {"gradients_of": "the training loss", "gradient_scale": loss.scale}


def _report_empty(stream: Stream, empty: list[str], any_result: bool) -> None:
    if stream.forks.analyzers and not any_result:
        reasons = "; ".join(empty) or "no analyzer heard of any layer"
        raise EmptyStateError(f"there is no result: {reasons}. Coverage:\n{stream.coverage}")
    if empty:
        warnings.warn(f"nothing was seen by {'; '.join(empty)}", IncompleteWarning, stacklevel=4)
