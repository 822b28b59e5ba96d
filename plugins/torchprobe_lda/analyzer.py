"""How separable classes are in each layer: linear discriminant analysis, streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from torchprobe import Analyzer
from torchprobe.accumulators import Confusion, Counts, GroupMeans, Mean, WithinScatter
from torchprobe.errors import TorchprobeError
from torchprobe_lda import description
from torchprobe_lda.accuracies import refuse_early
from torchprobe_lda.control import BINS, row_bins
from torchprobe_lda.fields import findings
from torchprobe_lda.fit import Fit, Priors, fit, fourth_powers, with_control
from torchprobe_lda.settings import checked_priors, count, one_of, share, split_name, split_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from torchprobe import Layer, LayerBatch, Result
    from torchprobe.numerics.lda import Dof

__all__ = ["LDA"]

FIT = "fit"


class LDA(Analyzer):
    """How well classes can be told apart in a layer, by linear discriminant analysis (LDA).

    The space is fitted to the split "fit" from streamed class means and one pooled scatter within
    classes, never from the difference of total and between; its accuracy is then counted on every
    split in ``scored``, which for "fit" itself takes a second look at the data.

    Fields of the result, for K classes:

    - ``accuracy_fit``, ``accuracy`` (split "score"), ``accuracy_<split>``: fraction of rows whose
      class is predicted right; with ``class_accuracy…`` (class), NaN where a class has no row, and
      ``confusion…`` (class, predicted), in rows. Rows of classes that "fit" did not have are in
      none of them; a note says how many those are;
    - ``control_accuracy…`` and ``accuracy_above_control…``: the same for labels that mean nothing
      (Hewitt & Liang's control task), and the difference, which they call selectivity: not the
      selectivity of units for classes;
    - ``majority_share``: the share of the largest class of "fit", what guessing it would get right;
    - ``evr`` (ratio): explained variance ratios, min(K − 1, channels) of them, and ``evr_auc``, the
      area under them divided by the first, zero-padded to K − 1;
    - ``class_spectra`` (class, component): singular values of the matrix of each class's points in
      the space, not centred again; ``class_spectra_centered``: about the class's mean, its spread
      alone; ``class_spectrum`` (rank): the first of them normalised and averaged over classes;
      ``class_auc`` (class) and ``class_spectrum_auc``: the areas under them;
    - ``scalings`` (channel, component), ``grand_mean`` (channel), ``centroids`` (class, component),
      ``priors`` and ``counts`` (class): the space itself, z = (x − grand_mean)·scalings;
    - ``rank``: directions along which rows vary within classes; ``constant`` (channel) and
      ``n_constant``: channels that do not, which are left out; ``shrinkage``: what was applied;
    - ``points`` (point, component), ``point_class``, ``point_id``, ``point_right``,
      ``point_network``, ``point_separable`` (point): a sample of the rows in the space, the same
      rows in every layer; whether this LDA is right, and where known whether the network is and
      whether the earlier layer's LDA is (1, 0, or −1 where unknown);
    - ``network_accuracy``, ``network_confusion`` (class, predicted): of the network's own
      predictions, where ``Probe(groupings={"predicted": tp.predicted()})`` tells them; with
      ``{"correct": tp.correct()}`` the accuracy only. Where classes of several groupings are
      given, say which are predicted: ``{"predicted_phoneme": tp.predicted()}``;
    - ``subset_centroids`` (subset, class, component), ``subset_counts`` (subset, class): centroids
      of separable and inseparable rows, of those that the network gets right where that is known,
      where a grouping "separable" tells them; see `torchprobe_lda.study`.

    Args:
        shrinkage: pull the pooled covariance towards the scaled identity: 0..1, or "ledoit_wolf",
            which takes one more pass over "fit". For layers with more units than rows, or nearly.
        priors: of the classes: "data" (their shares, as scikit-learn), "uniform", or by name.
        dof: divide the scatter by N − K ("n-k", the paper's scikit-learn) or by N ("n",
            scikit-learn 1.9). Ratios do not depend on it, scalings and scores slightly.
        scored: the splits whose accuracy is counted. Without "fit" one pass over it will do.
        described: the split whose points are described (spectra, sample, subsets); None for none.
            "score", because the paper describes held-out data, and because the fit's own points
            lie farther apart than they should.
        control: "rows" gives every row a random class; the name of a grouping gives one to each of
            its labels, as Hewitt & Liang do with words; None leaves the control out. Random labels
            follow ids: a loader that shuffles must give them.
        sample: how many rows to keep as points; 0 for none. The default is what t-SNE can take.
        seed: draws the sample and the control's labels.
        orthonormal: describe points in an orthonormal basis of the space, in place of the one in
            which rows have unit variance within classes. Predictions stay the same.

    Raises:
        SettingError: a setting has a value that is not allowed.

    Source: Nagamine & Mesgarani 2017, sections 3.2 and 3.3, Table 2, Fig. 3-5; scikit-learn's
    ``LinearDiscriminantAnalysis(solver="svd")``, which it used; for the control Hewitt & Liang,
    "Designing and interpreting probes with control tasks", EMNLP 2019. The paper calls the bases
    orthonormal; the solver's are so in the metric of the scatter within classes.

    Example:
        >>> import torch, torchprobe as tp
        >>> x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
        >>> y = torch.arange(400) % 4
        >>> x[:, 0] += 3 * y  # the classes lie along one direction
        >>> results = tp.Probe(torch.nn.Identity(), "input", ["lda"]).run(
        ...     fit=[(x[:300], y[:300])], score=[(x[300:], y[300:])]
        ... )
        >>> found = results["lda"]["input"]
        >>> bool(found.accuracy > 0.85), found.evr.round(1).tolist(), found.confusion.shape
        (True, [1.0, 0.0, 0.0], (4, 4))
    """

    name = "lda"
    needs_labels = True

    def __init__(
        self,
        shrinkage: float | Literal["ledoit_wolf"] | None = None,
        priors: Priors = "data",
        dof: Dof = "n-k",
        scored: str | Iterable[str] = ("fit", "score"),
        described: str | None = "score",
        control: str | None = "rows",
        sample: int = 5000,
        seed: int = 0,
        orthonormal: bool = False,
    ) -> None:
        self.shrinkage = share(shrinkage, "shrinkage", "ledoit_wolf")
        self.priors = checked_priors(priors)
        self.dof = one_of("dof", dof, ("n-k", "n"))
        self.scored = split_names(scored)
        self.described = None if described is None else split_name("described", described)
        self.control = control
        self.sample = count("sample", sample)
        self.seed = seed
        self.orthonormal = orthonormal
        used = dict.fromkeys([*self.scored, *([described] if described else [])])
        self._solved_after = int(self.shrinkage == "ledoit_wolf")
        self.passes = 1 + self._solved_after + (FIT in used)
        self.splits = (FIT, *(split for split in used if split != FIT))

    # -- gathering

    def start(self, layer: Layer) -> None:
        """Scatter for the fit; predictions, control and descriptions for what comes after it."""
        self._fit: Fit | None = None
        self._problem: TorchprobeError | None = None
        self._means: tuple[Tensor, Tensor] | None = None
        self.scatter = WithinScatter(layer.channels)
        self.confusions = {split: Confusion() for split in self.scored}
        if self.shrinkage == "ledoit_wolf":
            self.fourth = Mean(())
        self.control_right: dict[str, Counts] = {}
        if self.control is not None:
            self.bins = GroupMeans(layer.channels)
            self.control_right = {split: Counts(()) for split in self.scored}
        if self.described is not None:
            self.description = description.begin(layer, self.sample, self.seed)

    def state_bytes(self, layer: Any) -> int:
        """Bytes of the scatter, of the control's bins and of the sample.

        What grows with the number of classes cannot be known beforehand and is not in it.
        """
        bins = BINS * (layer.channels + 2) * 8 if self.control is not None else 0
        sample = description.sample_bytes(layer, self.sample) if self.described is not None else 0
        return WithinScatter(layer.channels).nbytes + bins + sample

    def update(self, batch: LayerBatch) -> None:
        """Add the rows of a batch to the fit, or count and describe how the fit does on them.

        Raises:
            EmptyStateError: a further split came before "fit".
        """
        if batch.split != FIT or batch.number > self._solved_after:
            self._use(batch)
        elif batch.number == 0:
            self.scatter.update(batch.rows(), batch.groups)
            if self.control is not None:
                bins = row_bins(batch, self.control, self.seed)
                self.bins.update(batch.rows(), bins)
        elif self._means is not None:
            self.fourth.update(fourth_powers(batch, *self._means))

    def after(self, split: str, number: int) -> None:
        """Solve for the space once all of its data was seen."""
        if (split, number) == (FIT, 0) and self.scatter.state:
            self._means = self.scatter.groups, self.scatter.means
        if split == FIT and number == self._solved_after:
            self._fit = self._problem = None
            try:
                self._fit = self._solved()
            except TorchprobeError as error:  # said by compute, which is there to be asked
                self._problem = error

    def _use(self, batch: LayerBatch) -> None:
        """Predict the rows of a batch."""
        if self._fit is None:
            refuse_early(batch.split, self._problem)
            return
        self._fit = self._fit.to(batch.rows().device)
        points = self._fit.discriminant.points(batch.rows())
        if batch.split in self.confusions:
            self.confusions[batch.split].update(
                batch.groups, self._fit.discriminant.nearest(points)
            )
            self._use_control(batch)
        if batch.split == self.described:
            n_classes, alone = len(self._fit.labels), self.groupings == (self.grouping,)
            description.update(self.description, batch, points, n_classes, alone=alone)

    def _use_control(self, batch: LayerBatch) -> None:
        control = self._fit.control if self._fit else None
        if control is not None and self.control is not None:
            bins = row_bins(batch, self.control, self.seed)
            self.control_right[batch.split].update(control.right(batch.rows(), bins))

    # -- concluding

    def _solved(self) -> Fit:
        found = fit(
            self.scatter,
            self.class_names(self.scatter.groups),
            priors=self.priors,
            dof=self.dof,
            shrinkage=self.shrinkage,
            fourth=self.fourth if self.shrinkage == "ledoit_wolf" else None,
        )
        if self.control is None:
            return found
        return with_control(found, self.scatter, self.bins, self.dof)

    def compute(self) -> Result:
        """The space, its spectra, the accuracies and the points.

        Raises:
            EmptyStateError: no row of "fit" with a label was seen.
            InsufficientDataError: too few classes or rows, or nothing varies.
            NonFiniteError: NaN or infinity among the rows, where these are propagated.
        """
        found = findings(self, self._fit or self._solved())
        return self.result(coords=found.coords, notes=found.notes, **found.fields)
