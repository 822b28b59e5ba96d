"""Analyzers of the whole network: what they are handed, and that nobody notices them at work."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import torchprobe as tp
from torchprobe.accumulators import Mean
from torchprobe.errors import EmptyStateError, IncompleteWarning, MemoryBudgetError, PluginError
from torchprobe.sandbox import unrecorded
from torchprobe.testing import check_analyzer


class Again(tp.Analyzer):
    """Mean of the outputs, found by calling the model again."""

    name = "again"
    scope = "network"

    def start(self, network):
        self.means = {layer.name: Mean(layer.channels) for layer in network.layers}

    def update(self, batch):
        caught = {}
        handles = [
            batch.network.model.get_submodule(layer.name).register_forward_hook(
                lambda _m, _i, out, name=layer.name: caught.update({name: out.clone()})
            )
            for layer in batch.network.layers
        ]
        batch.network.model(*batch.args, **batch.kwargs)
        for handle in handles:
            handle.remove()
        for name, mean in self.means.items():
            rows = caught[name].movedim(1, -1)
            mean.update(rows.reshape(-1, rows.shape[-1]))

    def compute(self):
        return [
            self.result(of=layer, mean=("channel", self.means[layer.name].value))
            for layer in self.network.layers
        ]


class Labelled(Again):
    name = "labelled"
    needs_labels = True

    def update(self, batch):
        assert len(batch.labels) == len(batch.sample_ids) == len(batch.args[0])
        super().update(batch)


class Broken(Again):
    name = "broken"

    def update(self, batch):
        super().update(batch)
        raise ValueError("no")


def net():
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True), nn.Linear(3, 2))


def batches(n=3):
    return [(torch.randn(5, 4), torch.arange(5) % 2) for _ in range(n)]


def test_results_are_one_for_each_layer_with_its_own_origin():
    results = tp.Probe(net(), analyzers=[Again]).run(batches())
    assert results["again"].layers == ("0", "1", "2")
    assert results["again"]["1"].provenance["module"] == "ReLU"
    assert results["again"]["1"].provenance["rows"] == 15


def test_the_model_called_again_gives_what_it_gave():
    model, data = net(), batches()
    results = tp.Probe(model, analyzers=[Again, "class_selectivity"]).run(data)
    with torch.no_grad():
        expected = torch.cat([model(x) for x, _ in data]).double().mean(0)
    torch.testing.assert_close(torch.tensor(results["again"]["2"].mean), expected)


def test_calls_by_the_analyzer_are_not_recorded_by_any_probe():
    model, data = net(), batches(1)
    other = tp.Probe(model, analyzers=["class_selectivity"])
    probe = tp.Probe(model, analyzers=[Again])
    with other, other.batch(data[0][1]), probe:
        model(data[0][0])
    assert other.coverage.forwards == 1
    assert probe.results()["again"]["0"].provenance["calls"] == 1


def test_inputs_are_those_before_the_model_overwrote_them():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 2))
    x = torch.randn(5, 4)
    expected = model(x.clone()).double().mean(0)
    with tp.Probe(model, analyzers=[Again]) as probe, torch.inference_mode():
        model(x.clone())
    torch.testing.assert_close(torch.tensor(probe.results()["again"]["1"].mean), expected.detach())


def test_labels_and_ids_reach_the_analyzer_by_grouping():
    x, y = batches(1)[0]
    probe = tp.Probe(net(), analyzers=[Labelled], on_error="raise")
    results = probe.run([(x, {"a": y, "b": 1 - y})])
    assert results["labelled"].groupings == ("a", "b")


def test_an_analyzer_that_raises_is_left_out_and_its_state_forgotten():
    probe = tp.Probe(net(), analyzers=[Broken, Again])
    with pytest.warns(IncompleteWarning, match="broken at 'model' raised"):
        results = probe.run(batches())
    assert list(results) == ["again"]


def test_a_failed_forward_is_forgotten():
    model, (x, _) = net(), batches(1)[0]
    with tp.Probe(model, analyzers=[Again]) as probe:
        model(x)
        before = probe.results()["again"]["2"].mean
        with pytest.raises(RuntimeError):
            model(torch.randn(5, 7))
        assert (probe.results()["again"]["2"].mean == before).all()


def test_a_submodule_called_by_itself_is_reported():
    model = net()
    with tp.Probe(model, analyzers=[Again]) as probe:
        model[0](torch.randn(5, 4))
    assert "analyzers of the network need" in str(probe.coverage.skipped["model"])
    with pytest.raises(EmptyStateError):
        probe.results()


def test_state_beyond_the_budget_is_refused():
    with pytest.raises(MemoryBudgetError, match="again at 'model'"):
        tp.Probe(net(), analyzers=[Again], memory_budget=8).run(batches())


def test_an_unknown_scope_is_refused():
    from torchprobe.analyzer import check_analyzer_class

    class Odd(Again):
        name, scope = "odd", "world"

    with pytest.raises(PluginError, match="scope 'world'"):
        check_analyzer_class(Odd)


def test_nothing_is_recorded_inside_unrecorded():
    model, (x, _) = net(), batches(1)[0]
    with tp.Probe(model, analyzers=[Again]) as probe:
        with unrecorded():
            model(x)
        assert probe.coverage.forwards == 0
        model(x)
    assert probe.coverage.forwards == 1


def test_the_contract_holds_for_networks():
    check_analyzer(Again)
    check_analyzer(Labelled)


class Placed(Again):
    name = "placed"
    needs_positions = True

    def compute(self):
        axes = {"input": self.network.input_axes}
        return [
            self.result(of=layer, coords=axes, at=("input", [0] * len(axes["input"])))
            for layer in self.network.layers
        ]


def test_the_input_s_axes_are_told_where_positions_are_asked_for():
    model = nn.Sequential(nn.Conv1d(2, 3, 3))
    found = tp.Probe(model, analyzers=[Placed]).run([torch.randn(4, 2, 9)])["placed"]["0"]
    assert found.coords["input"] == ("sample", "channel", "time")


class Told(Again):
    name = "told"

    def start(self, network):
        self.means = {layer.name: Mean(1) for layer in network.with_input}

    def update(self, batch):
        for mean in self.means.values():
            mean.update(torch.ones(1, 1))

    def compute(self):
        given = self.network.input
        assert given is None or given == self.network.with_input[0]
        return [self.result(of=each, one=("unit", [1])) for each in self.network.with_input]


@pytest.mark.parametrize("layers", [["input"], ["input", "0"], ["0"]])
def test_the_input_is_told_apart_from_layers_where_it_was_chosen(layers):
    found = tp.Probe(net(), layers, [Told], on_error="raise").run(batches(), progress=False)
    assert list(found["told"].layers) == layers


def test_where_no_layer_was_met_the_coverage_says_so():
    model = nn.Sequential(nn.Embedding(5, 3), nn.Flatten())  # tokens are no layer
    with pytest.raises(EmptyStateError, match="none of the layers chosen was met"):
        tp.Probe(model, ["input"], [Told]).run([torch.ones(2, 2).long()], progress=False)
