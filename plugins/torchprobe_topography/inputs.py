"""Optimal inputs of a region of a map: of each of its units, and of all together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe.errors import SettingError
from torchprobe.optimal_input import OptimalInputs, optimal_inputs
from torchprobe_topography.filters import find_filters
from torchprobe_topography.maps import Region

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike
    from torch import nn

    from torchprobe_topography.arrangement import Arrangement

__all__ = ["region_inputs"]


def region_inputs(
    model: nn.Module,
    layer: str,
    found: Region | ArrayLike,
    shape: Sequence[int],
    arrangement: Arrangement | None = None,
    **options: Any,
) -> OptimalInputs:
    """Inputs that drive each unit of a region by itself, and last the one that drives them all.

    The joint input maximises the sum of the units' pre-activations; all are driven up.

    Args:
        model: any module that takes one floating tensor.
        layer: whose units they are, as `torchprobe.optimal_input.optimal_inputs` takes it.
        found: a `Region` (then ``arrangement`` says which units lie in it), or the units.
        shape: of one input, without the axis of samples.
        arrangement: where the layer's units lie.
        options: others of `torchprobe.optimal_input.optimal_inputs`: ``steps``, ``l1``, ``seed``.

    Returns:
        As many inputs as units, row by row, and the joint one.

    Raises:
        SettingError: a region without an arrangement.
        LayerNotFoundError, ShapeError: as `optimal_inputs`.

    Source: Krug & Stober 2019, section 2.3, after Yosinski et al. 2015.

    Example:
        >>> from torch import nn
        >>> region_inputs(nn.Sequential(nn.Linear(5, 16)), "0", [0, 1, 4, 5], (5,)).inputs.shape
        torch.Size([5, 5])
    """
    if isinstance(found, Region):
        if arrangement is None:
            raise SettingError("say where units lie: arrangement=arrangement_of(result)")
        units = arrangement.order[found.units(arrangement.grid)]
    else:
        units = np.asarray(found, dtype=np.int64).ravel()
    width = arrangement.grid.units if arrangement is not None else _width(model, layer)
    weights = np.zeros((len(units) + 1, width))
    weights[np.arange(len(units)), units] = 1
    weights[-1, units] = 1
    return optimal_inputs(model, layer, weights, shape, **options)


def _width(model: nn.Module, layer: str) -> int:
    return find_filters(model, layer)[0].units
