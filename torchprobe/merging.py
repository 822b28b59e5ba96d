"""What several processes have seen as one stream, the same bits in each of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from torchprobe import state
from torchprobe.coverage import Coverage
from torchprobe.errors import MergeError
from torchprobe.sandbox import CPU, Sandbox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from torchprobe.analyzer import Analyzer
    from torchprobe.distributed import Team
    from torchprobe.forks import Key
    from torchprobe.state import State
    from torchprobe.stream import Stream

__all__ = ["Merged", "hand_over", "merged", "take_over"]


@dataclass(frozen=True, eq=False)
class Merged:
    """A stream that has seen what all processes have seen."""

    stream: Stream
    phase: tuple[str, int]
    """The pass that the processes are in."""
    phases: list[tuple[str, int]]
    """The passes that are over."""
    new: set[Key]
    """Forks that this process did not have, which know nothing of the passes that are over."""


def merged(
    team: Team,
    mine: State,
    stream: Stream,
    model: nn.Module,
    known: Mapping[Key, Analyzer],
) -> Merged:
    """Add up the states of all processes, in the order of ranks; all must call this together.

    Args:
        team: the processes.
        mine: the state of this one, which is only read.
        stream: one that has seen nothing; what all have seen goes into it.
        model: what analyzers of the network run.
        known: the forks of this process, which know what passes before have found.

    Raises:
        MergeError: the states do not fit each other; all processes raise this, before any tensor
            is sent.
        DistributedError: a process failed or did not come.
    """
    said = team.exchange(_told(mine), "merge")
    heads = [_heard(each) for each in said]
    by_name = {f"process {rank}": head for rank, head in enumerate(heads)}

    def meet() -> Merged:
        for who, head in by_name.items():
            state.check(head, heads[0]["probe"], who)
            if head["torchprobe"] != heads[0]["torchprobe"]:
                raise MergeError(
                    f"{who} runs torchprobe {head['torchprobe']} and process 0 "
                    f"{heads[0]['torchprobe']}; install the same version everywhere"
                )
        phase, phases = _agreed(heads)
        with Sandbox(CPU):
            state.meet(stream, by_name, model, known)
        new = {key for key in stream.forks.forks if key not in known}
        return Merged(stream, phase, phases, new)

    found = team.all_or_none(meet, "merge")
    for rank, head in enumerate(heads):
        source = mine if rank == team.rank else head
        arrived = iter(team.broadcast(state.tensors_of(source), rank))
        with Sandbox(CPU):
            state.fill(stream, state.with_tensors(head, arrived))
    return found


def _told(mine: State) -> State:
    """A state without values as a document."""
    forks = [{**fork, "tensors": state.shapes(fork["tensors"])} for fork in mine["forks"]]
    return {**mine, "forks": forks, "finished": []}


def _heard(said: Mapping[str, Any]) -> State:
    """The inverse: tensors on the meta device, layers on the CPU, where all is merged."""
    forks = [{**fork, "tensors": state.metas(fork["tensors"])} for fork in said["forks"]]
    layers = [{**layer, "device": "cpu"} for layer in said["layers"]]
    return {**said, "forks": forks, "layers": layers}


def _agreed(heads: Sequence[State]) -> tuple[tuple[str, int], list[tuple[str, int]]]:
    """The current pass and those that are over, of all processes that have seen anything.

    Raises:
        MergeError: they are not in the same pass.
    """
    seen = [rank for rank, head in enumerate(heads) if head["layers"]] or [0]
    first = heads[seen[0]]
    for rank in seen:
        if heads[rank]["phase"] != first["phase"]:
            raise MergeError(
                f"process {rank} is in pass {_said(heads[rank])} and process {seen[0]} in "
                f"{_said(first)}; every process must go through the same splits and passes"
            )
    split, number = first["phase"]
    return (split, number), [(split, number) for split, number in first["phases"]]


def _said(head: State) -> str:
    split, number = head["phase"]
    return f"{number} over {split!r}"


def take_over(stream: Stream, found: Stream, devices: Sequence[torch.device]) -> set[Key]:
    """Let a process know all that was merged, and hold it; the forks that are new to it."""
    for layer in found.layers.values():
        here = state.placed(layer.state(), devices)["device"]
        stream.layers.setdefault(layer.name, replace(layer, device=torch.device(here)))
    for grouping, names in found.class_names.items():
        stream.class_names.setdefault(grouping, type(names)()).merge(names, grouping)
    forks, new = stream.forks, set()
    for key, fork in found.forks.forks.items():
        if key not in forks.forks:
            forks.make(key, state.subject_here(stream, fork), stream.class_names)
            new.add(key)
        forks.forks[key].load_state_dict(fork.state_dict())
    forks.disabled |= found.forks.disabled
    forks.unlabelled |= found.forks.unlabelled
    forks.note_labels(fitted=found.forks.labels_fitted)
    _account(stream, found.coverage)
    stream.restored = stream.restored or (stream.discovering and bool(stream.layers))
    return new


def hand_over(stream: Stream) -> None:
    """Let another process hold what was seen: this one knows of it but counts it no more."""
    for fork in stream.forks.forks.values():
        for _, accumulator in fork.accumulators():
            accumulator.reset()
    _account(stream, Coverage(expected=stream.coverage.expected))


def _account(stream: Stream, coverage: Coverage) -> None:
    stream.coverage = stream.forks.coverage = coverage
