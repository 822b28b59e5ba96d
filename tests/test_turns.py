"""Layers that take turns over the data where the memory budget is short for all of them."""

import numpy as np
import pytest
import torch
from analyzers import ChannelMean, ClassMean
from torch import nn

import torchprobe as tp
from torchprobe.errors import (
    EmptyStateError,
    IncompleteWarning,
    MemoryBudgetError,
    TorchprobeWarning,
)


class ByClass(ChannelMean):
    name = "by_class"
    needs_labels = True

    def update(self, batch):
        super().update(batch)
        assert len(batch.labels) == len(batch.rows())


def net(n=6, width=4):
    layers = [nn.Linear(width, width) for _ in range(n)]
    return nn.Sequential(*layers).double()


def data(n=20):
    return list(torch.randn(n, 4).double().split(6))


def need(layers, width=4):
    return layers * (8 * width + 8)  # means and a count


@pytest.mark.parametrize("budget", [1, 2, 3, 4, 6])
def test_turns_give_the_same_results_in_the_same_order(budget):
    model, loader = net(), data()
    whole = tp.Probe(model, tp.types(nn.Linear), [ChannelMean]).run(loader)
    probe = tp.Probe(model, tp.types(nn.Linear), [ChannelMean], memory_budget=need(budget))
    turns = probe.run(loader)
    assert turns["mean"].layers == whole["mean"].layers
    for layer, result in turns["mean"].items():
        assert np.array_equal(result.mean, whole["mean"][layer].mean)
        assert result.complete
        assert result.provenance["rows"] == 20
    assert turns.complete
    assert turns.provenance.get("turns", 1) == -(-6 // budget)
    assert turns.provenance["forwards"] == len(loader) * -(-6 // budget)
    assert list(probe.layers) == list(whole["mean"].layers)


def test_never_more_than_the_budget_is_held_at_once():
    held = []

    class Watched(ChannelMean):
        name = "watched"

        def update(self, batch):
            super().update(batch)
            forks = probe._record.stream.forks.forks.values()
            held.append(sum(acc.nbytes for fork in forks for _, acc in fork.accumulators()))

    probe = tp.Probe(net(), tp.types(nn.Linear), [Watched], memory_budget=need(2))
    probe.run(data())
    assert 0 < max(held) <= need(2)


def test_every_pass_and_split_belongs_to_a_turn():
    class Twice(ByClass):
        name = "twice"
        passes = 2
        splits = ("fit", "score")

    x = torch.randn(9, 4).double()
    loader = [(x, torch.arange(9) % 2)]
    probe = tp.Probe(net(3), tp.types(nn.Linear), [Twice], memory_budget=need(1))
    results = probe.run(fit=loader, score=loader)
    assert [result.n for result in results["twice"].values()] == [27, 27, 27]


def test_all_groupings_count_when_turns_are_planned():
    labels = {"a": torch.arange(9) % 2, "b": torch.arange(9) % 3}
    batch = tp.Batch(torch.randn(9, 4).double(), labels=labels)
    results = tp.Probe(net(2), tp.types(nn.Linear), [ByClass], memory_budget=need(2)).run([batch])
    assert results.provenance["turns"] == 2
    assert len(results["by_class"]) == 4


def test_a_layer_that_does_not_fit_by_itself_is_refused_with_the_bytes_it_needs():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1000)).double()
    probe = tp.Probe(model, tp.types(nn.Linear), [ChannelMean], memory_budget=need(3))
    with pytest.raises(
        MemoryBudgetError, match="layer '1' alone needs 8,008 bytes of state; the memory"
    ):
        probe.run(data())


def test_a_loader_that_can_be_read_once_is_refused():
    probe = tp.Probe(net(), tp.types(nn.Linear), [ChannelMean], memory_budget=need(2))
    with pytest.raises(MemoryBudgetError, match=r"let probe.run\(\) take layers in turns"):
        probe.run(iter(data()))


def test_a_loop_of_the_user_s_own_is_refused_before_any_data_is_taken():
    model = net()
    with (
        tp.Probe(model, tp.types(nn.Linear), [ChannelMean], memory_budget=need(2)) as probe,
        pytest.raises(MemoryBudgetError, match=r"let probe.run\(\) take layers in turns"),
    ):
        model(data()[0])
    assert probe.coverage.forwards == 0


def test_a_budget_nobody_declared_warns_of_the_extra_passes(monkeypatch):
    from torchprobe.options import Options

    monkeypatch.setattr(Options, "budget", need(4))
    with pytest.warns(TorchprobeWarning, match="layers take 2 turns"):
        tp.Probe(net(), tp.types(nn.Linear), [ChannelMean]).run(data())


def test_what_was_found_before_an_interrupt_is_kept_and_marked_incomplete():
    class Stops(list):
        reads = 0

        def __iter__(self):
            Stops.reads += 1
            if Stops.reads == 3:
                raise KeyboardInterrupt
            return super().__iter__()

    probe = tp.Probe(net(), tp.types(nn.Linear), [ChannelMean], memory_budget=need(2))
    with pytest.raises(KeyboardInterrupt):
        probe.run(Stops(data()))
    results = probe.results()
    assert results["mean"].layers == ("0", "1", "2", "3")
    assert not results.complete
    assert "layers not reached: 4, 5" in results.provenance["notes"]


def test_a_layer_that_fires_later_is_taken_once():
    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            x = self.b(self.a(x))
            return x if len(x) == 6 else self.c(x)

    model = Sometimes().double()
    for budget in (1, 2, 3):
        probe = tp.Probe(model, ["a", "b", "c"], [ChannelMean], memory_budget=need(budget))
        results = probe.run(data())
        assert [result.n for result in results["mean"].values()] == [20, 20, 2]


def test_states_are_those_of_group_means_too():
    class Told(ClassMean):
        """Says itself how much it needs."""

        name = "told"

        def state_bytes(self, layer):
            return 100 * layer.channels

    x, y = torch.randn(8, 4).double(), ["a", "b"] * 4
    results = tp.Probe(net(3), tp.types(nn.Linear), [Told], memory_budget=500).run([(x, y)])
    whole = tp.Probe(net(3), tp.types(nn.Linear), [Told]).run([(x, y)])
    assert results.provenance["turns"] == 3
    assert results["told"]["0"].mean.shape == whole["told"]["0"].mean.shape


def test_a_turn_without_a_result_does_not_cost_those_of_others():
    class Picky(ChannelMean):
        name = "picky"

        def compute(self):
            if self.layer.name in refused:
                raise ValueError("not this one")
            return super().compute()

    for refused in ({"0"}, {"2"}, {"0", "1"}):
        probe = tp.Probe(net(3), tp.types(nn.Linear), [Picky], memory_budget=need(1))
        with pytest.warns(IncompleteWarning, match="not this one"):
            results = probe.run(data())
        assert set(results["picky"].layers) == {"0", "1", "2"} - refused
        assert not results.complete
    refused = {"0", "1", "2"}
    with pytest.warns(IncompleteWarning), pytest.raises(EmptyStateError, match="no result of any"):
        probe.run(data())
