"""Groupings computed while the model runs: from its output, or from what a layer delivers."""

import numpy as np
import pytest
import torch
from analyzers import ClassMean
from torch import nn

import torchprobe as tp
from torchprobe.errors import LabelError


def net():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)).double()


def brightest(batch, _):
    return batch.values.argmax(1)  # [sample, *positions]


@pytest.mark.parametrize("layer", ["input", "0", "1"])
def test_labels_computed_from_a_layer_meet_every_layer(layer):
    model, x = net(), torch.randn(30, 3).double()
    probe = tp.Probe(
        model,
        ["input", "0", "1", "2"],
        [ClassMean],
        groupings={"brightest": tp.of_layer(layer, brightest)},
    )
    results = probe.run(list(x.split(7)))["class_mean"]
    values = {"input": x, "0": model[0](x), "1": model[:2](x)}[layer].detach()
    last = model(x).detach()
    for place, k in enumerate(values.argmax(1).unique()):
        expected = last[values.argmax(1) == k].mean(0)
        assert np.allclose(results["2"].mean[place], expected, rtol=1e-12)
    assert results.layers == ("input", "0", "1", "2")
    assert list(probe.layers) == ["input", "0", "1", "2"]


def test_labels_computed_from_a_layer_see_those_given():
    x, y = torch.randn(10, 3).double(), torch.arange(10) % 2

    def shifted(batch, given):
        return given.labels["label"] + len(batch.values)

    probe = tp.Probe(net(), "2", [ClassMean], groupings={"shifted": tp.of_layer("2", shifted)})
    results = probe.run([(x, y)])["class_mean"].grouping("shifted")
    assert results["2"].coords["class"] == ("10", "11")


def test_labels_computed_by_position():
    model = nn.Sequential(nn.Conv1d(2, 3, 1), nn.ReLU()).double()
    x = torch.randn(4, 2, 5).double()
    probe = tp.Probe(model, ["0"], [ClassMean], groupings={"b": tp.of_layer("0", brightest)})
    result = probe.run([x])["class_mean"]["0"]
    assert (result.mean.argmax(1) == np.arange(len(result.mean))).all()


def test_a_grouping_of_a_layer_that_is_not_probed_says_so():
    probe = tp.Probe(net(), "2", [ClassMean], groupings={"b": tp.of_layer("0", brightest)})
    with pytest.raises(LabelError, match=r"from layer '0', which .* add it to layers="):
        probe.run([torch.randn(4, 3).double()])


@pytest.mark.parametrize("first", [["a", "b", None], [1, 2, -1]])
def test_labels_that_change_their_kind_between_batches_are_an_error(first):
    second = [1, 2, -1] if first[0] == "a" else ["a", "b", None]
    probe = tp.Probe(net(), "2", [ClassMean])
    x = torch.randn(3, 3).double()
    with pytest.raises(LabelError, match=r"'label' were (strings|integers) before and are"):
        probe.run([(x, first), (x, second)])
    results = probe.results()  # what was seen before the error is intact
    assert len(results["class_mean"]["2"].mean) == 2


def test_batches_that_ignore_every_row_are_of_either_kind():
    x = torch.randn(3, 3).double()
    probe = tp.Probe(net(), "2", [ClassMean])
    result = probe.run([(x, [-1, -1, -1]), (x, ["a", "b", None]), (x, [-1, -1, -1])])
    assert result["class_mean"]["2"].coords["class"] == ("a", "b")
