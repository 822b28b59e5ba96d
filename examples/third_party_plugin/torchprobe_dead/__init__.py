"""A torchprobe plugin: which units are dead?"""

from torchprobe import Analyzer, hookimpl
from torchprobe.accumulators import Mean


class DeadUnits(Analyzer):
    """Fraction of rows in which a channel is not active."""

    name = "dead_units"

    def start(self, layer):
        self.active = Mean(layer.channels)

    def update(self, batch):
        self.active.update(batch.rows() > 0)  # [row, channel]

    def compute(self):
        return self.result(dead=("channel", 1 - self.active.value))  # 0..1


@hookimpl
def torchprobe_analyzers():
    return [DeadUnits]
