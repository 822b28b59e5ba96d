"""The topographic loss beside a training step without it, and beside loops and plain autograd."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchprobe_topography import Grid, Neighbourhood, TopographicLoss, attach

from benchmarks.measure import Comparison, overhead, seconds

BATCH, FRAMES, BANDS = 8, 230, 128


def wav2letter() -> nn.Sequential:
    """Eleven convolutions as in Wav2Letter, with the paper's 256 and 2,048 filters."""
    torch.manual_seed(0)
    widths = [(BANDS, 256, 48, 2), *[(256, 256, 7, 1)] * 7, (256, 2048, 32, 1), (2048, 2048, 1, 1)]
    layers: list[nn.Module] = []
    for inputs, outputs, size, stride in widths:
        layers += [nn.Conv1d(inputs, outputs, size, stride, padding=size // 2), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv1d(2048, 29, 1))


class Training:
    """A net and what one of its training steps does."""

    def __init__(self, *, attached: bool = False, every: int = 1) -> None:
        self.model = wav2letter()
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-4)
        self.x = torch.randn(BATCH, BANDS, FRAMES)
        if attached:
            attach(loss_of_all(), self.model, self.optimizer, every=every)

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.model(self.x).logsumexp(1).mean().backward()
        self.optimizer.step()

    def steps(self, n: int) -> None:
        for _ in range(n):
            self.step()


def loss_of_all() -> TopographicLoss:
    return TopographicLoss(nn.Conv1d, 1e-3, uneven="pad")


def run() -> Iterator[Comparison]:
    yield from training_step()
    yield from double_loop()
    yield shifts()


def training_step() -> Iterator[Comparison]:
    """What a step costs with all eleven layers regularised."""
    setup = f"11 layers, 26 million weights, batch {BATCH} x {FRAMES} frames, Adam"
    plain, attached, loss = Training(), Training(attached=True), loss_of_all()
    without, with_ = overhead(plain.step, attached.step, repeats=15)
    yield Comparison("step, attached", with_, without, "without", "s", setup)
    lazy = Training(attached=True, every=2)
    without, with_ = overhead(lambda: plain.steps(2), lambda: lazy.steps(2), repeats=7)
    name = "two steps, attached with every=2"
    yield Comparison(name, with_, without, "without", "s", setup)
    plain.step()  # gradients to add to
    taken = seconds(lambda: loss.add_gradient(plain.model), plain.step, repeats=5, warm=1)
    yield Comparison("gradient of all layers", *taken, "a step", "s", setup)


def double_loop() -> Iterator[Comparison]:
    """Loss and gradient beside the loops that the formula says, filter by filter."""
    weight = torch.randn(256, 256 * 7)
    model = nn.Sequential(nn.Linear(256 * 7, 256, bias=False))
    model[0].weight.data.copy_(weight)
    loss = TopographicLoss("0", 1.0)
    loops = weight.clone().requires_grad_()
    ours, rival = seconds(
        lambda: loss(model).backward(), lambda: by_loops(loops, 16).backward(), repeats=5, warm=1
    )
    yield Comparison("loss and gradient", ours, rival, "double loop", "s", "256 filters of 256 x 7")
    exact, model = weight.double(), model.double()
    difference = abs(loss(model).item() - by_loops(exact, 16).item())
    yield Comparison("difference", difference, 1e-9, "1e-9", "", "float64, the same filters")


def by_loops(filters: Tensor, columns: int) -> Tensor:
    """The formula, filter by filter and neighbour by neighbour."""
    total, rows = filters.new_zeros(()), len(filters) // columns
    for unit in range(len(filters)):
        row, column = divmod(unit, columns)
        cells = [
            (down**2 + right**2, (row + down) * columns + column + right)
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
            if (down, right) != (0, 0) and 0 <= row + down < rows and 0 <= column + right < columns
        ]
        weights = sum(square**-0.5 for square, _ in cells)
        for square, other in cells:
            alike = functional.cosine_similarity(filters[unit], filters[other], dim=0, eps=1e-8)
            total = total + square**-0.5 / weights * (1 - alike)
    return total


def shifts() -> Comparison:
    """The largest layer beside what a careful user would write: autograd over gathered pairs."""
    model = nn.Sequential(nn.Conv1d(256, 2048, 32))
    loss, pairs = TopographicLoss("0", 1.0), Neighbourhood().pairs(Grid.of(2048))
    first, second = torch.as_tensor(pairs.first), torch.as_tensor(pairs.second)
    weight, other = torch.as_tensor(pairs.weight).float(), wav2letter()[16].weight.detach().clone()
    other.requires_grad_()

    def gathered() -> None:
        filters = functional.normalize(other.flatten(1), dim=1, eps=1e-8)
        cosines = (filters[first] * filters[second]).sum(1)
        (weight * (1 - cosines)).sum().backward()

    ours, rival = seconds(lambda: loss.add_gradient(model), gathered, repeats=5, warm=1)
    return Comparison("gradient", ours, rival, "autograd", "s", "2,048 filters of 256 x 32")
