"""Made-up data for analyzers: of one layer, and of a small network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from torchprobe.axes import Axes
from torchprobe.batch import LayerBatch
from torchprobe.labels import Labels
from torchprobe.layer import Layer
from torchprobe.network import Network, NetworkBatch

if TYPE_CHECKING:
    from torch import Tensor

    from torchprobe.analyzer import Analyzer

__all__ = ["Example", "NetworkExample", "example", "example_for", "network_example"]


@dataclass(frozen=True)
class Example:
    """Made-up data of one layer: well separated classes, so that results are stable."""

    layer: Layer
    values: Tensor
    """[sample, channel, *positions], float32."""
    labels: Tensor
    """[sample], int64, one of them ignored (-1)."""
    ids: Tensor
    """[sample], int64."""
    gradients: Tensor
    """As `values`; what an objective's gradients could be."""

    @property
    def subject(self) -> Layer | Network:
        """What an analyzer is forked for."""
        return self.layer

    def batch(
        self, index: Tensor, split: str = "fit", number: int = 0
    ) -> LayerBatch | NetworkBatch:
        """Some samples as a batch."""
        labels = Labels(self.labels[index], ids=self.ids[index])
        values, gradients = self.values[index], self.gradients[index]
        return LayerBatch(
            self.layer, values, labels, split=split, number=number, gradients=gradients
        )

    def objective(self, output: Tensor, labels: Labels) -> Tensor:
        """An objective whose gradients at the samples are `gradients`."""
        assert labels.ids is not None
        at = {number: place for place, number in enumerate(self.ids.tolist())}
        index = [at[number] for number in labels.ids.tolist()]
        return output * self.gradients[index]

    def part(self, index: Tensor) -> Example:
        """Some samples only."""
        names = ("values", "labels", "ids", "gradients")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def take(self, n: int) -> Example:
        """The first samples only."""
        return self.part(torch.arange(n))

    def __len__(self) -> int:
        return len(self.values)


def example(
    n: int = 96, channels: int = 6, positions: tuple[int, ...] = (), seed: int = 0
) -> Example:
    """Data with four classes, of which 3 rows in 4 count."""
    generator = torch.Generator().manual_seed(seed)
    names = ("time",) if len(positions) == 1 else ("height", "width")[: len(positions)]
    labels = torch.arange(n) % 4
    centres = 3 * torch.randn(4, channels, *positions, generator=generator)
    noise = torch.randn(n, channels, *positions, generator=generator)
    shape = (n, channels, *positions)
    return Example(
        Layer("layer", Axes(("sample", "channel", *names)), shape, "Linear"),
        centres[labels] + noise,
        labels.masked_fill(torch.arange(n) % 13 == 5, -1),  # noqa: PLR2004 - a few are ignored
        1000 + torch.randperm(n, generator=generator),
        centres.roll(1, 0)[labels] + torch.randn(shape, generator=generator),
    )


@dataclass(frozen=True)
class NetworkExample(Example):
    """Made-up inputs of a small network in float64, four classes to its four outputs."""

    network: Network

    @property
    def subject(self) -> Network:
        """What an analyzer of scope "network" is forked for."""
        return self.network

    def batch(self, index: Tensor, split: str = "fit", number: int = 0) -> NetworkBatch:
        """Some samples as one call of the network."""
        values, labels = self.values[index], Labels(self.labels[index], ids=self.ids[index])
        output = self.network.model(values)
        return NetworkBatch(self.network, (values,), {}, output, labels, split, number)


def network_example(n: int = 96, positions: tuple[int, ...] = (), seed: int = 0) -> NetworkExample:
    """Inputs for a network of one hidden layer, a convolution where there are positions."""
    data = example(n, positions=positions, seed=seed)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = _small_net(len(positions)).double().eval()
    values = data.values.double()
    layers, current = [], values
    for name, module in model.named_children():
        current = module(current)
        axes = Axes(data.layer.axes.names[: current.ndim])
        kind = type(module).__name__
        layers.append(Layer(name, axes, tuple(current.shape), kind, torch.float64))
    network = Network("model", model, tuple(layers), ((values.to("meta"),), {}))
    return NetworkExample(data.layer, values, data.labels, data.ids, data.gradients, network)


def _small_net(positions: int) -> nn.Sequential:
    if not positions:
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    convolution = nn.Conv1d if positions == 1 else nn.Conv2d
    average = nn.AdaptiveAvgPool1d if positions == 1 else nn.AdaptiveAvgPool2d
    return nn.Sequential(
        convolution(6, 5, 3, padding=1), nn.ReLU(), average(1), nn.Flatten(), nn.Linear(5, 4)
    )


def example_for(analyzer: Analyzer, positions: tuple[int, ...]) -> Example:
    """Made-up data of the scope of an analyzer."""
    if analyzer.scope == "network":
        return network_example(positions=positions)
    return example(positions=positions)
