"""An analyzer run by hand over made-up data, as a probe and several processes would."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from torchprobe.probe import Probe
from torchprobe.result import Result
from torchprobe.testing.examples import Example, NetworkExample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

    from torchprobe.analyzer import Analyzer

__all__ = ["each_result", "fed", "feed", "run", "run_probe"]


def _phases(analyzer: Analyzer) -> Iterator[tuple[str, int]]:
    for split in analyzer.splits:
        for number in range(analyzer.passes if split == "fit" else 1):
            yield split, number


def feed(fork: Analyzer, data: Example, sizes: Sequence[int], split: str, number: int = 0) -> None:
    """Let a fork see the data of one phase in batches."""
    for index in torch.arange(len(data)).split(sizes[0]):
        fork.update(data.batch(index, split, number).view("label", fork.positions))


def fed(analyzer: Analyzer, data: Example) -> Analyzer:
    """A fork that has seen the data once."""
    fork = analyzer.fork(data.subject.at(analyzer.positions), "label")
    feed(fork, data, [16], "fit")
    return fork


def run(
    analyzer: Analyzer,
    data: Example,
    sizes: Sequence[int],
    *,
    processes: int = 1,
    resume: bool = False,
) -> list[Result]:
    """All phases, in one process or several that merge after each, optionally resumed midway."""
    first = analyzer.fork(data.subject.at(analyzer.positions), "label")
    for phase in _phases(analyzer):
        if processes == 1:
            _feed_part(first, data, sizes, phase, resume=resume)
        else:
            _feed_processes(first, data, sizes, phase, processes)
        first.after(*phase)
    return each_result(first.compute())


def run_probe(analyzer: Analyzer, data: Example, *, saved: bool) -> list[Result]:
    """All phases through a probe, maybe saved in the middle of each and loaded into another."""
    probe = _probe(analyzer, data)
    half = len(data) // 2
    for number, phase in enumerate(_phases(analyzer)):
        if phase[0] == "fit" and number:
            probe.next_pass()
        for index in torch.arange(len(data)).split(half):
            _let_see(probe, data, index, phase[0])
            if saved and not index[0]:
                state = _through_a_file(probe.state_dict())
                probe = _probe(analyzer, data)
                probe.load_state_dict(state)
    return [*probe.results()[analyzer.name].values()]


def _probe(analyzer: Analyzer, data: Example) -> Probe:
    if isinstance(data, NetworkExample):
        return Probe(data.network.model, analyzers=[analyzer], on_error="raise")
    axes = str(data.layer.axes)
    model = nn.Sequential(nn.Identity())
    return Probe(
        model, "0", [analyzer], axes={"0": axes}, objective=data.objective, on_error="raise"
    )


def _let_see(probe: Probe, data: Example, index: Tensor, split: str) -> None:
    wanted = "gradients" in next(iter(probe.analyzers.values())).signals
    with probe, probe.batch(data.labels[index], ids=data.ids[index], split=split):
        values = data.values[index].requires_grad_(wanted)
        with torch.set_grad_enabled(wanted):
            probe.model(values)


def _through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def each_result(found: Result | Iterable[Result]) -> list[Result]:
    """What `compute` gave, one result or several, as a list."""
    return [found] if isinstance(found, Result) else list(found)


def _feed_processes(
    first: Analyzer, data: Example, sizes: Sequence[int], phase: tuple[str, int], processes: int
) -> None:
    """Let several copies see a part each and merge them into the first."""
    for part in torch.arange(len(data)).tensor_split(processes):
        copy = first.unfed()
        feed(copy, data.part(part), sizes, *phase)
        first.merge(copy)


def _feed_part(
    fork: Analyzer, data: Example, sizes: Sequence[int], phase: tuple[str, int], *, resume: bool
) -> None:
    if not resume:
        feed(fork, data, sizes, *phase)
        return
    half = len(data) // 2
    feed(fork, data.take(half), sizes, *phase)
    state = fork.state_dict()
    for _, accumulator in fork.accumulators():
        accumulator.reset()
    fork.load_state_dict(state)
    feed(fork, data.part(torch.arange(half, len(data))), sizes, *phase)
