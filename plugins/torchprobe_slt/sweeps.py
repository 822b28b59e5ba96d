"""What spectra need of a network: some nodes by all inputs, and some inputs of all nodes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from torchprobe.accumulators import Gram
from torchprobe_slt.jacobians import jacobians
from torchprobe_slt.view import evenly

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor, nn

    from torchprobe import Layer
    from torchprobe_slt.point import Point
    from torchprobe_slt.spots import Spot

__all__ = ["INPUTS", "NODES", "Sweep", "few", "key", "notes", "rows", "sweeps"]

NODES, INPUTS = "node", "input"

_COLLECTED = 256 << 20
"""Bytes of transforms of a sample of inputs held at once, as they come; layers take turns."""


def key(kind: str, layer: Layer) -> str:
    """Under which name a layer's spectra of a kind go."""
    return f"{kind} {layer.name}"


@dataclass(frozen=True, eq=False)
class Sweep:
    """Transforms that are found together, and of what they are to be the spectra."""

    point: Point
    kinds: tuple[str, ...]

    def gram(self, kind: str, spot: Spot) -> Gram:
        """The empty Gram matrices of one layer: one for each node, or for each input."""
        if kind == NODES:
            return Gram(spot.n_inputs, spot.n_nodes)
        return Gram(spot.n_nodes, spot.n_inputs)

    def run(self, route: str, memory: int) -> Iterator[tuple[Spot, Tensor, str]]:
        """Every layer's transforms [sample, node, input], some samples at a time; and the route."""
        for chunk in jacobians(self.point, route, memory):
            for spot in self.point.spots:
                yield spot, chunk.values[spot.layer.name], chunk.route

    def parts(self) -> Iterator[Sweep]:
        """The same for some layers at a time, so that all samples' transforms can be held."""
        spots: list[Spot] = []
        size = 0
        each = len(self.point) * self.point.x.element_size()
        for spot in self.point.spots:
            need = each * spot.n_nodes * spot.n_inputs
            if spots and size + need > _COLLECTED:
                yield replace(self, point=replace(self.point, spots=tuple(spots)))
                spots, size = [], 0
            spots, size = [*spots, spot], size + need
        if spots:
            yield replace(self, point=replace(self.point, spots=tuple(spots)))

    def collected(self, route: str, memory: int) -> tuple[dict[str, Tensor], str]:
        """By `key`, the transforms of all samples: [node or input, sample, what it is made of]."""
        from tqdm.auto import tqdm

        found: dict[str, list[Tensor]] = {}
        taken = ""
        layers = f"transforms of {self.point.spots[0].layer.name}..."
        with tqdm(total=len(self.point), desc=layers, unit="sample", disable=None) as bar:
            for chunk in jacobians(self.point, route, memory):
                for spot in self.point.spots:
                    transforms = chunk.values[spot.layer.name]
                    for kind in self.kinds:
                        found.setdefault(key(kind, spot.layer), []).append(rows(kind, transforms))
                taken = chunk.route
                bar.update(len(self.point.x[chunk.samples]))
        return {name: torch.cat(each).movedim(0, 1) for name, each in found.items()}, taken


def rows(kind: str, transforms: Tensor) -> Tensor:
    """[sample, node, input] as rows of each node or of each input: [sample, item, feature]."""
    return transforms if kind == NODES else transforms.movedim(1, 2)


def sweeps(point: Point, nodes: int | None, inputs: int | None) -> Iterator[Sweep]:
    """The sweeps that spectra of so many nodes and inputs of every layer take.

    Args:
        point: the network, with all nodes and inputs.
        nodes: how many of each layer; None: all.
        inputs: likewise; 0: none.
    """
    if nodes is None and inputs is None:
        yield Sweep(point, (NODES, INPUTS))
        return
    some = (
        spot if nodes is None else replace(spot, nodes=evenly(spot.layer.width, nodes))
        for spot in point.spots
    )
    yield Sweep(replace(point, spots=tuple(some)), (NODES,))
    if inputs == 0:
        return
    few = (
        spot if inputs is None else spot.seeing(evenly(spot.n_inputs, inputs))
        for spot in point.spots
    )
    yield Sweep(replace(point, spots=tuple(few)), (INPUTS,))


def few(what: str, n: int, inputs: int) -> list[str]:
    """A note where there are fewer samples than inputs, so that they bound the rank of spectra.

    >>> few("spectra", 40, 253)
    ['spectra have at most 40 values, one for each sample: compare them with those of as many']
    >>> few("spectra", 400, 253)
    []
    """
    if n >= inputs:
        return []
    bound = f"{what} have at most {n:,} values, one for each sample"
    return [f"{bound}: compare them with those of as many"]


_SAID = {
    "chain": "in closed form",
    "forward": "by forward differentiation",
    "reverse": "by reverse differentiation",
}


_CURVED = re.compile(
    r"Attention|ELU|GRU|GroupNorm|InstanceNorm|LSTM|LayerNorm|Mish|RMSNorm|RNN|SiLU|Sigmoid|Softmax"
    r"|Softplus|Softsign|Tanh"
)
"""Modules, by the name of their class, that are not piecewise linear."""


def notes(routes: Iterable[str], embedded: str, model: nn.Module) -> list[str]:
    """What a reader must know of transforms: how they were found, by what, how far they hold."""
    how = " and ".join(_SAID[route] for route in dict.fromkeys(routes))
    said = [f"transforms were found {how}"] if how else []
    if embedded:
        said.append(f"the model's input is integers: transforms are by the output of {embedded!r}")
    curved = sorted({_kind(each) for each in model.modules() if _CURVED.search(_kind(each))})
    if curved:
        said.append(
            f"the network is not piecewise linear ({', '.join(curved[:3])}): transforms are local "
            "approximations, of first order at each sample"
        )
    return said


def _kind(module: nn.Module) -> str:
    return type(module).__name__
