"""Which output node stands for which class, and which samples the network gets right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from torchprobe import predicted
from torchprobe.errors import LabelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from torchprobe import NetworkBatch
    from torchprobe.labels import ClassNames

__all__ = ["node_of", "right"]


def node_of(labels: Tensor, classes: Sequence[str] | None, names: ClassNames | None) -> Tensor:
    """The output node of each label: int64 [row], -1 where there is none.

    Args:
        labels: int64 [row], negative to be left out.
        classes: names of the output's nodes in their order; a label is the number of its node where
            None.
        names: names of the labels.

    Raises:
        LabelError: labels are names but it was not said which nodes they belong to.
    """
    known = torch.unique(labels[labels >= 0])
    if classes is None:
        if names is not None and names.strings:
            raise LabelError(
                "labels are names, so that it is not known which output node belongs to which; say "
                "their names in the nodes' order: classes=['aa', 'b', ...]"
            )
        return labels
    numbers = {name: number for number, name in enumerate(classes)}
    nodes = torch.full_like(labels, -1)
    for label in known.tolist():
        name = names.name(label) if names is not None else str(label)
        nodes[labels == label] = numbers.get(name, -1)
    return nodes


def right(batch: NetworkBatch, nodes: Tensor) -> Tensor:
    """Whether the output's largest entry is the sample's own node: bool [sample].

    Raises:
        LabelError: the output has no scores [sample, class], or labels are not one a sample.
    """
    guesses = predicted()(batch.output, batch.given)
    assert isinstance(guesses, torch.Tensor)
    if guesses.shape != nodes.shape:
        raise LabelError(
            f"the model predicts {tuple(guesses.shape)} classes for labels {tuple(nodes.shape)}; "
            "this analysis takes one label a sample"
        )
    return guesses.cpu() == nodes.cpu()
