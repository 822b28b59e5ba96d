"""How separable classes are in each layer, by the probe most people know: logistic regression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from torchprobe import Analyzer, Field
from torchprobe.accumulators import BoundedSample, Confusion, Counts, GroupMeans
from torchprobe.errors import SettingError, TorchprobeError
from torchprobe_lda.accuracies import Findings, count_accuracy, listed, refuse_early
from torchprobe_lda.control import Control, class_of_bin, classes_of, row_bins
from torchprobe_lda.logistic import Logistic, logistic
from torchprobe_lda.settings import count, split_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from torch import Tensor

    from torchprobe import Layer, LayerBatch, Result

__all__ = ["LinearProbe"]

FIT = "fit"


class LinearProbe(Analyzer):
    """How well classes can be told apart in a layer, by multinomial logistic regression.

    The probe is fitted, to its optimum, to a uniform sample of the split "fit", and its accuracy is
    counted on all rows of every split in ``scored``; on "fit" that takes a second look at the data.
    Unlike LDA it assumes nothing of how classes are spread, and it takes longer.

    Streamed gradient descent, which one would expect here, is not what happens: its result hangs on
    the order and size of batches and on a learning rate, and those of several processes cannot be
    merged; going over all data until it converges would mean dozens of passes through the network.
    A sample of constant size has one optimum, in one pass, whatever the batches.

    Fields of the result, for the classes of the sample:

    - ``accuracy_fit``, ``accuracy`` (split "score"), ``accuracy_<split>``, ``class_accuracy…``
      (class), ``confusion…`` (class, predicted), ``control_accuracy…``,
      ``accuracy_above_control…``: as for `torchprobe_lda.LDA`;
    - ``weights`` (class, channel) and ``intercepts`` (class): a row x is taken for the class with
      the largest x·weights + intercept;
    - ``counts`` (class): rows of each class in "fit"; ``majority_share``: that of the largest;
    - ``fitted_rows``: the size of the sample; ``converged``: whether the optimum was reached.

    Args:
        rows: how many rows to fit to; state grows with them. More help where a layer is wide.
        l2: weight of the penalty ½·l2·‖weights‖² beside the mean loss, for channels of unit
            variance. It does not depend on the number of rows; the default did best, within 1 %,
            on the layers of a phoneme network.
        scored: the splits whose accuracy is counted.
        control: as for `torchprobe_lda.LDA`; None by default because it doubles the time.
        seed: draws the sample and the control's labels.
        max_steps: of the optimiser; a result that did not converge says so.

    Raises:
        SettingError: a setting has a value that is not allowed.

    Source: Alain & Bengio, "Understanding intermediate layers using linear classifier
    probes", 2016.

    Example:
        >>> import torch, torchprobe as tp
        >>> x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
        >>> y = (x[:, 0] > 0).long()
        >>> results = tp.Probe(torch.nn.Identity(), "input", ["linear_probe"]).run(
        ...     fit=[(x[:300], y[:300])], score=[(x[300:], y[300:])]
        ... )
        >>> found = results["linear_probe"]["input"]
        >>> bool(found.accuracy > 0.95), found.weights.shape, found.converged
        (True, (2, 3), True)
    """

    name = "linear_probe"
    needs_labels = True

    def __init__(
        self,
        rows: int = 10_000,
        l2: float = 3e-3,
        scored: str | Iterable[str] = ("fit", "score"),
        control: str | None = None,
        seed: int = 0,
        max_steps: int = 500,
    ) -> None:
        self.rows = count("rows", rows, least=2)
        self.l2 = _positive(l2)
        self.scored = split_names(scored)
        self.control = control
        self.seed = seed
        self.max_steps = count("max_steps", max_steps, least=1)
        self.passes = 1 + (FIT in self.scored)
        self.splits = (FIT, *(split for split in self.scored if split != FIT))

    # -- gathering

    def start(self, layer: Layer) -> None:
        """A sample for the fit, counts of classes, predictions for what comes after it."""
        self._probe: Logistic | None = None
        self._problem: TorchprobeError | None = None
        self._shuffled: Control | None = None
        self.sample = BoundedSample(layer.channels, self.rows, self.seed)
        self.classes = GroupMeans(())
        self.confusions = {split: Confusion() for split in self.scored}
        self.control_right: dict[str, Counts] = {}
        if self.control is not None:
            self.bins = BoundedSample(1, self.rows, self.seed)
            self.control_right = {split: Counts(()) for split in self.scored}

    def state_bytes(self, layer: Any) -> int:
        """Bytes of the sample."""
        itemsize = 8 if layer.positions == "mean" else layer.dtype.itemsize
        books = 24 + 32 * (self.control is not None)
        return int(self.rows * (layer.channels * itemsize + books))

    def update(self, batch: LayerBatch) -> None:
        """Add the rows of a batch to the sample, or count how the probe does on them.

        Raises:
            EmptyStateError: a further split came before "fit".
        """
        if batch.split != FIT or batch.number > 0:
            self._use(batch)
            return
        rows, groups = batch.rows(), batch.groups
        self.sample.update(rows.to(batch.values.dtype), batch.row_ids, groups)
        self.classes.update(torch.ones_like(groups.index, dtype=torch.float64), groups)
        if self.control is not None:
            bins = row_bins(batch, self.control, self.seed)
            self.bins.update(bins[:, None], batch.row_ids, groups)

    def after(self, split: str, number: int) -> None:
        """Fit once all of the data to sample from was seen."""
        if (split, number) == (FIT, 0):
            self._probe = self._shuffled = self._problem = None
            try:
                self._probe = self._fitted()
                self._shuffled = self._fitted_control() if self.control is not None else None
            except TorchprobeError as error:  # said by compute, which is there to be asked
                self._problem = error

    def _use(self, batch: LayerBatch) -> None:
        """Predict the rows of a batch."""
        if self._probe is None:
            refuse_early(batch.split, self._problem)
            return
        rows = batch.rows()
        self._probe = self._probe.to(rows.device)
        self.confusions[batch.split].update(batch.groups, self._probe.predicted(rows))
        if self._shuffled is not None and self.control is not None:
            bins = row_bins(batch, self.control, self.seed)
            right = self._shuffled.to(rows.device).right(rows, bins)
            self.control_right[batch.split].update(right)

    # -- concluding

    def _fitted(self) -> Logistic:
        labels = self.sample.labels.numpy()
        return logistic(_numpy(self.sample.rows), labels, self.l2, self.max_steps)

    def _fitted_control(self) -> Control:
        classes = class_of_bin(self.classes.counts.numpy(force=True).astype("float64"))
        bins = self.bins.rows.flatten().cpu()
        have = bins >= 0
        rows, labels = _numpy(self.sample.rows.cpu()[have]), classes_of(bins[have], classes).numpy()
        return Control(logistic(rows, labels, self.l2, self.max_steps), classes)

    def compute(self) -> Result:
        """The probe and its accuracies.

        Raises:
            EmptyStateError: no row of "fit" with a label was seen.
            InsufficientDataError: fewer than two classes, or nothing varies.
        """
        probe = (self._probe or self._fitted()).to(torch.device("cpu"))
        names = self.class_names(probe.classes)
        found = Findings({"class": names, "predicted": names})
        self._describe(found, probe)
        for split in self.scored:
            count_accuracy(found, self, probe.classes, split)
        return self.result(coords=found.coords, notes=found.notes, **found.fields)

    def _describe(self, found: Findings, probe: Logistic) -> None:
        groups, counts = self.classes.groups, self.classes.counts.cpu()
        total, fitted = int(counts.sum()), len(self.sample.ids)
        known = torch.isin(groups, probe.classes)
        found.fields |= {
            "weights": ("class channel", probe.weights),
            "intercepts": ("class", probe.intercepts),
            "counts": Field("class", counts[known], unit="rows"),
            "majority_share": Field("", float(counts.max()) / total, range=(0, 1)),
            "fitted_rows": fitted,
            "converged": probe.converged,
        }
        if fitted < total:
            found.notes.append(f"fitted to a sample of {fitted:,} of {total:,} rows of 'fit'")
        if not known.all():
            unknown = listed(self.class_names(groups[~known]))
            found.notes.append(f"the sample has no row of {unknown}, which are never predicted")
        if not probe.converged:
            found.notes.append(f"the fit did not converge in {self.max_steps:,} steps")


def _numpy(rows: Tensor) -> NDArray[Any]:
    """Rows in at least single precision; numpy has no bfloat16."""
    array: NDArray[Any] = rows.to(torch.promote_types(rows.dtype, torch.float32)).numpy(force=True)
    return array


def _positive(l2: float) -> float:
    if isinstance(l2, bool) or not isinstance(l2, (int, float)) or not 0 < l2 < float("inf"):
        raise SettingError(f"l2={l2!r}; give a number above 0, e.g. 3e-3")
    return float(l2)
