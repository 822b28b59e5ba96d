"""Small analyzers that tests probe with, and what feeds a probe as a loop of one's own would."""

import torchprobe as tp
from torchprobe.accumulators import GroupMeans, Mean


class ChannelMean(tp.Analyzer):
    """The mean of each channel."""

    name = "mean"

    def start(self, layer):
        self.rows = Mean(layer.channels)

    def update(self, batch):
        self.rows.update(batch.rows())

    def compute(self):
        return self.result(mean=("channel", self.rows.value), n=int(self.rows.count))


class ClassMean(tp.Analyzer):
    """The mean of each class, and how many rows it has."""

    name = "class_mean"
    needs_labels = True

    def start(self, layer):
        self.means = GroupMeans(layer.channels)

    def update(self, batch):
        self.means.update(batch.rows(), batch.groups)

    def compute(self):
        return self.result(
            mean=("class channel", self.means.value),
            counts=("class", self.means.counts),
            coords={"class": self.class_names(self.means.groups)},
        )


class Above(tp.Analyzer):
    """Share of rows above the mean that the pass before has found."""

    name = "above"
    passes = 2

    def start(self, layer):
        self.mean, self.above = Mean(layer.channels), Mean(layer.channels)

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


def feed(probe, batches):
    """Let a probe see batches of values and labels as a loop of one's own would."""
    with probe:
        for values, labels in batches:
            with probe.batch(labels):
                probe.model(values)
