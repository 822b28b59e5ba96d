"""Groupings computed while the model runs: the predicted class, right or wrong, or from a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from torchprobe.errors import LabelError
from torchprobe.outputs import leaves

if TYPE_CHECKING:
    from torchprobe.batch import LayerBatch
    from torchprobe.labels import Labels

__all__ = ["Grouping", "OfLayer", "correct", "of_layer", "predicted"]

Grouping: TypeAlias = "Callable[[Any, Labels], object]"
"""From the model's output and the batch's labels to labels [sample] or [sample, *positions]."""


def predicted(*, output: str | int | None = None, dim: int | None = None) -> Grouping:
    """The class with the highest score.

    Args:
        output: which part of the model's output holds the scores: a key or index; by default
            ``logits`` where there is one, else the only or first tensor.
        dim: the axis of the classes; 1 for [sample, class], to be given where there are more axes.

    Example:
        >>> import torch
        >>> predicted()(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), None).tolist()
        [1, 0]
    """

    def compute(outputs: Any, _: Labels) -> Tensor:
        return _argmax(scores_of(outputs, output), dim)

    return compute


def correct(
    labels: str = "label", *, output: str | int | None = None, dim: int | None = None
) -> Grouping:
    """Whether the predicted class is the given label: "correct" or "wrong".

    Args:
        labels: the grouping that holds the true classes; rows ignored there are ignored here.
        output: as for `predicted`.
        dim: as for `predicted`.
    """

    def compute(outputs: Any, given: Labels) -> Any:
        import numpy as np

        if labels not in given.labels:
            raise LabelError(
                f"correct() compares predictions with labels {labels!r}, which this batch does "
                f"not have; it has {', '.join(map(repr, given.labels)) or 'none'}"
            )
        guess, truth = _argmax(scores_of(outputs, output), dim).cpu(), given.labels[labels]
        if guess.shape != truth.shape:
            raise LabelError(
                f"predictions have shape {tuple(guess.shape)} but labels {labels!r} "
                f"{tuple(truth.shape)}; say which axis holds the classes: correct(dim=...)"
            )
        names = np.where((guess == truth).numpy(), "correct", "wrong").astype(object)
        names[(truth < 0).numpy()] = None
        return names

    return compute


@dataclass(frozen=True)
class OfLayer:
    """Labels computed from what a layer delivers; made by `of_layer`."""

    layer: str
    compute: Callable[[LayerBatch, Labels], object]

    def __call__(self, batch: LayerBatch, given: Labels) -> object:
        """The labels of one batch."""
        return self.compute(batch, given)


def of_layer(layer: str, compute: Callable[[LayerBatch, Labels], object]) -> Grouping:
    """Labels computed from what a probed layer delivers, rather than from the model's output.

    Args:
        layer: its name, which must be among the probe's layers.
        compute: from the layer's `LayerBatch` and the batch's labels to labels [sample] or
            [sample, *positions].

    Example:
        >>> import torch, torchprobe as tp
        >>> loud = of_layer("input", lambda batch, _: (batch.values.mean(1) > 0).long())
        >>> probe = tp.Probe(
        ...     torch.nn.Identity(), "input", ["class_selectivity"], groupings={"loud": loud}
        ... )
        >>> results = probe.run([torch.tensor([[1.0, 2.0], [-1.0, 0.0], [3.0, 0.0]])])
        >>> results["class_selectivity"]["input"].csv.tolist()
        [[-1.0, 0.0], [2.0, 1.0]]
    """
    return OfLayer(layer, compute)


def scores_of(outputs: Any, part: str | int | None) -> Tensor:
    """The tensor of scores in a model's output, as it is, with its gradients."""
    if isinstance(part, str) and hasattr(outputs, part):
        outputs = getattr(outputs, part)
    elif part is not None:
        outputs = outputs[part]
    elif isinstance(outputs, Mapping) and "logits" in outputs:
        outputs = outputs["logits"]
    elif hasattr(outputs, "logits"):
        outputs = outputs.logits
    parts = list(leaves(outputs))
    found = next((leaf.tensor for leaf in parts if leaf.tensor is not None), None)
    if found is None:
        holds = "".join(f", {leaf.problem}" for leaf in parts if leaf.problem)
        raise LabelError(
            f"no scores in the model's output ({type(outputs).__name__}{holds}); say where they "
            "are: predicted(output='logits') or predicted(output=0)"
        )
    return found


def _argmax(scores: Tensor, dim: int | None) -> Tensor:
    if dim is None and scores.ndim != 2:  # noqa: PLR2004
        raise LabelError(
            f"scores have shape {tuple(scores.shape)}; say which axis holds the classes: "
            "predicted(dim=-1) for [sample, time, class]"
        )
    return torch.argmax(scores.detach(), 1 if dim is None else dim)
