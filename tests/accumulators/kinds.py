"""Every accumulator with data for it and what is read from it: what the contract is tested on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators import (
    Accumulator,
    BoundedSample,
    Confusion,
    Counts,
    CrossScatter,
    Gram,
    GroupMeans,
    Mean,
    Moments,
    QRFactor,
    Scatter,
    Top,
    WithinScatter,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Kind:
    """How to make, feed and read one kind of accumulator."""

    make: Callable[[], Accumulator]
    arguments: str
    """What `update` takes, one letter each: see `Data`."""
    reads: tuple[str, ...]
    relabels: bool = False

    def feed(self, accumulator, data, rows=slice(None)):
        accumulator.update(*data.select(self.arguments, rows))
        return accumulator

    def fed(self, data, rows=slice(None)):
        return self.feed(self.make(), data, rows)

    def read(self, accumulator):
        """Everything it says, empty if it has seen nothing."""
        if not accumulator.state:
            return {}
        return {name: torch.as_tensor(self.read_one(accumulator, name)) for name in self.reads}

    def read_one(self, accumulator, name):
        if name == "gram":  # R itself is unique up to signs only
            return accumulator.value.mT @ accumulator.value
        if name == "variance":
            return torch.zeros(0) if accumulator.variance() is None else accumulator.variance()
        return getattr(accumulator, name)


class Data:
    """Random rows with everything an accumulator may want to know of them."""

    def __init__(self, n, seed=0, channels=3):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        def integers(high):
            return torch.randint(-1, high, (n,), generator=generator)

        self.columns = {
            "x": normal(n, channels) * 3 + 100,
            "y": normal(n, 2) - 7,
            "m": normal(n, 2, channels),
            "b": normal(n, channels) > 0,
            "l": integers(4),
            "p": integers(5),
            "i": torch.arange(n) * 7 - 5,
            "s": (normal(n) * 2).round(),
        }

    def select(self, names, rows=slice(None)):
        return [self.columns[name][rows] for name in names]


_ITEMS = ("ids", "labels", "rows")

KINDS = {
    "Confusion": Kind(Confusion, "lp", ("labels", "matrix", "class_accuracy"), relabels=True),
    "Counts": Kind(lambda: Counts(3), "b", ("count", "value", "fraction")),
    "CrossScatter": Kind(
        lambda: CrossScatter(3, 2),
        "xy",
        ("count", "mean_x", "mean_y", "value", "squares_x", "squares_y"),
    ),
    "Gram": Kind(lambda: Gram(3), "x", ("count", "value")),
    "Gram per node": Kind(lambda: Gram(3, 2), "m", ("count", "value")),
    "GroupMeans": Kind(lambda: GroupMeans(3), "xl", ("groups", "counts", "value"), relabels=True),
    "GroupMeans of maps": Kind(lambda: GroupMeans((2, 3)), "ml", ("groups", "counts", "value")),
    "Mean": Kind(lambda: Mean(3), "x", ("count", "value")),
    "Mean of maps": Kind(lambda: Mean((2, 3)), "m", ("count", "value")),
    "Mean of booleans": Kind(lambda: Mean(3), "b", ("count", "value")),
    "Moments": Kind(lambda: Moments(3), "x", ("count", "mean", "variance")),
    "Moments of numbers": Kind(lambda: Moments(()), "s", ("count", "mean", "variance")),
    "QRFactor": Kind(lambda: QRFactor(3), "x", ("count", "gram")),
    "BoundedSample": Kind(lambda: BoundedSample(3, n=4), "xi", _ITEMS),
    "BoundedSample with labels": Kind(
        lambda: BoundedSample(3, n=4, seed=9), "xil", _ITEMS, relabels=True
    ),
    "BoundedSample per group": Kind(
        lambda: BoundedSample(3, n=2, per_group=True), "xil", _ITEMS, relabels=True
    ),
    "Scatter": Kind(lambda: Scatter(3), "x", ("count", "mean", "value")),
    "Top": Kind(lambda: Top(4, 3), "xis", (*_ITEMS, "scores")),
    "Top per group": Kind(
        lambda: Top(2, 3, largest=False, per_group=True), "xisl", (*_ITEMS, "scores"), relabels=True
    ),
    "WithinScatter": Kind(
        lambda: WithinScatter(3),
        "xl",
        ("groups", "counts", "means", "within", "between", "total"),
        relabels=True,
    ),
}
