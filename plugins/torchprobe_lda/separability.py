"""Which rows an earlier layer's LDA already gets right, and which only the network does."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import torchprobe as tp
from torchprobe.errors import LabelError, SettingError
from torchprobe_lda.analyzer import LDA
from torchprobe_lda.discriminant import Discriminant
from torchprobe_lda.marks import PREDICTED, SEPARABLE, SUBSETS, about

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from torchprobe import LayerBatch, Result, Results
    from torchprobe.groupings import Grouping
    from torchprobe.labels import Labels

__all__ = ["separable", "study"]


def separable(result: Result) -> Grouping:
    """Labels that say whether a layer's LDA is right: "separable" or "inseparable".

    The layer is usually the model's input: what LDA tells apart there, the network finds easy. The
    rows of classes that the fit did not have, and rows with NaN, get no label.

    Args:
        result: of the LDA of that layer, from an earlier run.

    Raises:
        SettingError: a result of something else, or one without the solver's own scalings.

    Source: Nagamine & Mesgarani 2017, section 3.3 (COR and INC).

    Example:
        >>> x, y = torch.tensor([[0.0], [1], [4], [5], [6]]), torch.tensor([0, 0, 1, 1, 0])
        >>> model = torch.nn.Identity()
        >>> result = tp.Probe(model, "input", ["lda"]).run([(x, y)])["lda"]["input"]
        >>> probe = tp.Probe(
        ...     model, "input", ["class_selectivity"], groupings={"separable": separable(result)}
        ... )
        >>> found = probe.run([(x, y)])["class_selectivity"].grouping("separable")["input"]
        >>> dict(zip(found.coords["class"], found.csv.flatten().tolist()))
        {'inseparable': 5.0, 'separable': 2.0}
    """
    if result.kind != LDA.name or result.settings["orthonormal"]:
        raise SettingError(
            f"separable() needs a result of LDA(orthonormal=False), not of {result.kind!r} with "
            f"{dict(result.settings)!r:.200}"
        )
    discriminant = Discriminant.of_result(result)
    positions = result.settings.get("positions", "each")

    def compute(batch: LayerBatch, given: Labels) -> NDArray[np.object_]:
        batch = batch.view(None, positions)
        rows = batch.values.movedim(1, -1)  # [sample, *positions, channel]
        found = discriminant.to(rows.device).predicted(rows.reshape(-1, rows.shape[-1]).double())
        finite = torch.isfinite(rows).all(-1)
        truth = _truth(given, result, tuple(finite.shape))
        right = (found.view(finite.shape).cpu() == truth).numpy()
        names = np.where(right, *SUBSETS).astype(object)
        names[((truth < 0) | ~finite.cpu()).numpy()] = None
        return names

    return tp.of_layer(result.layer, compute)


def _truth(given: Labels, result: Result, shape: tuple[int, ...]) -> Tensor:
    """Index of each position's class among those of the result, -1 where it is none of them."""
    if result.grouping not in given.labels:
        raise LabelError(
            f"separable() needs labels {result.grouping!r}, which its LDA was fitted to; the batch "
            f"has {', '.join(map(repr, given.labels)) or 'none'}"
        )
    labels, names = given.labels[result.grouping], given.names[result.grouping]
    place = {name: index for index, name in enumerate(result.coords["class"])}
    values, at = torch.unique(labels, return_inverse=True)
    known = [place.get(names.name(int(v)), -1) if v >= 0 else -1 for v in values]
    truth = torch.tensor(known, dtype=torch.int64)[at]
    return truth.view(*truth.shape, *[1] * (len(shape) - truth.ndim)).expand(shape)


def study(
    model: nn.Module,
    layers: Any,
    fit: Iterable[Any],
    score: Iterable[Any],
    *,
    grouping: str = "label",
    reference: str = "input",
    lda: LDA | None = None,
    predicted: Grouping | None = None,
    probe: Mapping[str, Any] | None = None,
    **run: Any,
) -> Results:
    """LDA of layers with all that their geometry needs, in two runs.

    The first fits the reference layer alone, in one pass over ``fit``; the second does everything,
    with the rows of ``score`` known as separable or not by the first, and as right or wrong by the
    network. All rows of ``score`` are in the subsets' centroids, where a single run of ``LDA`` has
    those of its sample only.

    Args:
        model: the network; its output holds a score for every class.
        layers: as for `torchprobe.Probe`.
        fit: a loader, read several times.
        score: another.
        grouping: the labels that are the classes.
        reference: the layer that says what is separable.
        lda: a configured analyzer; its defaults otherwise.
        predicted: how to read the network's prediction from its output; `torchprobe.predicted()`
            by default.
        probe: options of `torchprobe.Probe`, such as ``class_names`` and ``axes``.
        run: options of `torchprobe.Probe.run`, such as ``unpack`` and ``device``.

    Returns:
        Results of the analyzer "lda".

    Source: Nagamine & Mesgarani 2017, section 3.3 and Fig. 5.
    """
    lda = copy.copy(lda or LDA())
    lda.groupings = (grouping,)
    first = LDA(lda.shrinkage, lda.priors, lda.dof, scored=(), described=None, control=None)
    first.groupings, first.positions = lda.groupings, lda.positions
    options = dict(probe or {})
    every = [reference, *([layers] if isinstance(layers, str) or callable(layers) else layers)]
    found = tp.Probe(model, reference, {"lda": first}, **options).run(fit=fit, **run)
    computed = {
        **options.pop("groupings", {}),
        about(PREDICTED, grouping): predicted or tp.predicted(),
        about(SEPARABLE, grouping): separable(found["lda"][reference]),
    }
    second = tp.Probe(model, every, {"lda": lda}, groupings=computed, **options)
    return second.run(fit=fit, score=score, **run)
