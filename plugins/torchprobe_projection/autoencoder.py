"""An autoencoder with a bottleneck of two units, trained on the sample of training rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from torchprobe import Field
from torchprobe.errors import SettingError
from torchprobe_projection.network import PLANE, PlaneNetwork
from torchprobe_projection.projector import Fitted, Projector, require_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torchprobe_projection.clouds import Array

__all__ = ["Autoencoder"]

ROUNDING = 1e-12  # a standard deviation below this share of a channel's size is that of a constant


class Autoencoder(Projector):
    """D → 100 → 10 → 2 → 10 → 100 → D, trained to give back its input; its encoder is the map.

    Rectified hidden layers, linear bottleneck and output, mean squared error, Adam. A part of the
    rows is held out; training ends when their loss has not fallen by a thousandth for ``patience``
    epochs, and the best weights are kept. Losses are shares of the variance that is lost: 1 is what
    giving back the mean of each channel would lose.

    It learns from a bounded sample rather than while activations stream: what gradient descent
    finds depends on the order of its batches and cannot be merged, so that a streamed one would
    change with the number of processes.

    Args:
        hidden: widths between the input and the plane.
        epochs: passes over the rows at most. The demo's layers are within a twentieth of their
            final loss after 40, which take a second.
        batch: rows in one step of training.
        rate: Adam's learning rate.
        patience: epochs without progress before training ends.
        held_out: share of the rows kept for judging progress.
        standardise: scale channels to the same spread; if not, all by one number, which keeps the
            geometry that the Procrustes distance measures.

    Raises:
        SettingError: an option is out of range.

    Source: Grósz & Kurimo 2020, section 2.3. Activation functions, optimiser, standardisation,
    stopping and batch are not stated there.
    """

    name = "autoencoder"
    title = "autoencoder"
    trained = True

    def __init__(
        self,
        hidden: Sequence[int] = (100, 10),
        epochs: int = 40,
        batch: int = 64,
        rate: float = 1e-3,
        patience: int = 5,
        held_out: float = 0.1,
        *,
        standardise: bool = True,
    ) -> None:
        counts = {"epochs": epochs, "batch": batch, "patience": patience}
        for name, count in {**counts, "hidden": min(hidden, default=1)}.items():
            if count < 1:
                raise SettingError(f"autoencoder: {name}={count}; give at least 1")
        if not (0 < held_out < 1 and rate > 0):
            raise SettingError(
                f"autoencoder: held_out={held_out}, rate={rate}; give a share between 0 and 1 and "
                "a positive rate, e.g. 0.1 and 0.001"
            )
        self.hidden, self.epochs, self.batch, self.rate = tuple(hidden), epochs, batch, rate
        self.patience, self.held_out, self.standardise = patience, held_out, standardise

    @torch.inference_mode(mode=False)
    def fit(self, rows: Array, seed: int) -> Fitted:
        """Train on rows [row, channel], of which the last ones are held out.

        Raises:
            InsufficientDataError: fewer than ten rows.
        """
        require_rows(rows, 10, "an autoencoder", "give more training data")
        network = self._network(rows, seed)
        standard = rows - network.mean.numpy()
        standard /= network.scale.numpy()
        with torch.enable_grad():
            losses = self._train(network, torch.from_numpy(standard).float(), seed)
        fields = {"loss": Field("epoch part", losses, range=(0, None))}
        return Fitted(transform=network.kept().place, network=network, fields=fields)

    def _network(self, rows: Array, seed: int) -> PlaneNetwork:
        mean = rows.mean(axis=0, dtype=np.float64)
        spread = rows.std(axis=0, dtype=np.float64)
        spread[spread <= ROUNDING * np.abs(rows).max(axis=0)] = 0.0
        if not self.standardise:
            spread[:] = np.sqrt(np.square(spread).mean())
        channels = rows.shape[1]
        widths = (channels, *self.hidden, PLANE, *reversed(self.hidden), channels)
        return PlaneNetwork(mean, np.where(spread > 0, spread, 1.0), widths).draw(seed)

    def _train(self, network: PlaneNetwork, rows: Tensor, seed: int) -> Array:
        """Loss on the rows learnt from and on those held out: [epoch, part]."""
        held = max(1, round(len(rows) * self.held_out))
        learnt, judged = rows[:-held], rows[-held:]
        whole = nn.Sequential(*network.encode_layers, *network.decode_layers)
        # fused: an ordinary step spends more time in Python than in its arithmetic
        adam = torch.optim.Adam(whole.parameters(), self.rate, fused=True)
        order = torch.Generator().manual_seed(seed)
        progress = _Progress(whole, self.patience)
        for _ in range(self.epochs):
            sums = [
                _step(whole, adam, learnt[part]) * len(part)
                for part in torch.randperm(len(learnt), generator=order).split(self.batch)
            ]
            with torch.no_grad():
                unseen = float(_loss(whole, judged))
            if progress.ends(float(sum(sums)) / len(learnt), unseen):
                break
        progress.restore()
        return np.array(progress.losses)


@dataclass
class _Progress:
    """The losses so far, and the weights that were best."""

    network: nn.Module
    patience: int
    losses: list[tuple[float, float]] = field(default_factory=list)
    best: float = np.inf
    waited: int = 0
    weights: list[Tensor] = field(default_factory=list)

    def ends(self, learnt: float, unseen: float) -> bool:
        """Take in the losses of an epoch; whether training shall end."""
        self.losses.append((learnt, unseen))
        self.waited = 0 if unseen < 0.999 * self.best else self.waited + 1
        if unseen < self.best or not self.weights:
            self.best = min(self.best, unseen)
            self.weights = [each.detach().clone() for each in self.network.parameters()]
        return self.waited >= self.patience

    def restore(self) -> None:
        """Put the best weights back."""
        with torch.no_grad():
            for each, best in zip(self.network.parameters(), self.weights, strict=True):
                each.copy_(best)


def _step(network: nn.Module, adam: torch.optim.Optimizer, rows: Tensor) -> Tensor:
    loss = _loss(network, rows)
    adam.zero_grad()
    loss.backward()
    adam.step()
    return loss.detach()


def _loss(network: nn.Module, rows: Tensor) -> Tensor:
    return nn.functional.mse_loss(network(rows), rows)
