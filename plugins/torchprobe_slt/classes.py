"""Transforms class by class: spectra, templates, clusters, and points that the input misleads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from torchprobe import Analyzer
from torchprobe.accumulators import WithinScatter
from torchprobe.loading import eval_mode
from torchprobe.outputs import leaves
from torchprobe.sandbox import unrecorded
from torchprobe_slt import kept, streamed
from torchprobe_slt.class_spectra import class_fields, split_fields
from torchprobe_slt.jacobians import ROUTES, jacobians, refuse_training
from torchprobe_slt.output import Output, output_fields
from torchprobe_slt.points import Points, judged_by_input, label_of_sample, nodes_of_classes
from torchprobe_slt.settings import at_least, one_of, place_of
from torchprobe_slt.sweeps import NODES, few, key, notes, sweeps
from torchprobe_slt.view import n_places, need_layers, places, template, view

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from torchprobe import Layer, Network, NetworkBatch, Result
    from torchprobe.accumulators import BoundedSample
    from torchprobe_slt.point import Point

__all__ = ["SLTClasses"]

WIDEST = 2048
"""Input values beyond which no discriminants are fitted to the input: their scatter is a square."""


class SLTClasses(Analyzer):
    """What the transforms of different classes have in common, and of one class's points not.

    Looks at a sample of each class. A layer's transforms of one class are a matrix [sample,
    node·input], whose spectrum says how many functions the layer uses for it. Points that the
    network gets right are split by whether linear discriminants on the input get them right too
    (COR) or not (INC); a ΔAUC above 0 says that the latter take more functions. At the output, a
    class's own node is a template: what the network looks for.

    Fields of each layer's result:

    - ``class_sigma`` (class, class_order): singular values of each class's transforms, not
      normalised, 0 beyond its number of samples; ``class_spectrum`` (rank): their normalised
      average; ``class_auc`` (class) and ``class_spectrum_auc``: areas under them, 0.5..d − 1;
    - ``cor_spectrum``, ``inc_spectrum`` (rank): normalised average of the nodes' spectra over as
      many points of either kind, ``n_split``; ``cor_auc``, ``inc_auc`` and ``delta_auc``, INC minus
      COR; NaN where there are no such points;
    - ``n_samples``.

    Further fields of the output layer, where it is probed:

    - ``class_node`` (class): the node of each class, its number; where classes came as strings, the
      one that it is predicted by;
    - ``transforms`` (class, node, input): mean transform of each node over the class's points;
      ``features`` (class, input): the mean of what they see; ``n_class`` (class): how many;
    - ``template`` and ``template_features`` (class, input): mean transform of the class's node, and
      mean input, over the ``nearest`` points to the mean of these transforms, of those that the
      network gets right; ``template_n`` (class): how many;
    - ``points`` and ``point_features`` (point, input): transforms of their class's node, and
      inputs, of all points that the network gets right; ``point_class``, ``point_cluster``,
      ``point_order`` (its place under the class's dendrogram) (point) and ``point_map`` (point,
      component), where classical scaling puts it among those of its class;
    - ``window`` (window_axis): the shape of what the nodes see, before it was flattened;
    - ``cluster_size`` (class, cluster), ``cluster_transform`` and ``cluster_features`` (class,
      cluster, input): clusters of the points of a class by average linkage.

    Args:
        per_class: how many samples of each class are looked at, drawn by their ids. 32 keep forty
            classes within seconds; the paper's figures want hundreds.
        nodes: how many nodes of each layer spectra are made of, evenly spread; None: all.
        nearest: how many points make a template; the paper's 50.
        whole: means of classes and templates of all samples, not of those drawn, in memory that
            does not grow with them; takes two looks at the data, and labels that are numbers of
            output nodes.
        clusters: how many clusters a class's points are cut into; the paper does not say.
        d: how many singular values areas and curves are made of.
        position: which position of a layer: "middle", "first", "last" or a number.
        window: inputs are the receptive "field" of the layer, or the whole "input".
        route: how transforms are found, see `torchprobe_slt.jacobians`.
        memory: bytes of transforms held at once.
        seed: draws the samples.
        image: the shape in which pictures show what nodes see, as (frames, bands) of a flat input:
            the first axis to the right, the second upwards.

    Raises:
        SettingError: a setting has a value that is not allowed.

    Source: Nagamine & Mesgarani 2017, sections 4.1-4.3, Fig. 6, 7B, 7C, 8. COR and INC are taken
    equally large, which the paper does not say: the rank of a spectrum grows with its points.

    Example:
        >>> import torch, torchprobe as tp
        >>> x = torch.randn(90, 4, generator=torch.Generator().manual_seed(0))
        >>> y = torch.arange(90) % 3
        >>> linear = torch.nn.Linear
        >>> model = torch.nn.Sequential(linear(4, 6), torch.nn.ReLU(), linear(6, 3))
        >>> found = tp.Probe(model, analyzers=["slt_classes"]).run([(x, y)])["slt_classes"]["2"]
        >>> found.transforms.shape, found.template.shape, int(found.n_samples)
        ((3, 3, 4), (3, 4), 90)
    """

    name = "slt_classes"
    scope = "network"
    needs_labels = True
    needs_positions = True

    def __init__(
        self,
        per_class: int = 32,
        nodes: int | None = 16,
        nearest: int = 50,
        clusters: int = 3,
        whole: bool = False,
        d: int = 100,
        *,
        position: str | int = "middle",
        window: str = "field",
        route: str = "auto",
        memory: int = 64 << 20,
        seed: int = 0,
        image: Sequence[int] | None = None,
    ) -> None:
        self.per_class = at_least("per_class", per_class, 1)
        self.nodes = at_least("nodes", nodes, 1, none="all of them")
        self.nearest = at_least("nearest", nearest, 1)
        self.clusters = at_least("clusters", clusters, 1)
        self.whole = bool(whole)
        self.passes = 2 if self.whole else 1
        self.d = at_least("d", d, 2)
        self.position = place_of(position)
        self.window = one_of("window", window, ("field", "input"))
        self.route = one_of("route", route, ROUTES)
        self.memory = at_least("memory", memory, 1)
        self.seed = seed
        self.image = None if image is None else tuple(int(size) for size in image)

    # -- gathering

    def start(self, network: Network) -> None:
        """A sample of each class's inputs; the scatter of all inputs, for their discriminants."""
        need_layers(network)
        books = n_places(network.layers)
        self.kept: dict[str, BoundedSample] = kept.begin(
            network, self.per_class, self.seed, books, per_group=True
        )
        seen = template(network, self.position, whole=self.window == "input")
        width = seen.x[0].numel()
        self.scatter = [WithinScatter(width)] if width <= WIDEST else []
        self.all = streamed.begin(seen.spots[-1], self.nearest) if self.whole else {}
        self._centroids: tuple[Tensor, Tensor] | None = None

    def state_bytes(self, layer: Any) -> int:
        """Bytes for as many classes as the last layer has units."""
        fork, classes = self.fork(layer), layer.layers[-1].width
        need = classes * sum(sample.nbytes for sample in fork.kept.values())
        for scatter in fork.scatter:
            need += scatter.nbytes + classes * 8 * (scatter.channels + 2)
        if fork.all:
            need += classes * streamed.class_bytes(fork.all)
        return int(need)

    def update(self, batch: NetworkBatch) -> None:
        """Keep a batch's inputs where their class needs some, and learn what inputs tell.

        Raises:
            SettingError: the model is in training mode.
        """
        refuse_training(batch.network.model)
        labels, where = label_of_sample(batch.labels), places(batch, self.position)
        inputs = batch.args, batch.kwargs
        seen = view(batch.network, inputs, where, whole=self.window == "input")
        if batch.number == 0:
            kept.keep(self.kept, batch, where, labels)
            for scatter in self.scatter:
                scatter.update(seen.x.flatten(1), labels)
            if self.whole:
                streamed.gather(self.all, seen, labels, self.route, self.memory)
        elif self._centroids is not None:
            said, how = (labels, batch.sample_ids), (self.route, self.memory)
            streamed.select(self.all, seen, self._centroids, said, how)

    def after(self, split: str, number: int) -> None:
        """Where all samples are looked at, note the mean transforms for the second look."""
        if self.whole and (split, number) == ("fit", 0):
            self._centroids = streamed.centroids(self.all)

    # -- concluding

    def compute(self) -> Iterator[Result]:
        """The spectra of every layer, and what the output's nodes look for.

        Raises:
            EmptyStateError: no sample with a label was seen.
            SettingError: the model is random, or samples influence each other.
        """
        with unrecorded(), eval_mode(self.network.model), torch.no_grad():
            return iter(self._computed())

    def _computed(self) -> list[Result]:
        seen = kept.seen_again(self.kept, self.network, whole=self.window == "input")
        nodes, points, said = self._points(seen)
        found: dict[str, dict[str, Any]] = {}
        routes: dict[str, None] = {}
        for part in next(iter(sweeps(seen, self.nodes, 0))).parts():
            transforms, route = part.collected(self.route, self.memory)
            routes[route] = None
            for spot in part.point.spots:
                mine = transforms[key(NODES, spot.layer)]
                found[spot.layer.name] = {
                    **class_fields(mine, points, self.d),
                    **split_fields(mine, points, self.d),
                }
        if nodes is not None:
            found[self.network.layers[-1].name] |= self._output(seen, points, nodes)
        split, widest = len(points.split()[0]), max(spot.n_inputs for spot in seen.spots)
        said = [*notes(routes, seen.embedded, seen.model), *said]
        said += few("COR and INC", split, widest) if split else []
        layers = self.network.layers
        return [self._result(layer, found[layer.name], points, said) for layer in layers]

    def _points(self, seen: Point) -> tuple[Tensor | None, Points, list[str]]:
        """The nodes of the classes, None where the output is not probed; the points; notes."""
        book = self.kept[kept.PLACES]
        labels = book.labels
        scatter = self.scatter[0] if self.scatter else None
        told = judged_by_input(scatter, seen.x.flatten(1), labels)
        every = torch.ones(len(labels), dtype=torch.bool)
        points = Points(labels, book.ids, every, told, self.seed)
        said = [] if told is not None else [_UNTOLD]
        logits = _logits(seen)
        if logits is None:
            return None, points, [*said, _UNSEEN]
        predicted = logits.argmax(1).cpu()
        numbered = self.names is None or self.names.integers or not self.names.names
        nodes = nodes_of_classes(labels, predicted, logits.shape[1], numbered=numbered)
        own = nodes[torch.searchsorted(points.classes, labels)]
        points = replace(points, right=predicted == own)
        return nodes, points, said

    def _output(self, seen: Point, points: Points, nodes: Tensor) -> dict[str, Any]:
        spot = seen.spots[-1]
        last = replace(seen, spots=(spot,))
        chunks = jacobians(last, self.route, self.memory)
        transforms = torch.cat([chunk.values[spot.layer.name] for chunk in chunks])
        inputs = spot.inputs(seen.x.flatten(1))
        output = Output(transforms, inputs, nodes)
        found = output_fields(output, points, self.nearest, self.clusters)
        found["window"] = ("window_axis", torch.tensor(spot.window))
        return {**found, **streamed.fields(self.all)} if self.whole else found

    def _result(
        self, layer: Layer, fields: dict[str, Any], points: Points, said: list[str]
    ) -> Result:
        n = float(len(points.labels))
        coords = {"class": self.class_names(points.classes)}
        return self.result(of=layer, coords=coords, notes=said, n_samples=n, **fields)


_UNTOLD = (
    "points are not split by what the input tells: its discriminants cannot be fitted (too few "
    f"classes or samples, or more than {WIDEST:,} values)"
)
_UNSEEN = (
    "the model's output is not the last of the probed layers: it is not known which points the "
    "network gets right, and there are no templates"
)


def _logits(seen: Point) -> Tensor | None:
    """The last layer's nodes, if that layer is the output: [sample, node]."""
    output = seen.output(seen.x.clone())
    tensors = [leaf.tensor for leaf in leaves(output) if leaf.tensor is not None]
    spot = seen.spots[-1]
    if not tensors or len(tensors[0].shape) != spot.layer.axes.ndim:
        return None
    values: Tensor = seen.values(seen.x)[spot.layer.name]
    mine = spot.values(tensors[0]) if tensors[0].shape[1:] == spot.layer.shape[1:] else None
    return values if mine is not None and torch.equal(mine, values) else None
