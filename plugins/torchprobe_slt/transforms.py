"""The transforms of some samples themselves, with what they leave over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchprobe import Analyzer, Probe
from torchprobe.errors import SettingError
from torchprobe.loading import eval_mode
from torchprobe_slt.jacobians import MEMORY, check_model, jacobians
from torchprobe_slt.settings import one_of, place_of
from torchprobe_slt.sweeps import notes
from torchprobe_slt.view import evenly, places, view

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn

    from torchprobe import NetworkBatch, Result
    from torchprobe.selection import Selector
    from torchprobe_slt.point import Point

__all__ = ["Transforms", "transforms"]


@dataclass(frozen=True, eq=False)
class Transforms:
    """The linear functions of one layer's nodes at samples: h(x) = jacobian·inputs + offset."""

    layer: str
    jacobian: Tensor
    """J_i[m, f] = ∂h_m(x_i)/∂x_f: [sample, node, input], in the model's dtype."""
    offset: Tensor
    """c_i = h(x_i) − J_i·x_i: float64 [sample, node]; exact within a region of a piecewise linear
    network, the rest of a first-order approximation in others."""
    outputs: Tensor
    """h(x_i): [sample, node]."""
    inputs: Tensor
    """x_i, the part that the nodes see: [sample, input]."""
    window: tuple[int, ...]
    """The shape of that part before it was flattened, e.g. (channels, positions)."""
    route: str
    """How they were found: "chain" (closed form), "forward" or "reverse" differentiation."""
    notes: tuple[str, ...] = ()
    """What must be known of them."""

    def image(self, sample: int, node: int) -> Tensor:
        """One transform in the shape of what the node sees."""
        return self.jacobian[sample, node].view(self.window)


def transforms(
    model: nn.Module,
    inputs: Any,
    layers: Selector | None = None,
    *,
    nodes: int | Iterable[int] | None = None,
    position: str | int = "middle",
    window: str = "field",
    route: str = "auto",
    memory: int = MEMORY,
    axes: Mapping[str, str] | None = None,
) -> dict[str, Transforms]:
    """The sample-dependent linear transform of every node of several layers, in one sweep.

    The model is put in eval mode meanwhile. Of a layer with positions the nodes are its channels
    at one position, and the inputs the window that these see.

    Args:
        model: any that can be differentiated by its input.
        inputs: of one call: a tensor, or a tuple or dictionary of arguments.
        layers: which, as for `torchprobe.Probe`; all modules without children by default.
        nodes: how many channels of each layer, evenly spread, or which; all by default.
        position: "middle", "first", "last" or a number.
        window: inputs are the receptive "field", where it has an end, or the whole "input".
        route: "auto", "chain", "forward" or "reverse", see `torchprobe_slt.jacobians.jacobians`.
        memory: bytes of transforms at once, beside the result.
        axes: as for `torchprobe.Probe`.

    Raises:
        SettingError: the model is random, samples influence each other, or a setting is wrong.
        MemoryBudgetError: one sample's transforms take more than ``memory``.

    Source: Nagamine & Mesgarani 2017, section 2.2; the paper leaves the offset out.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> found = transforms(model, torch.ones(4, 2), ["1", "2"])
        >>> [(name, tuple(each.jacobian.shape), each.route) for name, each in found.items()]
        [('1', (4, 3, 2), 'chain'), ('2', (4, 1, 2), 'chain')]
    """
    catch = _Catch(place_of(position), one_of("window", window, ("field", "input")) == "input")
    probe = Probe(model, layers, [catch], axes=axes, on_error="raise")
    with eval_mode(model), torch.no_grad():
        with probe:
            _call(model, inputs)
        seen = catch.caught[0]
        seen = replace(
            seen,
            spots=tuple(
                replace(spot, nodes=_chosen(nodes, spot.layer.width)) for spot in seen.spots
            ),
        )
        check_model(seen)
        return _found(seen, route, memory)


class _Catch(Analyzer):
    """Holds on to the point at which the model was called."""

    name = "slt_transforms"
    scope = "network"
    needs_positions = True

    def __init__(self, position: str | int, whole: bool) -> None:
        self.position, self.whole = position, whole
        self.caught: list[Point] = []

    def start(self, network: Any) -> None:
        """Nothing is gathered."""

    def update(self, batch: NetworkBatch) -> None:
        """Note the call."""
        where = places(batch, self.position)
        self.caught[:] = [view(batch.network, (batch.args, batch.kwargs), where, whole=self.whole)]

    def compute(self) -> list[Result]:
        """Nothing."""
        return []


def _call(model: nn.Module, inputs: Any) -> None:
    if isinstance(inputs, Tensor):
        model(inputs)
    elif isinstance(inputs, dict):
        model(**inputs)
    elif isinstance(inputs, (tuple, list)):
        model(*inputs)
    else:
        raise SettingError(
            f"inputs are a {type(inputs).__name__}; give a tensor, or a tuple or dictionary of the "
            "model's arguments"
        )


def _chosen(nodes: int | Iterable[int] | None, width: int) -> Tensor | None:
    if nodes is None:
        return None
    if isinstance(nodes, int):
        return evenly(width, nodes)
    chosen = torch.tensor(list(nodes), dtype=torch.int64)
    if not len(chosen) or bool(((chosen < 0) | (chosen >= width)).any()):
        raise SettingError(f"nodes={nodes!r}; a layer has channels 0 to {width - 1}")
    return chosen


def _found(seen: Point, route: str, memory: int) -> dict[str, Transforms]:
    chunks = list(jacobians(seen, route, memory))
    taken = chunks[0].route
    outputs, flat = seen.values(seen.x), seen.x.flatten(1)
    found = {}
    for spot in seen.spots:
        name = spot.layer.name
        jacobian = torch.cat([chunk.values[name] for chunk in chunks])
        inputs = spot.inputs(flat)
        linear = (jacobian.double() @ inputs.double()[..., None])[..., 0]
        found[name] = Transforms(
            name,
            jacobian,
            outputs[name].double() - linear,
            outputs[name],
            inputs,
            spot.window,
            taken,
            tuple(notes([taken], seen.embedded, seen.model)),
        )
    return found
