"""Several processes give what one gives, and never hang."""

from __future__ import annotations

import os
import time
import warnings

import numpy as np
import pytest
import torch
from processes import Processes
from torch import nn

import torchprobe as tp
from torchprobe import Analyzer
from torchprobe.accumulators import BoundedSample, GroupMeans, Mean, Moments
from torchprobe.errors import DistributedError, EmptyStateError, MergeError, TorchprobeWarning


class Means(Analyzer):
    """The mean of each class."""

    name = "means"
    needs_labels = True

    def start(self, layer):
        self.means = GroupMeans(layer.channels)

    def update(self, batch):
        self.means.update(batch.rows(), batch.groups)

    def compute(self):
        names = self.class_names(self.means.groups)
        return self.result(
            mean=("class channel", self.means.value),
            n=("class", self.means.counts),
            coords={"class": names},
        )


class Spread(Analyzer):
    """The variance, and a sample of rows."""

    name = "spread"

    def start(self, layer):
        self.moments, self.sample = Moments(layer.channels), BoundedSample(layer.channels, 5)

    def update(self, batch):
        self.moments.update(batch.rows())
        self.sample.update(batch.rows(), batch.row_ids)

    def compute(self):
        return self.result(variance=("channel", self.moments.variance()), ids=("item", self.sample.ids))


class Above(Analyzer):
    """Share of rows above the mean that the pass before has found."""

    name = "above"
    passes = 2

    def start(self, layer):
        self.mean, self.above = Mean(layer.channels), Mean(layer.channels)
        self.centre = None

    def after(self, split, number):
        if number == 0 and self.mean.state:
            self.centre = self.mean.value

    def update(self, batch):
        if batch.number == 0:
            self.mean.update(batch.rows())
        else:
            self.above.update(batch.rows() > self.centre)

    def compute(self):
        return self.result(share=("channel", self.above.value), centre=("channel", self.mean.value))


ALL = (Means, Spread, Above)


class Branches(nn.Module):
    """One layer for batches of positive sum, another for the rest."""

    def __init__(self):
        super().__init__()
        self.plus, self.minus = nn.Linear(3, 4), nn.Linear(3, 5)

    def forward(self, x):
        return self.plus(x) if x.sum() > 0 else self.minus(x)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()


def data(n=10, labels=lambda at, size: (torch.arange(size) + at) % 3):
    generator = torch.Generator().manual_seed(1)
    sizes = [4 if at % 3 else 2 for at in range(n)]
    return [
        (torch.randn(size, 3, generator=generator, dtype=torch.float64), labels(at, size))
        for at, size in enumerate(sizes)
    ]


def strings(at, size):
    return (["b", "a", "c", "d"] if at % 2 else ["d", "e", "a", None])[:size]


def feed(probe, batches):
    with probe:
        for inputs, labels in batches:
            with probe.batch(labels):
                probe.model(inputs)


def state_bits(probe):
    return {
        f"{fork['analyzer']} {fork['layer']} {name}": tensor.numpy().tobytes()
        for fork in probe.state_dict()["forks"]
        for name, tensor in fork["tensors"].items()
    }


@pytest.fixture(scope="module")
def two():
    processes = Processes(2)
    yield processes
    processes.close()


def succeed(answers):
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


def alike(one, two, ids=True):
    assert [*one] == [*two]
    for analyzer in one:
        assert {*one[analyzer]} == {*two[analyzer]}
        for key, result in one[analyzer].items():
            other = two[analyzer][key]
            assert result.coords == other.coords
            for what in ("samples", "rows", "calls", "forwards"):
                assert result.provenance[what] == other.provenance[what]
            for name, field in result.fields.items():
                if name != "ids" or ids:
                    np.testing.assert_allclose(field.values, other.fields[name].values, rtol=1e-9)
    return True


# -- a loop of one's own


def own_loop(rank, shares, labels):
    batches = data(labels=labels)
    probe = tp.Probe(net(), "*", [Means, Spread])
    feed(probe, [batches[at] for at in shares[rank]])
    before = state_bits(probe)
    results = [probe.results(), probe.results()]
    assert state_bits(probe) == before, "merging changed this process's own part"
    assert results[0] == results[1], "merging again gave another result"
    return results[0]


@pytest.mark.parametrize("labels", [None, strings], ids=["integers", "strings"])
@pytest.mark.parametrize(
    "shares",
    [
        (range(0, 10, 2), range(1, 10, 2)),
        (range(7), range(7, 10)),
        (range(10), ()),
        ((), range(10)),
    ],
    ids=["even", "uneven", "second idle", "first idle"],
)
def test_two_loops_equal_one(two, shares, labels):
    labels = labels or modulo
    probe = tp.Probe(net(), "*", [Means, Spread])
    feed(probe, data(labels=labels))
    first, second = succeed(two.run(own_loop, [*map(list, shares)], labels))
    assert first == second
    assert alike(probe.results(), first, ids=False)


def modulo(at, size):
    return (torch.arange(size) + at) % 3


def nothing_seen(rank):
    tp.Probe(net(), "*", [Means]).results()


def test_nothing_seen_anywhere_is_an_error_everywhere(two):
    assert [type(each) for each in two.run(nothing_seen)] == [EmptyStateError] * 2


def other_branches(rank):
    probe = tp.Probe(Branches(), "*us", [Spread])
    with probe:
        probe.model(torch.ones(2, 3) if rank else -torch.ones(2, 3))
    return probe.results()


def test_layers_that_only_some_have_met_are_all_there(two):
    first, second = succeed(two.run(other_branches))
    assert first == second
    assert {layer for layer in first["spread"]} == {"plus", "minus"}
    assert first["spread"]["plus"].provenance["samples"] == 2


def another_order(rank):
    """The two processes meet layers in different orders."""
    probe = tp.Probe(Branches(), "*us", [Spread])
    with probe:
        for sign in (1, -1) if rank else (-1, 1):
            probe.model(sign * torch.ones(2 + rank, 3))
    return probe.results()


def test_the_order_of_layers_does_not_mix_them_up(two):
    first, second = succeed(two.run(another_order))
    assert first == second
    widths = {layer: result.variance.shape for layer, result in first["spread"].items()}
    assert widths == {"minus": (5,), "plus": (4,)}


# -- what does not fit


def mismatched(rank, what):
    torch.manual_seed(0)
    model, analyzers, dtype = nn.Linear(3, 4), [Means], torch.float32
    if rank and what == "shape":
        model = nn.Linear(3, 6)
    if rank and what == "dtype":
        model, dtype = model.double(), torch.float64
    if rank and what == "analyzers":
        analyzers = [Spread]
    probe = tp.Probe(model, analyzers=analyzers, distributed_timeout=20)
    if rank and what == "version":
        tp.state.SCHEMA = 99
    with probe, probe.batch(["a", "b"] if rank and what == "kind of label" else [0, 1]):
        model(torch.ones(2, 3, dtype=dtype))
    try:
        started = time.monotonic()
        return probe.results()
    except MergeError as error:
        error.took = time.monotonic() - started
        raise
    finally:
        tp.state.SCHEMA = 1


@pytest.mark.parametrize("what", ["shape", "dtype", "analyzers", "kind of label"])
def test_what_does_not_fit_is_the_same_error_everywhere(two, what):
    first, second = two.run(mismatched, what)
    assert isinstance(first, MergeError)
    assert str(first) == str(second)
    assert max(first.took, second.took) < 10


def still_alive(rank):
    return own_loop(rank, [[0], [1]], modulo)


def test_processes_live_on_after_an_error(two):
    two.run(mismatched, "shape")
    first, second = succeed(two.run(still_alive))
    assert first == second


# -- who does not come


def late(rank):
    probe = tp.Probe(net(), "*", [Means], distributed_timeout=0.5)
    feed(probe, data(2))
    if rank:
        time.sleep(1.5)
    return probe.results()


def test_who_does_not_come_in_time_is_named_and_told(two):
    first, second = two.run(late)
    assert isinstance(first, DistributedError)
    assert "process 1 did not come" in str(first)
    assert isinstance(second, DistributedError)
    assert "process 0 failed" in str(second)
    first, second = succeed(two.run(still_alive))
    assert first == second


def fails_in_run(rank):
    def loader():
        yield from data(3)
        if rank:
            raise ValueError("no more data")
        yield from data(3)

    probe = tp.Probe(net(), "*", [Means])
    return probe.run(loader(), shard=False)


def test_an_error_in_one_process_reaches_the_others_at_once(two):
    started = time.monotonic()
    first, second = two.run(fails_in_run)
    assert isinstance(second, ValueError)
    assert isinstance(first, DistributedError)
    assert "no more data" in str(first)
    assert time.monotonic() - started < 30


def dies(rank):
    probe = tp.Probe(net(), "*", [Means], distributed_timeout=3)
    feed(probe, data(2))
    if rank:
        os._exit(9)
    return probe.results()


def test_a_process_that_dies_is_an_error_in_the_others():
    processes = Processes(2)
    try:
        first, second = processes.run(dies)
        assert second is None
        assert isinstance(first, DistributedError), first
    finally:
        processes.close()
