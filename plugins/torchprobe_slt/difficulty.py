"""Whether samples that are hard to tell apart get more functions than others (NM17, Fig. 7C)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from torchprobe.accumulators import WithinScatter
from torchprobe.errors import EmptyStateError, LabelError
from torchprobe.fields import Field
from torchprobe.numerics import solve_lda
from torchprobe_slt.diversity import AXES, SltDiversity
from torchprobe_slt.truth import node_of, right

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from torchprobe import Layer, Network, NetworkBatch, Result
    from torchprobe.numerics import LdaSolution
    from torchprobe.numerics.spectra import AucForm
    from torchprobe_slt.products import Products
    from torchprobe_slt.windows import WindowSpec

__all__ = ["SltDifficulty"]

SUBSETS = ("separable", "inseparable")


class SltDifficulty(SltDiversity):
    """Whether inputs that are not linearly separable get more linear functions than those that are.

    Linear discriminant analysis of the model's input, fitted in a pass of its own, parts the
    samples into separable ones, which it gets right (COR), and inseparable ones (INC). Spectra of
    SLTs as in `SltSpectra`, of either; ΔAUC = AUC of the mean spectrum of the inseparable − that of
    the separable. A positive ΔAUC means more diverse functions for the difficult samples.

    Fields, for "node" and "input": ``node_delta_auc``; ``node_spectrum`` [subset, index];
    ``node_auc`` [subset, node]; ``zero_nodes`` [subset]; ``samples`` [subset]. NaN where a subset
    is empty. A subset of fewer samples than inputs has a spectrum that is short for that reason
    alone, which is noted.

    Args:
        samples: how many samples of either subset are taken, the same number of both, those with
            the smallest hashes of their ids; 2,000 as in `SltSpectra`. All of them, as many as
            there are of either, where None.
        on: the split whose SLTs are taken; the discriminant is fitted on "fit" in any case. "fit"
            takes a second pass over it; the paper fits and applies on different data.
        correct_only: leave out samples that the network itself gets wrong.
        classes: names of the output's nodes in their order, where labels are names.
        d, form, axes: see `SltSpectra`.
        point, route, window, sample_axis, memory_budget: see `SltAnalyzer`.

    Raises:
        SettingError: d < 2, no samples, or unknown axes.
        MemoryBudgetError: the Gram matrices of one layer exceed the budget.

    Source: Nagamine & Mesgarani 2017, sections 3.3 and 4.2, Fig. 7C.
    """

    name = "slt_difficulty"
    needs_labels = True
    subsets = SUBSETS

    def __init__(
        self,
        *,
        samples: int | None = 2000,
        on: str = "fit",
        correct_only: bool = True,
        classes: Sequence[str] | None = None,
        d: int = 100,
        form: AucForm = "trapezoid",
        axes: Sequence[str] = AXES,
        point: str | None = None,
        route: str = "auto",
        window: WindowSpec | None = None,
        sample_axis: int = 0,
        memory_budget: int | None = None,
    ) -> None:
        super().__init__(
            samples=samples,
            d=d,
            form=form,
            axes=axes,
            point=point,
            route=route,
            window=window,
            sample_axis=sample_axis,
            memory_budget=memory_budget,
        )
        self.on, self.correct_only, self.classes = on, correct_only, classes
        self.passes = 2 if on == "fit" else 1
        self.splits = ("fit",) if on == "fit" else ("fit", on)

    def start(self, network: Network, /) -> None:
        """Make the input's scatter, and room for the SLTs of either subset."""
        super().start(network)
        self._lda: LdaSolution | None = None
        self._labels = torch.empty(0, dtype=torch.int64)
        self.scatter = WithinScatter(math.prod(self.input_shape(network)))

    def update(self, batch: NetworkBatch, /) -> None:
        """First the scatter of the inputs, then the SLTs of either subset."""
        inputs, labels = self.inputs(batch), batch.labels
        if labels.shape != inputs.shape[:1]:
            raise LabelError(
                f"labels have shape {tuple(labels.shape)}; the discriminant of the input takes one "
                f"label for each of {len(inputs)} samples"
            )
        if (batch.split, batch.number) == ("fit", 0):
            self.scatter.update(inputs, labels.to(inputs.device))
        else:
            self.take(batch, self._subset(batch, inputs))

    def after(self, split: str, number: int) -> None:
        """Solve the discriminant once its pass is complete."""
        if (split, number) == ("fit", 0):
            scatter = self.scatter
            parts = (scatter.counts, scatter.means, scatter.within)
            self._labels = scatter.groups
            self._lda = solve_lda(*(part.cpu().numpy() for part in parts))

    def compute(self) -> list[Result]:
        """Spectra of either subset and their difference, layer by layer."""
        found = [self._compared(layer, grams) for layer, grams in self.found()]
        if self.sample is None and not any(each.samples.any() for each in found):
            raise EmptyStateError(
                "no sample is in either subset: nothing was seen, or the network gets nothing "
                "right (correct_only=False takes all samples)"
            )
        return found

    def _subset(self, batch: NetworkBatch, inputs: Tensor) -> Tensor:
        """The subset of each sample, by its place in `SUBSETS`; -1 for neither: int64 [sample]."""
        if self._lda is None:
            raise EmptyStateError(
                'the discriminant of the input has seen no data; run the split "fit" first'
            )
        labels = batch.labels.cpu()
        guesses = self._labels[torch.from_numpy(self._lda.predict(inputs.double().cpu().numpy()))]
        ignored = labels < 0
        if self.correct_only:
            ignored |= ~right(batch, node_of(labels, self.classes, self.names))
        return (guesses != labels).long().masked_fill(ignored, -1)

    def _compared(self, layer: Layer, grams: Mapping[str, Products]) -> Result:
        counts = self.counts(grams, layer)
        fields: dict[str, Any] = {}
        for axis in self.axes:
            fields |= self._fields(grams, layer, axis)
        features = self.size(self.network, layer).inputs
        return self.result(
            of=layer,
            coords={"subset": SUBSETS},
            notes=[*self.remarks(), *_short(counts, features)],
            samples=Field("subset", counts),
            **fields,
        )

    def _fields(self, grams: Mapping[str, Products], layer: Layer, axis: str) -> dict[str, Any]:
        pair = separable, inseparable = self.spectra(grams, layer, axis)
        return {
            f"{axis}_delta_auc": inseparable.mean_auc - separable.mean_auc,
            f"{axis}_spectrum": Field("subset index", [each.mean for each in pair], range=(0, 1)),
            f"{axis}_auc": Field(f"subset {axis}", [each.auc for each in pair]),
            f"zero_{axis}s": Field("subset", [each.zero for each in pair]),
        }


def _short(counts: Sequence[int], features: int) -> list[str]:
    """A remark where spectra are short because there are few samples."""
    few = min(counts)
    subset = SUBSETS[counts.index(few)]
    if few == 0:
        return [f"no sample is {subset}: there is nothing to compare"]
    if few >= features:
        return []
    note = f"only {few:,} {subset} samples for {features:,} inputs limit the rank of their spectra"
    return [f"{note}; compare subsets of the same size (samples=)"]
