"""Convolutional recognisers of graphemes, trained with CTC."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from torchprobe.errors import SettingError

__all__ = ["GraphemeNet", "LayerShape"]


@dataclass(frozen=True)
class LayerShape:
    """A convolution over time: output channels, kernel and stride.

    Raises:
        SettingError: A number is not positive.
    """

    channels: int
    kernel: int
    stride: int = 1

    def __post_init__(self) -> None:
        if min(self.channels, self.kernel, self.stride) <= 0:
            raise SettingError(f"channels, kernel and stride must be positive: {self}")


class GraphemeNet(nn.Module):
    """Convolutions over time with rectifiers and a linear output for every frame.

    Layers are named `layers.0.conv`, `layers.0.norm`, `layers.0.relu` to `output`.

    Args:
        shapes: The hidden layers from the input on.
        bands: Channels of the spectrogram.
        classes: Channels of the output.
        padded: Whether layers pad, so that there is an output for every `stride` input frames;
            without, outputs are only where the whole receptive field is input.
        batch_norm: Whether to normalise before each rectifier.
        seed: Draws the initial weights without touching the global random state.

    Raises:
        SettingError: A number is not positive.

    >>> net = GraphemeNet.compact()
    >>> net(torch.zeros(2, 128, 100)).shape, net.stride, net.receptive_field
    (torch.Size([2, 29, 50]), 2, 75)
    """

    def __init__(
        self,
        shapes: Sequence[LayerShape],
        bands: int = 128,
        classes: int = 29,
        *,
        padded: bool = True,
        batch_norm: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(bands, classes) <= 0 or not shapes:
            raise SettingError(
                f"wanted layers and positive sizes, not {shapes}, {bands}, {classes}"
            )
        self.shapes = tuple(shapes)
        self.bands = bands
        self.padded = padded
        inputs = [bands, *(shape.channels for shape in shapes)]
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                *(
                    _layer(width, shape, padded=padded, batch_norm=batch_norm)
                    for width, shape in zip(inputs, shapes, strict=False)
                )
            )
            self.output = nn.Conv1d(inputs[-1], classes, 1)

    @classmethod
    def compact(
        cls,
        bands: int = 128,
        classes: int = 29,
        *,
        blocks: int = 3,
        channels: int = 96,
        top: int = 192,
        padded: bool = True,
        seed: int = 0,
    ) -> Self:
        """Returns a net that learns the synthetic corpus in half a minute on two cores.

        Args:
            bands: Channels of the spectrogram.
            classes: Channels of the output.
            blocks: Layers of kernel 7 after the first, whose kernel is 11 and stride 2.
            channels: Channels of these layers.
            top: Channels of the two layers above, whose kernels are 15 and 1.
            padded: Whether layers pad.
            seed: Draws the initial weights.
        """
        shapes = [
            LayerShape(channels, 11, 2),
            *[LayerShape(channels, 7)] * blocks,
            LayerShape(top, 15),
            LayerShape(top, 1),
        ]
        return cls(shapes, bands, classes, padded=padded, seed=seed)

    @classmethod
    def wav2letter(
        cls,
        bands: int = 128,
        classes: int = 29,
        *,
        blocks: int = 7,
        channels: int = 256,
        top: int = 2048,
        padded: bool = True,
        batch_norm: bool = True,
        seed: int = 0,
    ) -> Self:
        """Returns the 11 layers of Krug, Knaebel & Stober 2018, section 2.1.

        The receptive field of these 11 layers is 194 frames; the 206 that the paper states are
        reached with 8 blocks. Batch norm is not in the paper; without it, training is slow.

        Args:
            bands: Channels of the spectrogram.
            classes: Channels of the output.
            blocks: Layers of kernel 7 after the first, whose kernel is 48 and stride 2.
            channels: Channels of these layers.
            top: Channels of the two layers above, whose kernels are 32 and 1.
            padded: Whether layers pad.
            batch_norm: Whether to normalise before each rectifier.
            seed: Draws the initial weights.
        """
        shapes = [
            LayerShape(channels, 48, 2),
            *[LayerShape(channels, 7)] * blocks,
            LayerShape(top, 32),
            LayerShape(top, 1),
        ]
        return cls(shapes, bands, classes, padded=padded, batch_norm=batch_norm, seed=seed)

    @property
    def stride(self) -> int:
        """Input frames from one output frame to the next."""
        stride = 1
        for shape in self.shapes:
            stride *= shape.stride
        return stride

    @property
    def receptive_field(self) -> int:
        """Input frames that one output frame sees."""
        field, stride = 1, 1
        for shape in self.shapes:
            field += (shape.kernel - 1) * stride
            stride *= shape.stride
        return field

    def without_padding(self) -> "GraphemeNet":
        """Returns a copy without padding: fed with a receptive field, it has that one output.

        Its outputs are those that this net has wherever the whole receptive field is input.

        >>> net, window = GraphemeNet.compact().eval(), torch.randn(1, 128, 75)
        >>> net.without_padding()(window).shape
        torch.Size([1, 29, 1])
        """
        norm = any(isinstance(each, nn.BatchNorm1d) for each in self.layers.modules())
        copy = type(self)(
            self.shapes,
            self.bands,
            self.output.out_channels,
            padded=False,
            batch_norm=norm,
        )
        copy.load_state_dict(self.state_dict())
        reference = self.output.weight
        return copy.to(reference.device, reference.dtype).train(self.training)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many output frames inputs of so many frames have, shape [sample]."""
        for shape in self.shapes:
            lengths = self._lengths_after(shape, lengths)
        return lengths

    def forward(self, spectrograms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns logits [sample, class, time] of spectrograms [sample, band, time].

        Args:
            spectrograms: Padded with zeros at their ends.
            lengths: Frames of each spectrogram, shape [sample]. Where given, all layers see zeros
                behind a spectrogram's end, so that in eval mode its logits do not depend on what
                it is batched with.
        """
        values = spectrograms
        for shape, layer in zip(self.shapes, self.layers, strict=True):
            values = layer(values)
            if lengths is not None:
                lengths = self._lengths_after(shape, lengths)
                values = _without_ends(values, lengths)
        logits: Tensor = self.output(values)
        return logits

    def _lengths_after(self, shape: LayerShape, lengths: Tensor) -> Tensor:
        lost = 0 if self.padded else shape.kernel - 1
        return ((lengths - lost - 1) // shape.stride + 1).clamp_min(0)


def _layer(width: int, shape: LayerShape, *, padded: bool, batch_norm: bool) -> nn.Sequential:
    before, after = ((shape.kernel - 1) // 2, shape.kernel // 2) if padded else (0, 0)
    conv = nn.Conv1d(width, shape.channels, shape.kernel, shape.stride, before)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    layers: list[tuple[str, nn.Module]] = [("conv", conv)]
    if before != after:  # an even kernel needs one more zero behind, which a Conv1d cannot add
        layers.insert(0, ("pad", nn.ConstantPad1d((0, 1), 0.0)))
    if batch_norm:
        layers.append(("norm", nn.BatchNorm1d(shape.channels)))
    return nn.Sequential(OrderedDict([*layers, ("relu", nn.ReLU())]))


def _without_ends(values: Tensor, lengths: Tensor) -> Tensor:
    times = torch.arange(values.shape[-1], device=values.device)
    behind = times >= lengths.to(values.device)[:, None]  # [sample, time]
    return values.masked_fill(behind[:, None], 0)
