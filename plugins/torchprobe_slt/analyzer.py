"""How complex the functions are that a network applies to its samples, node by node."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from torchprobe import Analyzer, Field
from torchprobe.loading import eval_mode
from torchprobe.sandbox import unrecorded
from torchprobe_slt import kept
from torchprobe_slt.jacobians import ROUTES, refuse_training
from torchprobe_slt.settings import at_least, one_of, place_of
from torchprobe_slt.spectra import areas, curve, from_grams, of_rows
from torchprobe_slt.sweeps import INPUTS, NODES, Sweep, few, key, notes, rows, sweeps
from torchprobe_slt.view import n_places, need_layers, places, shaped, template, view

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torchprobe import Network, NetworkBatch, Result
    from torchprobe.accumulators import BoundedSample, Gram
    from torchprobe_slt.point import Point
    from torchprobe_slt.spectra import Array

__all__ = ["SLT"]


class _Found(NamedTuple):
    """Spectra of all layers."""

    sigmas: dict[str, Array]
    """By `key`: [item, order]."""
    n: int
    """How many samples there were."""
    widths: dict[str, int]
    """How many inputs a layer's nodes see."""
    said: list[str]


class SLT(Analyzer):
    """Spectra of the sample-dependent linear transforms (SLTs) of a network's nodes.

    Around a sample x_i, node m of a layer is the linear function J_i[m]·x + c; a network of
    rectifiers is exactly that within the region that x_i lies in. The transforms of one node over
    all samples (Σ_NODES) or of one input over all samples (Σ_INPUTS) are the rows of a matrix; how
    evenly its singular values fall says how many different functions there are.

    In a layer with positions, a node is a channel at one position of each sample, and its inputs
    are the window of the model's input that it sees (the whole input where that has no bound).
    Where the model's input is integers, transforms are by the values that it is embedded to.
    Networks that are not piecewise linear are seen in first order at each sample.

    Fields of each layer's result:

    - ``node_sigma`` (node, node_order): singular values of each chosen node's transforms
      [sample, input], not normalised; ``input_sigma`` (input, input_order) of each chosen input's
      [sample, node];
    - ``node_spectrum`` and ``input_spectrum`` (rank): their averages, each normalised by its first
      value; spectra that are all zero are skipped and counted in ``n_zero_nodes`` and
      ``n_zero_inputs``;
    - ``node_auc`` (node), ``input_auc`` (input): areas under the normalised spectra, 0.5 (one
      function, scaled) to d − 1, NaN where all are zero; ``mean_node_auc``, ``mean_input_auc``;
    - ``n_samples``: how many samples there are; no spectrum has more values than that.

    Args:
        samples: how many samples are looked at, drawn by their ids; None: all, as they come, in
            memory that does not grow with them. 500 are twice the inputs of the paper's network and
            take a second.
        nodes: how many nodes of each layer, evenly spread; None: all (1,320 nodes of 253 inputs
            need 0.7 GB of Gram matrices where ``samples`` is None).
        inputs: how many inputs, likewise; 0: none.
        d: how many singular values areas and curves are made of; 100 is the paper's axis.
        position: which position of a layer: "middle", "first", "last" or a number.
        window: inputs are the receptive "field" of the layer, or the whole "input".
        route: how transforms are found, see `torchprobe_slt.jacobians`; notes say which it was.
        memory: bytes of transforms held at once.
        seed: draws the samples.

    Raises:
        SettingError: a setting has a value that is not allowed.

    Source: Nagamine & Mesgarani 2017, sections 2.2 and 4.1, Fig. 7A. The paper leaves biases out;
    they do not change J. Of layers below the second it omits node spectra, whose rank is one.

    Example:
        >>> import torch, torchprobe as tp
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3, bias=False), torch.nn.ReLU(),
        ...                             torch.nn.Linear(3, 1, bias=False)).eval()
        >>> with torch.no_grad():
        ...     _ = model[0].weight.copy_(torch.tensor([[1.0, 0], [0, 1], [1, -1]]))
        ...     _ = model[2].weight.copy_(torch.tensor([[1.0, 2, 1]]))
        >>> samples = torch.tensor([[1.0, 0], [0, 1], [2, 1]])
        >>> results = tp.Probe(model, "2", [SLT(d=2)]).run([samples])
        >>> found = results["slt"]["2"]
        >>> found.node_sigma.round(6).tolist(), found.node_auc.round(6).tolist()
        ([[2.828427, 2.44949]], [0.933013])
    """

    name = "slt"
    scope = "network"
    needs_positions = True

    def __init__(
        self,
        samples: int | None = 500,
        nodes: int | None = 16,
        inputs: int | None = 16,
        d: int = 100,
        position: str | int = "middle",
        window: str = "field",
        route: str = "auto",
        memory: int = 64 << 20,
        seed: int = 0,
    ) -> None:
        self.samples = at_least("samples", samples, 1, none="all of them, as they come")
        self.nodes = at_least("nodes", nodes, 1, none="all of them")
        self.inputs = at_least("inputs", inputs, 0, none="all of them")
        self.d = at_least("d", d, 2)
        self.position = place_of(position)
        self.window = one_of("window", window, ("field", "input"))
        self.route = one_of("route", route, ROUTES)
        self.memory = at_least("memory", memory, 1)
        self.seed = seed

    # -- gathering

    def start(self, network: Network) -> None:
        """A sample of the inputs, or Gram matrices of every layer's nodes and inputs."""
        need_layers(network)
        self._routes: dict[str, None] = {}
        self._embedded = ""
        self.kept: dict[str, BoundedSample] = {}
        self.grams: dict[str, Gram] = {}
        if self.samples is not None:
            self.kept = kept.begin(network, self.samples, self.seed, n_places(network.layers))
            return
        seen = template(network, self.position, whole=self.window == "input")
        for sweep in self._sweeps(seen):
            self.grams |= self._empty(sweep)

    def update(self, batch: NetworkBatch) -> None:
        """Keep a batch's inputs, or take its samples' transforms.

        Raises:
            SettingError: the model is in training mode.
        """
        network, inputs = batch.network, (batch.args, batch.kwargs)
        refuse_training(network.model)
        if self.samples is not None:
            kept.keep(self.kept, batch, places(batch, self.position))
            return
        network = shaped(network, inputs)
        where = places(replace(batch, network=network), self.position)
        seen = view(network, inputs, where, whole=self.window == "input")
        self._embedded = seen.embedded
        for sweep in self._sweeps(seen):
            self._stream(sweep)

    def _stream(self, sweep: Sweep) -> None:
        """Add the Gram matrices of one batch, which are made chunk by chunk."""
        parts = self._empty(sweep)
        for spot, transforms, route in sweep.run(self.route, self.memory):
            self._routes[route] = None
            for kind in sweep.kinds:
                part = parts[key(kind, spot.layer)]
                part.absorb(part.reduce(rows(kind, transforms)))
        for name, part in parts.items():
            self.grams[name].take(part.state)

    def _empty(self, sweep: Sweep) -> dict[str, Gram]:
        pairs = [(kind, spot) for spot in sweep.point.spots for kind in sweep.kinds]
        return {key(kind, spot.layer): sweep.gram(kind, spot) for kind, spot in pairs}

    def _sweeps(self, point: Point) -> Iterator[Sweep]:
        """What must be pushed through the network: some nodes, some inputs, or all at once."""
        return sweeps(point, self.nodes, self.inputs)

    # -- concluding

    def compute(self) -> Iterator[Result]:
        """The spectra of every layer.

        Raises:
            EmptyStateError: no sample was seen.
            SettingError: the model is random, or samples influence each other.
        """
        if self.samples is None:
            return self._results(self._of_grams())
        with unrecorded(), eval_mode(self.network.model), torch.no_grad():
            return self._results(self._of_kept())

    def _of_grams(self) -> _Found:
        n = int(next(iter(self.grams.values())).count)
        sigmas = {name: from_grams(gram.value) for name, gram in self.grams.items()}
        layers = self.network.layers
        widths = {layer.name: self.grams[key(NODES, layer)].features for layer in layers}
        return _Found(sigmas, n, widths, notes(self._routes, self._embedded, self.network.model))

    def _of_kept(self) -> _Found:
        seen = kept.seen_again(self.kept, self.network, whole=self.window == "input")
        sigmas: dict[str, Array] = {}
        routes: dict[str, None] = {}
        for sweep in self._sweeps(seen):
            for part in sweep.parts():
                found, route = part.collected(self.route, self.memory)
                sigmas |= {name: of_rows(each) for name, each in found.items()}
                routes[route] = None
        widths = {spot.layer.name: spot.n_inputs for spot in seen.spots}
        return _Found(sigmas, len(seen), widths, notes(routes, seen.embedded, seen.model))

    def _results(self, found: _Found) -> Iterator[Result]:
        for layer in self.network.layers:
            fields: dict[str, Any] = {"n_samples": float(found.n)}
            for kind in (NODES, INPUTS):
                if key(kind, layer) in found.sigmas:
                    fields |= self._spectra(kind, found.sigmas[key(kind, layer)])
            said = [*found.said, *few("node spectra", found.n, found.widths[layer.name])]
            yield self.result(of=layer, notes=said, **fields)

    def _spectra(self, kind: str, sigma: Array) -> dict[str, Any]:
        """The fields of one layer's spectra [item, order]."""
        area = areas(sigma, self.d)
        known = area[~np.isnan(area)]
        order = f"{kind}_order"
        return {
            f"{kind}_sigma": ((kind, order), sigma),
            f"{kind}_spectrum": ("rank", curve(sigma, self.d)),
            f"{kind}_auc": Field(kind, area, range=(0.5, self.d - 1)),
            f"mean_{kind}_auc": float(known.mean()) if len(known) else math.nan,
            f"n_zero_{kind}s": float(np.isnan(area).sum()),
        }
