"""Measures, on any model, what each layer's positions see of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torchprobe.errors import LayoutError
from torchprobe.receptive_fields.behind import all_placed
from torchprobe.receptive_fields.lengths import cut_to_measure
from torchprobe.receptive_fields.source import Source
from torchprobe.receptive_fields.study import Study
from torchprobe.receptive_fields.survey import Survey
from torchprobe.receptive_fields.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from torchprobe.axes import Axes
    from torchprobe.positions import PositionsMap

    AxesOf = Callable[[str, str, nn.Module, tuple[int, ...], int | None], Axes]

__all__ = ["Measured", "measure"]


@dataclass(frozen=True)
class Measured:
    """What was found out about a model for inputs of one kind."""

    axes: tuple[str, ...]
    """Of the input."""
    sizes: Mapping[str, int]
    """Positions of the input along each axis."""
    layers: Mapping[str, PositionsMap]
    """By layer, in the order of execution; those without positions are not among them."""

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether it is right for an input of these sizes: tokens of an image are only for its."""
        grids = any(each.grid for each in self.layers.values())
        return not grids or dict(sizes) == dict(self.sizes)


def measure(
    model: nn.Module,
    modules: Mapping[str, nn.Module],
    inputs: tuple[Any, Any],
    axes: tuple[str, ...],
    axes_of: AxesOf,
) -> Measured:
    """What each layer's positions see of the input, by replacing parts of it and looking.

    Runs the model a few times on one sample of the inputs, repeated; see `Study` for how it is left
    alone and `Evidence` for how answers become exact strides, offsets and fields.

    Args:
        model: the module that is called.
        modules: those to be measured, by canonical name.
        inputs: (args, kwargs) of a call.
        axes: of the input; tokens have no channel.
        axes_of: axes of a layer's output, from (name, path, module, shape, call).

    Raises:
        LayoutError: there is no input with positions, or the model refuses it when changed.

    Example:
        >>> import torch
        >>> from torchprobe.axes import Axes
        >>> conv, x = torch.nn.Conv1d(2, 8, kernel_size=5, stride=2), torch.randn(1, 2, 30)
        >>> axes = Axes.parse("sample channel time")
        >>> measured = measure(conv, {"conv": conv}, ((x,), {}), axes.names, lambda *_: axes)
        >>> measured.layers["conv"]["time"]
        Map(stride 2, offset 2, field 5)
    """
    tap = Tap(modules, axes_of)
    with Study(model, Source.of(inputs, axes), tap) as study:
        try:
            _look_up_tokens(study, inputs)
            survey = Survey(study, cut_to_measure(study))
            survey.ask()
            maps = all_placed(study, survey)
        except Exception as error:
            raise LayoutError(
                "what layers see of the input could not be measured, as the model does not run on "
                f"changed inputs: {type(error).__name__}: {error}"
            ) from error
    return Measured(study.source.axes, survey.given.sizes, maps)


def _look_up_tokens(study: Study, inputs: tuple[Any, Any]) -> None:
    """Tokens have the axes of the layer that embeds them."""
    if study.source.tokens is None:
        return
    study.shapes(study.source.sizes)
    for shape, names in study.tap.met.items():
        if shape[:-1] == tuple(study.source.input.shape) and names[-1] == "channel":
            study.source = Source.of(inputs, names[:-1])
            return
