"""The samples that transforms are compared between: their classes, and who gets them right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from torchprobe.accumulators.sample import hash_order
from torchprobe.errors import InsufficientDataError, TorchprobeError
from torchprobe.numerics import solve_lda

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torchprobe.accumulators import WithinScatter

__all__ = ["Points", "judged_by_input", "label_of_sample", "nodes_of_classes"]


@dataclass(frozen=True, eq=False)
class Points:
    """Samples of several classes, in an order that depends on their ids alone."""

    labels: Tensor
    """int64 [sample]."""
    ids: Tensor
    """int64 [sample]."""
    right: Tensor
    """Whether the network is right: bool [sample]; all where it cannot be known."""
    told: Tensor | None
    """Whether the classes' discriminants on the input are right: bool [sample]; None: unknown."""
    seed: int = 0

    @property
    def classes(self) -> Tensor:
        """The labels there are: int64 [class]."""
        classes: Tensor = self.labels.unique()
        return classes

    def members(self, *, right: bool = False) -> Iterator[Tensor]:
        """The samples of each class, or those that the network gets right: int64 [sample]."""
        for label in self.classes.tolist():
            inside = self.labels == label
            yield (inside & self.right if right else inside).nonzero().squeeze(1)

    def split(self) -> tuple[Tensor, Tensor]:
        """As many samples that the input tells right (COR) as it tells wrong (INC).

        Both of those that the network gets right: the smaller set whole, of the larger those that
        come first by the hash of their ids.
        """
        if self.told is None:
            nothing = torch.zeros(0, dtype=torch.int64)
            return nothing, nothing
        order = hash_order(self.ids, self.seed).argsort()
        right, told = self.right[order], self.told[order]
        correct, wrong = order[right & told], order[right & ~told]
        n = min(len(correct), len(wrong))
        return correct[:n], wrong[:n]


def label_of_sample(labels: Tensor) -> Tensor:
    """One label for each sample [sample]: where positions have their own, the middle one's.

    >>> label_of_sample(torch.tensor([[3, 4, 5, -1], [-1, -1, -1, -1]])).tolist()
    [4, -1]
    """
    if labels.ndim == 1:
        return labels
    flat = labels.flatten(1)
    counted = (flat >= 0).cumsum(1)  # [sample, position]
    half = counted[:, -1:] // 2 + 1
    middle = (counted >= half).int().argmax(1, keepdim=True)
    found = flat.gather(1, middle)[:, 0]
    return torch.where(counted[:, -1] > 0, found, -1)


def judged_by_input(scatter: WithinScatter | None, flat: Tensor, labels: Tensor) -> Tensor | None:
    """Whether linear discriminants on the input get samples right: bool [sample]; None: unknown."""
    if scatter is None or not scatter.state:
        return None
    try:
        solved = solve_lda(
            scatter.counts.numpy(force=True),
            scatter.means.numpy(force=True),
            scatter.within.numpy(force=True),
        )
    except TorchprobeError:
        return None  # one class, or nothing varies
    predicted = solved.predict(flat.double().numpy(force=True))
    return torch.from_numpy(scatter.groups.numpy()[predicted] == labels.numpy())


def nodes_of_classes(labels: Tensor, predicted: Tensor, n_nodes: int, *, numbered: bool) -> Tensor:
    """The output node of each class, in the order of the labels: int64 [class].

    A class's number is its node. Where classes have no such numbers (they came as strings), nodes
    are given to classes so that as many samples as possible are predicted right.

    Raises:
        InsufficientDataError: there are more classes than nodes.

    >>> labels, predicted = torch.tensor([0, 0, 1, 1]), torch.tensor([2, 2, 0, 2])
    >>> nodes_of_classes(labels, predicted, 3, numbered=False).tolist()
    [2, 0]
    """
    classes: Tensor = labels.unique()
    if numbered and int(classes.max()) < n_nodes:
        return classes
    if len(classes) > n_nodes:
        raise InsufficientDataError(
            f"{len(classes)} classes cannot each have one of {n_nodes} output nodes; probe a model "
            "whose output has a node for each class"
        )
    from scipy.optimize import linear_sum_assignment

    counts = np.zeros((len(classes), n_nodes))
    np.add.at(counts, (torch.searchsorted(classes, labels).numpy(), predicted.numpy()), 1)
    return torch.from_numpy(linear_sum_assignment(counts, maximize=True)[1])
