"""The fully connected phoneme networks of the papers."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn

from torchprobe.errors import SettingError

__all__ = ["PhonemeNet"]


class PhonemeNet(nn.Module):
    """Hidden rectifier layers and a linear output: spliced frames in, logits of phonemes out.

    Layers are named `hidden.0.linear`, `hidden.0.relu` (with `hidden.0.norm` and
    `hidden.0.dropout` where used) to `output`.

    Args:
        features: Width of the input.
        classes: Width of the output.
        hidden: Width of each hidden layer.
        batch_norm: Whether to normalise before each rectifier.
        dropout: Share of the input and of each hidden layer that is dropped in training.
        seed: Draws the initial weights without touching the global random state.

    Raises:
        SettingError: A number is out of range.

    >>> PhonemeNet.nm17_small()(torch.zeros(2, 253)).shape
    torch.Size([2, 40])
    """

    def __init__(
        self,
        features: int = 253,
        classes: int = 40,
        hidden: Sequence[int] = (256,) * 5,
        *,
        batch_norm: bool = False,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        widths = [features, *hidden]
        if min(*widths, classes) <= 0 or not 0 <= dropout < 1:
            raise SettingError(
                f"widths must be positive and dropout in [0, 1): {widths}, {classes}, {dropout}"
            )
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            if dropout:
                self.input_dropout = nn.Dropout(dropout)
            self.hidden = nn.Sequential(
                *(
                    _hidden_layer(width, following, batch_norm=batch_norm, dropout=dropout)
                    for width, following in pairwise(widths)
                )
            )
            self.output = nn.Linear(widths[-1], classes)

    @classmethod
    def nm17_small(cls, features: int = 253, classes: int = 40, *, seed: int = 0) -> Self:
        """Returns five hidden layers of 256 (Nagamine & Mesgarani 2017, section 2.1)."""
        return cls(features, classes, (256,) * 5, seed=seed)

    @classmethod
    def nm17_large(cls, features: int = 253, classes: int = 40, *, seed: int = 0) -> Self:
        """Returns five of 2,048 with batch norm and 20 % dropout (same, section 2.1)."""
        return cls(features, classes, (2048,) * 5, batch_norm=True, dropout=0.2, seed=seed)

    @classmethod
    def gk20(cls, features: int = 253, classes: int = 40, *, seed: int = 0) -> Self:
        """Returns five hidden layers of 1,000 (Grósz & Kurimo 2020, section 3)."""
        return cls(features, classes, (1000,) * 5, seed=seed)

    def forward(self, features: Tensor) -> Tensor:
        """Returns logits [frame, class] of spliced frames [frame, feature]."""
        if hasattr(self, "input_dropout"):
            features = self.input_dropout(features)
        logits: Tensor = self.output(self.hidden(features))
        return logits


def _hidden_layer(width: int, following: int, *, batch_norm: bool, dropout: float) -> nn.Sequential:
    linear = nn.Linear(width, following)
    nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")  # keeps variance through rectifiers
    nn.init.zeros_(linear.bias)
    layers: list[tuple[str, nn.Module]] = [("linear", linear)]
    if batch_norm:
        layers.append(("norm", nn.BatchNorm1d(following)))
    layers.append(("relu", nn.ReLU()))
    if dropout:
        layers.append(("dropout", nn.Dropout(dropout)))
    return nn.Sequential(OrderedDict(layers))
