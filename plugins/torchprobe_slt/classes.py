"""How diverse a whole layer's functions are within one class, beside its activations (NM17, 7B)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from torchprobe.accumulators import BoundedSample, WithinScatter
from torchprobe.errors import InsufficientDataError, MemoryBudgetError, SettingError
from torchprobe.fields import Field
from torchprobe.numerics import (
    auc,
    mean_spectrum,
    normalised,
    singular_values,
    singular_values_from_gram,
    solve_lda,
)
from torchprobe_slt.base import SltAnalyzer
from torchprobe_slt.collect import collect
from torchprobe_slt.spectrum import known_mean, resolved
from torchprobe_slt.truth import node_of, right

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from torchprobe import Layer, Network, NetworkBatch, Result
    from torchprobe.numerics.spectra import AucForm
    from torchprobe_slt.windows import WindowSpec

    Array = NDArray[np.float64]

__all__ = ["SltClasses"]

_CHUNK = 1 << 19
"""Entries of Jacobians turned into float64 at once."""


@dataclass(frozen=True, eq=False)
class _Class:
    """One class in one layer."""

    sigma: Array
    """Singular values of its SLTs, samples × (nodes · inputs): [index]."""
    outputs: Array
    """Its activations: [sample, node]."""


class SltClasses(SltAnalyzer):
    """How diverse the functions of a whole layer are within each class, beside its activations.

    For each class the singular values of the matrix of its samples' SLTs of all nodes together,
    [sample, node · input], divided by the first; the area under them (AUC), and its mean over
    classes. Beside it the same for activations: class-wise spectra in the space of the layer's own
    linear discriminants, not centred. The paper finds the two strongly anti-correlated over layers:
    the more diverse the functions, the more alike the activations within a class.

    The matrices are too wide for Gram matrices of features, so that inputs of a bounded sample of
    every class are kept and the network is run on them at the end, as it then is.

    Fields: ``auc`` (mean over classes), ``class_auc`` [class], ``spectrum`` [index] (mean of
    classes), ``class_spectrum`` [class, index], ``activation_auc`` (NaN where the discriminants
    cannot be found), ``class_count`` [class].

    Args:
        samples: at most so many of each class, those with the smallest hashes of their ids: 512,
            five times the default ``d``.
        d: how many singular values count, for SLTs; 100 as in the paper's figure. Classes with
            fewer samples have short spectra, which is noted.
        d_activation: the same for activations; the number of classes − 1 by default.
        form: how the area is taken, see `torchprobe.numerics.auc`.
        correct_only: leave out samples that the network gets wrong.
        classes: names of the output's nodes in their order, where labels are names.
        point, route, window, sample_axis, memory_budget: see `SltAnalyzer`.

    Raises:
        SettingError: fewer than 2 samples or singular values.
        MemoryBudgetError: the SLTs of one class exceed the budget.

    Source: Nagamine & Mesgarani 2017, section 4.2, Fig. 7B; 3.2 for activations. Deviation: a
    sample of each class (the paper takes all), and discriminants fitted on that sample.
    """

    name = "slt_classes"
    needs_labels = True

    def __init__(
        self,
        *,
        samples: int = 512,
        d: int = 100,
        d_activation: int | None = None,
        form: AucForm = "trapezoid",
        correct_only: bool = False,
        classes: Sequence[str] | None = None,
        point: str | None = None,
        route: str = "auto",
        window: WindowSpec | None = None,
        sample_axis: int = 0,
        memory_budget: int | None = None,
    ) -> None:
        super().__init__(point, route, window, sample_axis, memory_budget)
        if min(samples, d, d_activation or 2) < 2:  # noqa: PLR2004
            raise SettingError(
                f"samples={samples}, d={d}, d_activation={d_activation}; each is 2 or more"
            )
        self.samples, self.d, self.d_activation, self.form = samples, d, d_activation, form
        self.correct_only, self.classes = correct_only, classes

    def start(self, network: Network, /) -> None:
        """Make room for the inputs of each class."""
        super().start(network)
        self._refuse_too_much()
        self.sample = BoundedSample(self.packing.width, self.samples, per_group=True)

    def update(self, batch: NetworkBatch, /) -> None:
        """Keep the inputs that belong to the sample."""
        labels = batch.labels.cpu()
        if self.correct_only:
            wrong = ~right(batch, node_of(labels, self.classes, self.names))
            labels = labels.masked_fill(wrong, -1)
        self.sample.update(self.packed(batch), batch.sample_ids, labels)

    def compute(self) -> list[Result]:
        """Run the network on the sample, class by class, and take the spectra."""
        labels, rows = self.sample.labels, self.sample.rows
        groups = torch.unique(labels)
        found: dict[str, list[_Class]] = {layer.name: [] for layer in self.layers}
        for group in groups:
            for name, one in self._class(rows[(labels == group).to(rows.device)]):
                found[name].append(one)
        return [self._result(layer, groups, found[layer.name]) for layer in self.layers]

    def _class(self, rows: Tensor) -> Iterator[tuple[str, _Class]]:
        blocks = self.again(rows)
        for name, each in collect(blocks, len(rows)).items():
            values = each.values.reshape(len(rows), -1)  # [sample, node · input]
            outputs = each.output.reshape(len(rows), -1).double().cpu().numpy()
            yield name, _Class(_singular_values(values), outputs)

    def _result(self, layer: Layer, groups: Tensor, classes: list[_Class]) -> Result:
        areas = [auc(one.sigma, self.d, self.form) for one in classes]
        counts = [len(one.outputs) for one in classes]
        return self.result(
            of=layer,
            coords={"class": self.class_names(groups)},
            notes=[*self.remarks(), *self._short(groups, counts)],
            auc=known_mean(areas),
            activation_auc=self._activation_auc(classes),
            class_auc=Field("class", areas, range=(None, self.d - 1)),
            spectrum=("index", mean_spectrum([one.sigma for one in classes], self.d).values),
            class_spectrum=("class index", [_shape(one.sigma, self.d) for one in classes]),
            class_count=("class", counts),
        )

    def _activation_auc(self, classes: list[_Class]) -> float:
        """Mean area under class-wise spectra in the space of the layer's discriminants."""
        rows = torch.from_numpy(np.concatenate([one.outputs for one in classes]))
        scatter = WithinScatter(rows.shape[1])
        labels = torch.arange(len(classes)).repeat_interleave(
            torch.tensor([len(one.outputs) for one in classes])
        )
        scatter.update(rows, labels)
        try:
            lda = solve_lda(scatter.counts, scatter.means, scatter.within)
        except InsufficientDataError:
            return float("nan")
        d = max(2, self.d_activation or len(classes) - 1)
        return known_mean(
            auc(singular_values(lda.project(c.outputs)), d, self.form) for c in classes
        )

    def _short(self, groups: Tensor, counts: list[int]) -> list[str]:
        few = [group for group, count in zip(groups, counts, strict=True) if count < self.d]
        if not few:
            return []
        names = ", ".join(self.class_names(few)[:5])
        share = f"{len(few)} of {len(groups)} classes ({names}, ...)"
        return [f"{share} have fewer than d={self.d} samples: their spectra are short for that"]

    def _refuse_too_much(self) -> None:
        """Refuse SLTs of one class that would not fit the budget."""
        sizes = [self.size(self.network, layer) for layer in self.layers]
        positions = [math.prod(layer.position_shape) for layer in self.layers]
        each = sum(s.nodes * s.inputs * p for s, p in zip(sizes, positions, strict=True))
        need = each * self.samples * self.layers[0].dtype.itemsize
        if need > self.sweep().memory_budget:
            raise MemoryBudgetError(
                f"the SLTs of {self.samples} samples of one class need {need:,} bytes, more than "
                f"the budget of {self.sweep().memory_budget:,}; choose fewer samples= or layers"
            )


def _singular_values(matrix: Tensor) -> Array:
    """Singular values of a wide matrix [sample, feature] through its samples' products."""
    from scipy.linalg.blas import dsyrk

    products = np.zeros((len(matrix), len(matrix)))  # its lower triangle, C's order
    for part in matrix.split(max(1, _CHUNK // len(matrix)), dim=1):
        wide = part.double().cpu().contiguous().numpy()
        dsyrk(1.0, wide.T, beta=1.0, c=products.T, trans=1, overwrite_c=1)
    return resolved(singular_values_from_gram(products))


def _shape(sigma: Array, d: int) -> Array:
    """A spectrum divided by its first value, cut or filled with 0 to d values."""
    return np.pad(normalised(sigma)[:d], (0, max(0, d - len(sigma))))
