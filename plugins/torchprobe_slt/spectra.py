"""How diverse the linear functions of a layer's nodes are (NM17, Fig. 7A)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from torchprobe.errors import EmptyStateError
from torchprobe.fields import Field
from torchprobe_slt.diversity import AXES, SltDiversity
from torchprobe_slt.spectrum import known_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torchprobe import Layer, NetworkBatch, Result
    from torchprobe.numerics.spectra import AucForm
    from torchprobe_slt.products import Products
    from torchprobe_slt.windows import WindowSpec

__all__ = ["SltSpectra"]


class SltSpectra(SltDiversity):
    """How diverse the linear functions are that a layer's nodes apply to the samples.

    For each node the singular values of its SLTs [sample, input], for each input those of its
    effects [sample, node], each spectrum divided by its first value; their mean, and the area under
    each of them (AUC). Rank one, an AUC of 0.5, means one and the same function for all samples, as
    in the first hidden layer of a ReLU network; a flat spectrum, an AUC of d − 1, as many functions
    as samples.

    Spectra come from Gram matrices in float64, [input, input] for each node and [node, node] for
    each input, in the same memory for any number of samples. By default a bounded sample of the
    inputs is kept and the network run on it at the end, as it then is; ``samples=None`` takes every
    sample as it comes.

    Fields: ``mean_node_auc``, ``mean_input_auc``; ``node_auc`` [node] and ``input_auc`` [input]
    (0.5..d−1, NaN where all SLTs are 0); ``node_spectrum`` and ``input_spectrum`` [index], means of
    spectra, 0..1; ``zero_nodes`` and ``zero_inputs``, left out of the means; ``linear_nodes``,
    those of rank one; ``samples``.

    Args:
        samples: how many samples are taken at most, those with the smallest hashes of their ids:
            2,000, several times the rank that a usual input allows; all of them where None.
        d: how many singular values count, the same for all that is compared; 100 as in the paper's
            figure.
        form: how the area is taken, see `torchprobe.numerics.auc`.
        axes: "node", "input" or both.
        point, route, window, sample_axis, memory_budget: see `SltAnalyzer`.

    Raises:
        SettingError: d < 2, no samples, or unknown axes.
        MemoryBudgetError: the Gram matrices of one layer exceed the budget.

    Source: Nagamine & Mesgarani 2017, sections 2.3 and 4.2, Fig. 7A. The paper leaves the first
    layer out because its node spectra have rank one; here they are computed, and drawings leave
    them out.

    Example:
        >>> import torch, torchprobe as tp
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4), nn.ReLU())
        >>> probe = tp.Probe(net, layers=nn.ReLU, analyzers=[SltSpectra(d=2)])
        >>> slt = probe.run([torch.randn(50, 2)])["slt"]
        >>> slt["1"].node_auc.round(6)
        array([0.5, 0.5, 0.5])
    """

    name = "slt"

    def __init__(
        self,
        *,
        samples: int | None = 2000,
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

    def update(self, batch: NetworkBatch, /) -> None:
        """Take in all samples."""
        self.take(batch, torch.zeros(self.arguments(batch).n_samples, dtype=torch.int64))

    def compute(self) -> list[Result]:
        """The spectra of every layer."""
        return [self._result(layer, grams) for layer, grams in self.found()]

    def _result(self, layer: Layer, grams: Mapping[str, Products]) -> Result:
        (count,) = self.counts(grams, layer)
        if not count:
            raise EmptyStateError("no sample was seen")
        fields: dict[str, Any] = {}
        for axis in self.axes:
            (spectra,) = self.spectra(grams, layer, axis)
            fields |= {
                f"mean_{axis}_auc": known_mean(spectra.auc),
                f"{axis}_auc": Field(axis, spectra.auc, range=(None, self.d - 1)),
                f"{axis}_spectrum": Field("index", spectra.mean, range=(0, 1)),
                f"zero_{axis}s": spectra.zero,
            }
            if axis == "node":
                fields["linear_nodes"] = spectra.rank_one
        return self.result(of=layer, notes=self.remarks(), samples=count, **fields)
