"""Which weights of a module are the filters of its units."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from torchprobe.errors import AttachError, LayerNotFoundError, SettingError, ShapeError
from torchprobe.selection import select

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from torchprobe.selection import Selector

__all__ = ["Filters", "find_filters"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_INPUT_FIRST = "Conv1D"  # of Hugging Face's GPT-2: a linear layer with weights [input, unit]


@dataclass(frozen=True)
class Filters:
    """The filters of one layer: all weights that lead to each unit, without biases."""

    name: str
    """The layer, or the part of it: ``conv1``, ``attention.q``."""
    _module: weakref.ref[nn.Module]
    attribute: str = "weight"
    axis: int = 0
    """Which axis of the weight is that of the units."""
    part: tuple[int, int] | None = None
    """The units that count, where one weight holds several layers'."""

    @property
    def module(self) -> nn.Module:
        """The module that they belong to."""
        module = self._module()
        assert module is not None, f"the module of {self.name!r} is gone"
        return module

    @property
    def weight(self) -> Tensor:
        """The weight that holds them, parametrized or not."""
        weight: Tensor = getattr(self.module, self.attribute)
        return weight

    def of(self, weight: Tensor) -> Tensor:
        """The filters in a weight or in a gradient of its shape, [unit, feature]; a view if it can.

        Raises:
            ShapeError: it has no axis of features: sharded, or not a weight.
        """
        if weight.ndim < 2:  # noqa: PLR2004
            raise ShapeError(
                f"the weight of {self.name!r} has shape {tuple(weight.shape)}; the topographic "
                "loss needs whole weights [unit, ...] (sharded training is not supported)"
            )
        return self.cells(weight).flatten(1)

    def cells(self, weight: Tensor) -> Tensor:
        """The same without flattening, always a view: [unit, ...]."""
        units = weight.movedim(self.axis, 0)
        return units if self.part is None else units[slice(*self.part)]

    @property
    def units(self) -> int:
        """How many filters there are."""
        return len(self.of(self.weight))


def find_filters(model: nn.Module, layers: Selector) -> list[Filters]:
    """The filters of the chosen layers, in the model's order.

    Modules without filters (activations, pooling, containers) are passed over: a glob may take
    them along. Of `torch.nn.MultiheadAttention` the projections of queries, keys and values are
    layers of their own, called ``name.q``, ``name.k`` and ``name.v``; ``name.out_proj`` is chosen
    by its own name.

    Raises:
        LayerNotFoundError: no chosen layer has filters.
        SettingError: a weight does not exist yet, or a transposed convolution has groups.
        AttachError: weights are sharded over processes.
    """
    chosen = select(model, layers).modules
    found = [each for name, module in chosen.items() for each in _of_module(name, module)]
    if not found:
        kinds = sorted({type(module).__name__ for module in chosen.values()})
        raise LayerNotFoundError(
            f"none of the {len(chosen)} chosen layers has filters ({', '.join(kinds)}); choose "
            "Linear, Conv1d to Conv3d, ConvTranspose1d to 3d or MultiheadAttention"
        )
    for filters in found:
        _check(filters)
    return found


def _of_module(name: str, module: nn.Module) -> Iterator[Filters]:
    itself: weakref.ref[nn.Module] = weakref.ref(module)
    if isinstance(module, nn.MultiheadAttention):
        yield from _of_attention(name, module)
    elif isinstance(module, (nn.Linear, *_CONVOLUTIONS)):
        yield Filters(name, itself)
    elif isinstance(module, _TRANSPOSED):
        if module.groups != 1:
            raise SettingError(
                f"layer {name!r} is a transposed convolution with {module.groups} groups, whose "
                "weight does not hold its units along one axis; leave it out"
            )
        yield Filters(name, itself, axis=1)
    elif type(module).__name__ == _INPUT_FIRST and hasattr(module, "nf"):
        yield Filters(name, itself, axis=1)


def _of_attention(name: str, module: nn.MultiheadAttention) -> Iterator[Filters]:
    itself: weakref.ref[nn.Module] = weakref.ref(module)
    width = module.embed_dim
    for place, letter in enumerate("qkv"):
        if module.in_proj_weight is None:
            yield Filters(f"{name}.{letter}", itself, f"{letter}_proj_weight")
        else:
            part = place * width, (place + 1) * width
            yield Filters(f"{name}.{letter}", itself, "in_proj_weight", part=part)


def _check(filters: Filters) -> None:
    weight = filters.weight
    if is_lazy(weight):
        raise SettingError(
            f"the weight of {filters.name!r} does not exist yet; run one batch through the model"
        )
    if hasattr(weight, "_local_tensor") or hasattr(weight, "ds_id"):
        raise AttachError(
            f"the weight of {filters.name!r} is sharded over processes; the topographic loss needs "
            "whole weights: train with DDP, or leave the layer unsharded"
        )
    if not weight.is_leaf and not is_parametrized(filters.module, filters.attribute):
        raise SettingError(
            f"the weight of {filters.name!r} is worked out in the forward pass (by the old "
            "weight_norm or spectral_norm?); use those of torch.nn.utils.parametrizations"
        )
    if not weight.dtype.is_floating_point:
        raise SettingError(
            f"the weight of {filters.name!r} is {weight.dtype}; quantised weights cannot be trained"
        )


def parameters_of(filters: Filters) -> list[Tensor]:
    """What is trained of a layer's filters: the weight, or what its parametrization makes it of."""
    if filters.weight.is_leaf:
        found = [filters.weight]
    else:
        parametrizations: Any = filters.module.parametrizations
        found = list(parametrizations[filters.attribute].parameters())
    return [each for each in found if each.requires_grad]
