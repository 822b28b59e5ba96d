"""What a probe has seen: the stream, the passes, the turns that are over, of all processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torchprobe import distributed, state
from torchprobe.compute import compute, joined
from torchprobe.errors import EmptyStateError, MergeError
from torchprobe.merging import hand_over, merged, take_over
from torchprobe.sample_ids import SampleIds
from torchprobe.sandbox import CPU, Sandbox, all_generators_kept
from torchprobe.state import SCHEMA
from torchprobe.turns import Turns
from torchprobe.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from torchprobe.coverage import Coverage
    from torchprobe.design import Design
    from torchprobe.distributed import Team
    from torchprobe.forks import Key, Phase
    from torchprobe.merging import Merged
    from torchprobe.objective import Objective
    from torchprobe.results import Results
    from torchprobe.state import State
    from torchprobe.stream import Stream
    from torchprobe.training_loss import TrainingLoss

__all__ = ["Record"]


class Record:
    """What was seen with a design, saved, merged with other processes, turned into results.

    Args:
        design: what the probe is made of.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        self.reset()

    # -- beginning

    def reset(self) -> None:
        """Forget everything seen."""
        self._start_over(self.design.stream())

    def renew(self) -> None:
        """Forget everything seen, but not what was learned of the layers."""
        self._start_over(self.stream.renewed())

    def _start_over(self, stream: Stream) -> None:
        self.stream = stream
        self.phase: Phase = ("fit", 0)
        """The pass that is going on."""
        self._phases: list[Phase] = []
        self._finished: list[Results] = []

    def aim(self, objective: Objective | TrainingLoss) -> None:
        """Take gradients of something else from now on."""
        self.design = self.design.aimed(objective)
        self.stream.aim(self.design.options)

    @property
    def team(self) -> Team | None:
        """The processes to merge with; None where this one is alone."""
        options = self.design.options
        if options.distributed != "auto":
            return None
        return distributed.team(options.distributed_timeout)

    # -- from pass to pass

    def enter(
        self, split: str, number: int, keep: Callable[[Callable[[], State]], None] | None = None
    ) -> None:
        """Begin a pass over a split, if it is not the one that is going on.

        Args:
            split: its name.
            number: which pass over it.
            keep: saves what all processes have found in the pass before.
        """
        if self.phase != (split, number):
            self._conclude(keep)
        self.phase = (split, number)
        self.stream.number = number
        self.stream.ids.enter(split)

    def _conclude(self, keep: Callable[[Callable[[], State]], None] | None) -> None:
        """The current pass is complete: analyzers that find something in it do so now.

        With several processes they find it in what all have seen. All know that from then on, but
        the first alone holds it, so that nothing is counted twice when they merge again.
        """
        team = self.team if self.design.finds else None
        if team is not None:
            found = self._merged(team)
            new = take_over(self.stream, found.stream, self.design.devices)
            for phase in found.phases:
                _end(self.stream, phase, new)
        _end(self.stream, self.phase)
        if self.phase not in self._phases:
            self._phases.append(self.phase)
        if team is not None:
            if keep is not None:
                keep(self.state_dict)
            _hold_first(self.stream)

    def _merged(self, team: Team) -> Merged:
        """What all processes have seen."""
        design, known = self.design, self.stream.forks.forks
        return merged(team, self.state_dict(), design.stream(), design.unwrapped, known)

    def next_turn(self) -> bool:
        """Keep what was found and begin again with the layers that wait, if there are any."""
        turns = self.stream.forks.turns.next()
        if turns is None:
            return False
        finished, place = [*self._finished, self._found()], self.stream.ids.place
        self.reset()
        self.stream.ids = SampleIds(place)  # the samples of every turn are numbered alike
        self._finished, self.stream.forks.turns = finished, turns
        return True

    # -- saving

    def state_dict(self, *, merged: bool = False) -> State:
        """All of it, or that of all processes: see `torchprobe.Probe.state_dict`."""
        team = self.team
        stream = self._merged(team).stream if merged and team else self.stream
        return {
            "schema": SCHEMA,
            "torchprobe": __version__,
            "probe": self.design.described(),
            "part": [team.rank, team.size] if team and not merged else None,
            "phase": [*self.phase],
            "phases": [[*phase] for phase in self._phases],
            "ids": self.stream.ids.state(),
            "finished": state.pack_results(self._finished),
            **state.dump(stream),
            "turns": self.stream.forks.turns.state(),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Replace all of it: see `torchprobe.Probe.load_state_dict`."""
        stream = self.design.stream()
        state.check(saved, self.design.described(), "the saved state")
        team = self.team
        part = saved["part"] and tuple(saved["part"])
        if team is not None and part not in (None, (team.rank, team.size)):
            raise MergeError(
                f"the saved state is the part of process {part[0]} of {part[1]}, "
                f"this is process {team.rank} of {team.size}; save with state_dict(merged=True)"
            )
        self._take_in(stream, saved)
        for phase in self._phases:
            _end(stream, phase)
        if team is not None and part is None:
            _hold_first(stream)

    def go_on(self, mine: State | None, found: State, phase: Phase) -> None:
        """Know again what processes had found together, and hold this one's part since then.

        Args:
            mine: the part; None where this process had not begun the next pass.
            found: what was found.
            phase: that next pass.
        """
        self.load_state_dict(found)
        if mine is None:
            self.phase = phase
            _hold_first(self.stream)
            return
        state.check(mine, self.design.described(), "the saved state")
        hand_over(self.stream)
        self._take_in(self.stream, mine)

    def _take_in(self, stream: Stream, saved: Mapping[str, Any]) -> None:
        """Go on with a stream that holds nothing yet and a state of it."""
        devices = self.design.devices
        here = {**saved, "layers": [state.placed(each, devices) for each in saved["layers"]]}
        with Sandbox(CPU):
            state.meet(stream, {"the saved state": here}, self.design.unwrapped)
            state.fill(stream, here)
        stream.ids = self.stream.ids
        stream.ids.resume(saved["ids"])
        stream.forks.turns = Turns.from_state(saved["turns"])
        stream.restored = bool(stream.layers)
        self.stream, self._finished = stream, state.unpack_results(saved["finished"])
        self.phase = (saved["phase"][0], saved["phase"][1])
        stream.number = self.phase[1]
        self._phases = [(split, number) for split, number in saved["phases"]]

    # -- asking

    def results(self) -> Results:
        """The results of all layers, those of other turns among them.

        Raises:
            EmptyStateError: nothing was recorded; says which layers never fired and why.
        """
        turns, parts = self.stream.forks.turns, list(self._finished)
        unreached = turns.waiting
        if _nothing_seen(self.stream) and parts and self.team is None:
            unreached += sorted(turns.now or ())  # interrupted before this turn had begun
        else:
            parts.append(self._found())
        return joined(parts, unreached)

    def _found(self) -> Results:
        """The results of the layers whose turn it is, of all processes."""
        stream, phase, phases = self.stream, self.phase, self._phases
        team = self.team
        if team is not None:
            found = self._merged(team)
            stream, phase, phases = found.stream, found.phase, found.phases
            for each in phases:
                _end(stream, each, found.new)
        if _nothing_seen(stream):
            raise EmptyStateError(_told_nothing(stream.coverage))
        _end(stream, phase)
        with Sandbox(CPU), all_generators_kept(CPU):
            alone = not self._finished and not self.stream.forks.turns.later
            return compute(stream, dict.fromkeys([*phases, phase]), alone=alone, team=team)


def _end(stream: Stream, phase: Phase, only: Container[Key] | None = None) -> None:
    """Tell the analyzers of a stream that a pass is complete; maybe some of them only."""
    with Sandbox(CPU), all_generators_kept(CPU):
        stream.forks.end_phase(phase, only)


def _hold_first(stream: Stream) -> None:
    """Let the first process alone hold what all processes know."""
    if distributed.place()[0] > 0:
        hand_over(stream)


def _nothing_seen(stream: Stream) -> bool:
    return stream.discovering and not stream.layers


def _told_nothing(coverage: Coverage) -> str:
    message = "the probe has seen no complete forward pass"
    if coverage.rolled_back:
        message += f" ({dict(coverage.rolled_back)})"
    return (
        f"{message}; run the model inside `with probe:` or call probe.run(loader). A model wrapped "
        "by torch.compile, torch.jit or torch.export does not run hooks"
    )
