"""A sample of a layer's rows that is the same at every step of a training."""

from __future__ import annotations

import torch

from torchprobe import Analyzer, Layer, LayerBatch, Result
from torchprobe.accumulators import BoundedSample
from torchprobe.errors import EmptyStateError, SettingError

__all__ = ["ActivationSample"]

_LEAST = 4  # rows without which drift cannot be measured


class ActivationSample(Analyzer):
    """Activations of a layer on a fixed sample of rows, by which its drift can be measured.

    Which rows are kept depends on their ids alone: on the same loader they are the same at every
    step of a training, whatever the weights, so that `torchprobe.History.drift` can compare them.

    The result has, for at most ``n`` rows:

    - ``rows`` (item, channel): activations, float32;
    - ``ids`` (item): which rows they are, int64;
    - ``norm``: the root of the mean squared distance from their mean, in the layer's unit: a layer
      that grows or collapses as a whole moves neither by CKA nor by Procrustes.

    Args:
        n: rows kept. 256 pin a correlation down to 0.06; memory is 256 rows a layer and step.
        seed: another seed takes another sample.

    Raises:
        SettingError: ``n`` is below 4.

    Example:
        >>> import torch, torchprobe as tp
        >>> probe = tp.Probe(torch.nn.ReLU(), analyzers=[ActivationSample(n=4)])
        >>> results = probe.run([torch.randn(3, 5), torch.randn(3, 5)])
        >>> results["activation_sample"]["model"].rows.shape
        (4, 5)
    """

    name = "activation_sample"

    def __init__(self, n: int = 256, seed: int = 0) -> None:
        if n < _LEAST:
            raise SettingError(f"n={n}; at least {_LEAST} rows are needed to measure drift")
        self.n, self.seed = n, seed

    def start(self, layer: Layer) -> None:
        """Room for the sample."""
        self.sample = BoundedSample(layer.channels, self.n, self.seed)

    def update(self, batch: LayerBatch) -> None:
        """Let the rows of a batch in whose turn it is."""
        self.sample.update(batch.rows(), batch.row_ids)

    def compute(self) -> Result:
        """The sample as it is.

        Raises:
            EmptyStateError: nothing was seen.
        """
        rows = self.sample.rows.double()
        if not len(rows):
            raise EmptyStateError(f"layer {self.layer.name!r} has seen no rows; nothing to keep")
        spread = (rows - rows.mean(0)).square().sum(1).mean().sqrt()
        return self.result(
            rows=("item channel", rows.to(torch.float32)),
            ids=("item", self.sample.ids),
            norm=float(spread),
        )
