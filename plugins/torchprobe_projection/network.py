"""The network of an autoencoder whose narrowest layer is the plane; a map to keep for ever."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, skip_init, vector_to_parameters

from torchprobe import Field
from torchprobe.errors import LayerNotFoundError, SettingError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from torchprobe import Result
    from torchprobe_projection.clouds import Array

__all__ = ["PlaneNetwork", "encoder"]

PLANE = 2


class PlaneNetwork(nn.Module):
    """Standardised rows through rectified layers to two linear units and back again.

    ``forward`` encodes; `decode` leads from the plane back to activations. Evaluated in float64,
    where what else is in a batch changes a point by less than 1e-12.

    It begins with zeros throughout; `draw` begins a training.

    Args:
        mean: what is subtracted from each channel, [channel].
        scale: what each channel is then divided by, [channel].
        widths: of all layers from the input to the output, both as wide as a row; the middle one,
            linear like the output, is 2.

    Raises:
        SettingError: the widths are no such sequence.

    Source: Grósz & Kurimo 2020, section 2.3; rectifiers and standardisation are not stated there.

    Example:
        >>> wide = PlaneNetwork.of_width(1000, hidden=(100, 10))
        >>> wide.widths, sum(weights.numel() for weights in wide.parameters())
        ((1000, 100, 10, 2, 10, 100, 1000), 203262)
    """

    mean: Tensor
    scale: Tensor

    @torch.inference_mode(mode=False)  # what is made under inference mode can never be trained
    def __init__(self, mean: ArrayLike, scale: ArrayLike, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = tuple(int(width) for width in widths)
        middle = len(self.widths) // 2
        ends = {len(np.atleast_1d(mean)), self.widths[0], self.widths[-1]}
        if len(self.widths) % 2 == 0 or self.widths[middle] != PLANE or len(ends) > 1:
            raise SettingError(
                f"widths {self.widths} do not lead to {PLANE} units and back; e.g. "
                "(1000, 100, 10, 2, 10, 100, 1000)"
            )
        self.register_buffer("mean", torch.as_tensor(np.array(mean, np.float64)))
        self.register_buffer("scale", torch.as_tensor(np.array(scale, np.float64)))
        self.encode_layers = _layers(self.widths[: middle + 1])
        self.decode_layers = _layers(self.widths[middle:])

    @classmethod
    def of_width(cls, channels: int, hidden: Sequence[int]) -> Self:
        """A network for rows of so many channels, which are neither shifted nor scaled."""
        widths = (channels, *hidden, PLANE, *reversed(hidden), channels)
        return cls(np.zeros(channels), np.ones(channels), widths)

    @torch.no_grad()
    def draw(self, seed: int) -> Self:
        """Draw all parameters as `torch.nn.Linear` does, uniform within ±1/√(inputs)."""
        generator = torch.Generator().manual_seed(seed)
        for linear in (*self.encode_layers, *self.decode_layers):
            if isinstance(linear, nn.Linear):
                bound = linear.in_features**-0.5
                linear.weight.uniform_(-bound, bound, generator=generator)
                linear.bias.uniform_(-bound, bound, generator=generator)
        return self

    def forward(self, rows: ArrayLike | Tensor) -> Tensor:
        """Where rows [row, channel] lie in the plane: [row, 2].

        Raises:
            ShapeError: the rows have another width.
        """
        given = self._checked(rows).to(self.mean)
        points: Tensor = self.encode_layers((given - self.mean) / self.scale)
        return points

    def decode(self, points: ArrayLike | Tensor) -> Tensor:
        """Activations [row, channel] that points of the plane [row, 2] stand for."""
        rows: Tensor = self.decode_layers(_tensor(points).to(self.mean))
        return rows * self.scale + self.mean

    def transform(self, rows: ArrayLike | Tensor) -> Array:
        """`forward` to an array [row, 2], without gradients and several times as fast.

        In blocks, each standardised by weights that do so: the two agree to rounding.

        Raises:
            ShapeError: the rows have another width.
        """
        given, first = self._checked(rows), self.encode_layers[0]
        assert isinstance(first, nn.Linear)
        with torch.no_grad():
            weight = first.weight / self.scale
            bias = first.bias - weight @ self.mean
            blocks = [
                self.encode_layers[1:](torch.addmm(bias, block.to(weight), weight.T))
                for block in given.split(BLOCK)
            ]
            return np.asarray(torch.cat(blocks).numpy(force=True))

    def _checked(self, rows: ArrayLike | Tensor) -> Tensor:
        given = _tensor(rows)
        if given.ndim != 2 or given.shape[1] != self.widths[0]:  # noqa: PLR2004 - [row, channel]
            raise ShapeError(
                f"this encoder takes rows [row, {self.widths[0]}] but got {tuple(given.shape)}"
            )
        return given

    @torch.inference_mode(mode=False)
    def kept(self) -> Self:
        """This network as it is to be kept: in float64, nothing left to train."""
        return self.double().requires_grad_(requires_grad=False).eval()

    def fields(self, name: str) -> dict[str, Field]:
        """What `encoder` makes the network from again, under a method's name."""
        return {
            f"{name}_parameters": Field(
                (f"{name}_parameter",), parameters_to_vector(self.parameters()).detach()
            ),
            f"{name}_widths": Field((f"{name}_layer",), np.array(self.widths)),
            f"{name}_mean": Field("channel", self.mean),
            f"{name}_scale": Field("channel", self.scale),
        }


BLOCK = 2048
"""Rows encoded at once: 16 MB of 1,000 channels in float64, which a processor's cache can hold."""


def encoder(result: Result, method: str = "autoencoder") -> PlaneNetwork:
    """The fixed map of a layer's rows to the plane, from a result just computed or loaded.

    Nothing is optimised, nothing else is needed: ``encoder(result).transform(rows)`` gives rows
    [row, channel] of any number their places [row, 2], the same in whatever company they come.

    Args:
        result: of the analyzer "projection".
        method: "autoencoder", "pca" or another whose map results keep.

    Raises:
        LayerNotFoundError: the result holds no map of this method; says which it holds.
    """
    held = [field.removesuffix("_widths") for field in result if field.endswith("_widths")]
    if method not in held:
        raise LayerNotFoundError(
            f"the result of layer {result.layer!r} holds no map of method {method!r}; it holds "
            f"{', '.join(map(repr, held)) or 'none'} (t-SNE and UMAP lay out points, they keep "
            "no map)"
        )
    part: dict[str, Any] = {
        name: result[f"{method}_{name}"].values for name in ("mean", "scale", "widths")
    }
    network = PlaneNetwork(**part).double()
    values = torch.from_numpy(result[f"{method}_parameters"].values.copy())
    vector_to_parameters(values.double(), network.parameters())
    return network.kept()


def _tensor(rows: ArrayLike | Tensor) -> Tensor:
    """Rows as a tensor that shares their memory, unless that is read-only as in a result."""
    if isinstance(rows, Tensor):
        return rows
    return torch.from_numpy(np.require(rows, requirements=("C", "W")))


def _layers(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with rectifiers between them, none after the last."""
    layers: list[nn.Module] = []
    for width, following in pairwise(widths):
        # zeros, not numbers from torch's generator: loading a result must not change what it draws
        linear = skip_init(nn.Linear, width, following, dtype=torch.float32, device="cpu")
        linear.apply(_zero)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@torch.no_grad()
def _zero(linear: nn.Module) -> None:
    for parameter in linear.parameters():
        parameter.zero_()
