"""Every analyzer that is installed keeps the contract."""

import pytest
from analyzers import ClassMean

import torchprobe as tp
from torchprobe.accumulators import Mean
from torchprobe.testing import check_analyzer


@pytest.mark.parametrize("name", sorted(tp.plugins().analyzers()))
def test_installed_analyzers_keep_the_contract(name):
    check_analyzer(tp.plugins().analyzer(name))


class Counting(ClassMean):
    """Keeps state outside accumulators."""

    def start(self, layer):
        super().start(layer)
        self.calls = 0

    def update(self, batch):
        super().update(batch)
        self.calls += 1

    def compute(self):
        return self.result(calls=self.calls, means=("class channel", self.means.value))


class Hoarding(ClassMean):
    def start(self, layer):
        super().start(layer)
        self.kept = [Mean(layer.channels)]

    def update(self, batch):
        super().update(batch)
        self.kept.append(Mean(batch.layer.channels))
        self.kept[-1].update(batch.rows())


class Scribbling(ClassMean):
    def update(self, batch):
        batch.values.zero_()
        super().update(batch)


class Gambling(ClassMean):
    def update(self, batch):
        import torch

        torch.rand(1)
        super().update(batch)


class MeanOfBatchMeans(ClassMean):
    """The usual mistake: batches of different sizes weigh the same."""

    needs_labels = False

    def start(self, layer):
        self.mean = Mean(layer.channels)

    def update(self, batch):
        self.mean.update(batch.rows().mean(0, keepdim=True))

    def compute(self):
        return self.result(mean=("channel", self.mean.value))


def test_a_good_analyzer_passes():
    check_analyzer(ClassMean)


@pytest.mark.parametrize(
    ("analyzer", "promise"),
    [
        (Counting, "nothing_seen|batch_size|merging|saved"),
        (Hoarding, "batch_size|saved|state_does_not_grow|merging"),
        (Scribbling, "inputs_are_not_written_to|batch_size"),
        (Gambling, "no_random_numbers"),
        (MeanOfBatchMeans, "batch_size_does_not_matter"),
    ],
)
def test_a_broken_promise_is_named(analyzer, promise):
    with pytest.raises(AssertionError, match=promise):
        check_analyzer(analyzer)
