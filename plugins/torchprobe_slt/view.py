"""From a call of the network to the point that is looked at: places, windows, nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from torchprobe.errors import LabelError, SettingError, ShapeError
from torchprobe.loading import eval_mode
from torchprobe.sandbox import unrecorded
from torchprobe_slt.point import Point, main_leaf, point
from torchprobe_slt.spots import Place, middles, spot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torchprobe import Layer, Network, NetworkBatch

__all__ = ["evenly", "n_places", "need_layers", "places", "shaped", "template", "view"]


def need_layers(network: Network) -> None:
    """Raise `SettingError` where nothing but the model's input was chosen."""
    if not network.layers:
        raise SettingError("the model's input has no transforms: choose other layers, layers=...")


def evenly(n: int, wanted: int | None) -> Tensor:
    """Which of ``n`` things are looked at, spread evenly; all of them where fewer are there.

    >>> evenly(10, 4).tolist(), evenly(3, None).tolist()
    ([1, 3, 6, 8], [0, 1, 2])
    """
    if wanted is None or wanted >= n:
        return torch.arange(n)
    return ((torch.arange(wanted) + 0.5) * n / max(wanted, 1)).long()


def n_places(layers: Sequence[Layer]) -> int:
    """How many numbers say where all layers are looked at in a sample."""
    return sum(len(layer.axes.positions) for layer in layers)


def places(batch: NetworkBatch, place: Place) -> Tensor:
    """The position looked at in every layer, one after the other: int64 [sample, number].

    "middle" is that of the positions that count, where lengths or a mask say which do.
    """
    n = _n_samples(batch)
    each = [_place(batch, layer, n, place) for layer in batch.network.layers]
    return torch.cat([torch.zeros(n, 0, dtype=torch.int64), *each], 1)


def _place(batch: NetworkBatch, layer: Layer, n: int, place: Place) -> Tensor:
    found = middles(layer, layer.shape, n, place)
    if place != "middle" or len(layer.axes.positions) != 1:
        return found
    try:
        valid = batch.given.valid((n, *layer.position_shape), layer.name)
    except LabelError:
        return found  # lengths of something else
    if valid is None:
        return found
    counted = valid.cumsum(1)  # [sample, position]
    half = counted[:, -1:] // 2 + 1
    return torch.where(counted[:, -1:] > 0, (counted >= half).int().argmax(1, keepdim=True), found)


def _n_samples(batch: NetworkBatch) -> int:
    n, shape = len(batch.sample_ids), tuple(main_leaf((batch.args, dict(batch.kwargs))).shape)
    if shape[0] != n:
        raise ShapeError(
            f"the input has shape {shape} and {n} samples; transforms need the sample as its first "
            "axis: wrap the model in one that transposes (or give an LSTM batch_first=True)"
        )
    return n


def view(
    network: Network,
    inputs: tuple[Sequence[Any], Mapping[str, Any]],
    where: Tensor,
    *,
    whole: bool = False,
) -> Point:
    """The model at some inputs, with all channels of every layer at one position.

    Args:
        network: the model and its layers.
        inputs: (args, kwargs).
        where: the positions, as `places` gives them.
        whole: look at the whole input, whatever a node sees.
    """
    seen = point(network.model, *inputs)
    names = network.input_axes[1:] + (("channel",) if seen.embedded else ())
    widths = [len(layer.axes.positions) for layer in network.layers]
    spots = tuple(
        spot(layer, place, (names, tuple(seen.x.shape[1:])), whole=whole)
        for layer, place in zip(network.layers, where.cpu().split(widths, 1), strict=True)
    )
    return replace(seen, spots=spots)


def shaped(network: Network, inputs: tuple[Sequence[Any], Mapping[str, Any]]) -> Network:
    """The network with the shapes that its layers have for inputs of another shape."""
    found = point(network.model, *inputs).shapes([layer.name for layer in network.layers])
    layers = [replace(layer, shape=found.get(layer.name, layer.shape)) for layer in network.layers]
    return replace(network, layers=tuple(layers))


def template(network: Network, place: Place, *, whole: bool = False) -> Point:
    """The point of a call whose values do not matter: what is known of windows beforehand."""
    zeros = pytree.tree_map_only(
        Tensor, lambda each: torch.zeros(each.shape, dtype=each.dtype, device=network.device),
        network.inputs,
    )  # fmt: skip
    layers = network.layers
    size = len(main_leaf(network.inputs))
    where = [middles(layer, layer.shape, size, place) for layer in layers]
    with unrecorded(), eval_mode(network.model), torch.no_grad():
        empty = torch.zeros(size, 0, dtype=torch.int64)
        return view(network, zeros, torch.cat([empty, *where], 1), whole=whole)
