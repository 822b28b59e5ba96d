"""The promises that every analyzer makes, one function each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from torchprobe.errors import EmptyStateError
from torchprobe.network import NetworkBatch
from torchprobe.testing.equality import assert_equal
from torchprobe.testing.running import each_result, fed, feed, run, run_probe

if TYPE_CHECKING:
    from torch import Tensor

    from torchprobe.analyzer import Analyzer
    from torchprobe.batch import LayerBatch
    from torchprobe.testing.examples import Example

__all__ = ["Check", "checks"]

Check = Callable[["Analyzer", "Example"], None]


def checks() -> tuple[Check, ...]:
    """The promises, one function each."""
    return (
        it_has_a_name_and_settings_as_stored,
        nothing_seen_raises_empty_state_error,
        batch_size_does_not_matter,
        order_does_not_matter,
        merging_two_halves_equals_one_pass,
        merging_nothing_changes_nothing,
        a_saved_state_restores_the_result,
        a_saved_probe_goes_on_where_it_was,
        a_class_seen_late_counts_the_same,
        repeating_gives_the_same_bits,
        state_does_not_grow_with_the_data,
        no_random_numbers_are_drawn,
        inputs_are_not_written_to,
        forks_are_independent,
        it_can_move_between_devices,
    )


def it_has_a_name_and_settings_as_stored(analyzer: Analyzer, _: Example) -> None:
    assert analyzer.name, "set name"
    assert analyzer.settings() == type(analyzer)(**_own(analyzer)).settings(), (
        "__init__ must store its arguments under their own names"
    )


def nothing_seen_raises_empty_state_error(analyzer: Analyzer, data: Example) -> None:
    try:
        list(each_result(analyzer.fork(data.subject, "label").compute()))
    except EmptyStateError:
        return
    raise AssertionError("compute() before any data must raise EmptyStateError")


def batch_size_does_not_matter(analyzer: Analyzer, data: Example) -> None:
    whole = run(analyzer, data, [len(data)])
    for size in (1, 7, 32):
        assert_equal(whole, run(analyzer, data, [size]), f"batches of {size}")


def order_does_not_matter(analyzer: Analyzer, data: Example) -> None:
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1))
    shuffled = data.part(order)
    assert_equal(run(analyzer, data, [16]), run(analyzer, shuffled, [16]), "shuffled data")


def merging_two_halves_equals_one_pass(analyzer: Analyzer, data: Example) -> None:
    assert_equal(run(analyzer, data, [16]), run(analyzer, data, [16], processes=3), "3 processes")


def merging_nothing_changes_nothing(analyzer: Analyzer, data: Example) -> None:
    fork = fed(analyzer, data)
    before = fork.state_dict()
    fork.merge(analyzer.fork(data.subject, "label"))
    after = fork.state_dict()
    assert before.keys() == after.keys(), "merging an empty copy changed what the state holds"
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), f"merging an empty copy changed {name}"


def a_saved_state_restores_the_result(analyzer: Analyzer, data: Example) -> None:
    assert_equal(run(analyzer, data, [16]), run(analyzer, data, [16], resume=True), "a resumed run")


def a_saved_probe_goes_on_where_it_was(analyzer: Analyzer, data: Example) -> None:
    whole, saved = (run_probe(analyzer, data, saved=saved) for saved in (False, True))
    assert_equal(whole, saved, "a probe that was saved in the middle of each pass")


def a_class_seen_late_counts_the_same(analyzer: Analyzer, data: Example) -> None:
    order = data.labels.argsort(stable=True)
    by_class = data.part(order)
    assert_equal(run(analyzer, data, [16]), run(analyzer, by_class, [16]), "data sorted by class")


def repeating_gives_the_same_bits(analyzer: Analyzer, data: Example) -> None:
    assert_equal(run(analyzer, data, [16]), run(analyzer, data, [16]), "a repetition", exact=True)


def state_does_not_grow_with_the_data(analyzer: Analyzer, data: Example) -> None:
    fork = fed(analyzer, data)
    before = _bytes(fork)
    moved = replace(data, ids=data.ids + len(data) * 10)
    for _ in range(3):
        feed(fork, moved, [16], "fit")
    budget = max(before, fork.state_bytes(data.subject))
    assert _bytes(fork) <= budget, (
        f"{before} bytes grew to {_bytes(fork)}; keep statistics, not data"
    )


def no_random_numbers_are_drawn(analyzer: Analyzer, data: Example) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    fed(analyzer, data)
    assert torch.equal(before[0], torch.get_rng_state()), "update drew from torch's generator"
    assert np.array_equal(before[1], np.random.get_state()[1]), "update drew from numpy's generator"  # type: ignore[index]  # noqa: NPY002


def inputs_are_not_written_to(analyzer: Analyzer, data: Example) -> None:
    fork = analyzer.fork(data.subject.at(analyzer.positions), "label")
    batch = data.batch(torch.arange(len(data))).view("label", analyzer.positions)
    shared = _shared(batch)
    before = [tensor.clone() for tensor in shared.values()]
    fork.update(batch)
    for (name, tensor), copy in zip(shared.items(), before, strict=True):
        assert torch.equal(tensor, copy), f"update wrote into {name}, which others share"


def forks_are_independent(analyzer: Analyzer, data: Example) -> None:
    first = fed(analyzer, data)
    before = first.state_dict()
    fed(analyzer, data.take(8))
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, before[name]), f"feeding another fork changed {name}"


def it_can_move_between_devices(analyzer: Analyzer, data: Example) -> None:
    fork = fed(analyzer, data)
    for _, accumulator in fork.accumulators():
        accumulator.to("cpu")
    feed(fork, data, [16], "fit")


def _shared(batch: LayerBatch | NetworkBatch) -> dict[str, Tensor]:
    """The tensors of a batch that an analyzer must not write to."""
    if isinstance(batch, NetworkBatch):
        return {"batch.args": batch.args[0], "batch.output": batch.output}
    shared = {"batch.values": batch.values, "batch.rows()": batch.rows()}
    return {**shared, "batch.gradients": batch.gradients} if batch.has_gradients else shared


def _own(analyzer: Analyzer) -> dict[str, object]:
    return {name: value for name, value in analyzer.settings().items() if name != "positions"}


def _bytes(fork: Analyzer) -> int:
    return sum(tensor.nbytes for tensor in fork.state_dict().values())
