"""What a layer's neurons do that is particular to a group of inputs and matters to the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch

from torchprobe import Analyzer, Field
from torchprobe.accumulators import Counts
from torchprobe.errors import SettingError, ShapeError
from torchprobe_gradnap.alignment import Across, Alignment, Importance, importance, middles, peaks
from torchprobe_gradnap.clusters import LINKAGE, cluster_fields
from torchprobe_gradnap.examples import Examples
from torchprobe_gradnap.profile import (
    Baseline,
    Mask,
    Profiles,
    Scale,
    energy,
    gradient_mask,
    mean_of_groups,
    responsiveness,
    spread,
)
from torchprobe_gradnap.sums import AlignedMeans

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from torchprobe import Layer, LayerBatch, Result

    Array = NDArray[np.float64]

__all__ = ["GradNAP"]

Border: TypeAlias = Literal["zero", "mask", "crop"]
_CHOICES = {
    "alignment": ("auto", "product", "absolute", "gradient"),
    "across": ("max", "mean"),
    "border": ("zero", "mask", "crop"),
    "baseline": ("sample", "group"),
    "mask": ("absolute", "signed", "mean_absolute"),
    "scale": ("group", "neuron", "layer"),
}


class GradNAP(Analyzer):
    """Gradient-adjusted neuron activation profiles: characteristic responses that matter.

    Every example (a window of an utterance, an image) is moved so that its moment of greatest
    importance for the prediction stands in the middle, at ``size // 2``. The profile of a group is
    the mean of its aligned activations, less the mean over all data, times a mask of how large the
    mean gradients are there. At the model's input (layer "input") the profile before masking,
    ``normalised``, is known as NAvAI (Krug & Stober 2018). One label per example is needed, and
    examples of one size; an utterance is cut into windows by `torchprobe.Windows`. The
    probe's ``objective`` says what the gradients are gradients of.

    Fields of the result (positions are ``time``, ``height``, ..., as the layer names them):

    - ``gradnap`` (group, channel, *positions): the profile;
    - ``responsiveness`` (group, channel): sign(Σ G) · Σ |G| over positions, Eq. 1;
    - ``energy`` (group, *positions): sum of squares over neurons; ``spread`` (group): how many
      positions from the middle hold 90 % of it, NaN where there is none;
    - ``counts`` (group); ``zero_gradients`` (group): whether all mean gradients are 0, so that the
      profile is 0;
    - ``distances`` (group, other), ``linkage``, ``order``, ``threshold``, ``cluster`` (group),
      ``n_clusters``: complete linkage of profiles by Euclidean distance, cut at ``percentile``;
    - ``thresholds`` and ``silhouettes`` (percentile), −1..1, their mean ``mean_silhouette``, and
      how many are ``n_undefined``;
    - ``left_out``: examples with NaN or infinity; ``overrun``: those that "crop" dropped;
    - with ``stages``: ``unaligned``, the mean activation of examples as they come, and
      ``activation``, ``gradient``, ``normalised``, ``mask`` (all group, channel, *positions) and
      ``baseline`` (channel, *positions), the stages of Fig. 1.

    Several formulas of the paper are lost from every available text. Each setting below names the
    reading that is the default and how sure it is.

    Args:
        alignment: importance of a position. "product" a·|g| (sure); "absolute" |a|·|g|;
            "gradient" |g|; "auto" takes |g| at the input, where 0 does not mean absence (sure),
            and a·|g| elsewhere.
        across: importance is the "max" (fairly sure) or "mean" over neurons.
        border: positions that moving leaves empty are 0 ("zero", the authors' toolbox; fairly
            sure), do not count in means ("mask"), or examples are cut to ``width`` and left out
            where they do not fill it ("crop").
        width: positions kept around the middle, one number or one per axis; all by default.
        baseline: "sample", the mean over all data with and without a label, or "group", the
            unweighted mean of the groups.
        mask: "absolute" |mean g| / max, 0..1 (fairly sure); "signed" mean g / max |mean g|, −1..1;
            or "mean_absolute" mean |g| / max.
        scale: the maximum is that of the "group" (fairly sure), of each "neuron", or of the whole
            "layer" over all groups.
        percentile: of the distances, where the dendrogram is cut; 75 is that of the paper's Fig. 4.
        percentiles: of the silhouettes, section 3.4.
        stages: whether the result holds the stages; they take five times the profile's memory.

    Raises:
        SettingError: a setting that is not allowed.

    Source: Krug & Stober, "Gradient-Adjusted Neuron Activation Profiles for Comprehensive
    Introspection of Convolutional Speech Recognition Models", 2020, sections 3.2 to 3.4.

    Example:
        >>> import torch, torchprobe as tp
        >>> model = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 3, padding=1), torch.nn.ReLU(),
        ...                             torch.nn.Flatten(), torch.nn.Linear(15, 2))
        >>> probe = tp.Probe(model, ["input", "1"], [GradNAP()])
        >>> results = probe.run([(torch.randn(8, 2, 5), torch.arange(8) % 2)])
        >>> results["gradnap"]["1"].gradnap.shape
        (2, 3, 5)
    """

    name = "gradnap"
    signals = ("activations", "gradients")
    needs_labels = True

    def __init__(
        self,
        alignment: Literal["auto"] | Importance = "auto",
        across: Across = "max",
        border: Border = "zero",
        width: int | Sequence[int] | None = None,
        baseline: Baseline = "sample",
        mask: Mask = "absolute",
        scale: Scale = "group",
        percentile: float = 75.0,
        percentiles: Iterable[float] = (75.0, 80.0, 85.0, 90.0, 95.0),
        stages: bool = False,
    ) -> None:
        self.alignment: Literal["auto"] | Importance = alignment
        self.across: Across = across
        self.border: Border = border
        self.width = width if width is None or isinstance(width, int) else tuple(width)
        self.baseline: Baseline = baseline
        self.mask: Mask = mask
        self.scale: Scale = scale
        self.percentile = percentile
        self.percentiles = tuple(float(each) for each in percentiles)
        self.stages = bool(stages)
        self._check()

    def _check(self) -> None:
        for setting, allowed in _CHOICES.items():
            if getattr(self, setting) not in allowed:
                choices = ", ".join(map(repr, allowed))
                raise SettingError(f"{setting}={getattr(self, setting)!r}; choose one of {choices}")
        if self.border == "crop" and self.width is None:
            raise SettingError(
                "border='crop' needs the positions to keep around the middle: width=31"
            )
        if any(not 0 <= each <= 100 for each in (self.percentile, *self.percentiles)):  # noqa: PLR2004
            raise SettingError(f"percentiles {self.percentile}, {self.percentiles}; give 0 to 100")

    def start(self, layer: Layer) -> None:
        """Means of aligned activations and gradients."""
        self.window = self._window(layer)
        self.activations = AlignedMeans(layer.channels, self.window)
        self.gradients = AlignedMeans(layer.channels, self.window)
        self.held = AlignedMeans(1, self.window)
        self.not_finite, self.overrun = Counts(1), Counts(1)
        if self.stages:
            self.unmoved = AlignedMeans(layer.channels, self.window)

    def _window(self, layer: Layer) -> tuple[int, ...]:
        sizes = layer.position_shape
        if self.width is None:
            return sizes
        width = (self.width,) * len(sizes) if isinstance(self.width, int) else self.width
        if len(width) != len(sizes) or any(each < 1 for each in width):
            raise SettingError(
                f"width={self.width!r} does not fit layer {layer.name!r} with positions {sizes}; "
                "give one number, or one for each axis"
            )
        if self.border == "crop" and any(w > n for w, n in zip(width, sizes, strict=True)):
            raise SettingError(
                f"border='crop' with width={self.width!r}: layer {layer.name!r} has positions "
                f"{sizes}, so that no example fills a window; choose a smaller width or 'zero'"
            )
        return tuple(width)

    def update(self, batch: LayerBatch) -> None:
        """Align a batch and add it to its groups."""
        examples = Examples.of(batch)
        self._check_size(examples)
        finite = examples.finite
        examples = examples.where(finite)
        align = Alignment(self._peaks(examples), examples.sizes, self.window, examples.valid)
        self.not_finite.update(~finite[:, None])
        if self.border == "crop":
            self.overrun.update(~align.whole[:, None])
            examples, align = examples.where(align.whole), align.where(align.whole)
        gradients = examples.gradients
        if self.mask == "mean_absolute":
            gradients = gradients.abs()
        self.activations.update(examples.values, examples.labels, align)
        self.gradients.update(gradients, examples.labels, align)
        if self.border == "mask":
            data = torch.ones_like(examples.values[:, :1])
            self.held.update(data, examples.labels, align)
        if self.stages:
            stay = Alignment(middles(examples.values), examples.sizes, self.window, examples.valid)
            self.unmoved.update(examples.values, examples.labels, stay)

    def _check_size(self, examples: Examples) -> None:
        if self.width is None and examples.sizes != self.window:
            raise ShapeError(
                f"layer {self.layer.name!r} had positions {self.window} and now has "
                f"{examples.sizes}; feed windows of one size, or say how many positions to keep "
                "around the middle: width=..."
            )

    def _peaks(self, examples: Examples) -> Tensor:
        kind: Importance = "gradient" if self.layer.module == "" else "product"
        if self.alignment != "auto":
            kind = self.alignment
        found = importance(examples.values, examples.gradients, kind, self.across)
        return peaks(found, examples.valid)

    def compute(self) -> Result:
        """Profiles of the groups seen, how they cluster, and how neurons respond.

        Raises:
            EmptyStateError: no example with a label was seen.
        """
        labels, counts = self.activations.labels, self.activations.sizes.numpy(force=True)
        found = self._profiles()
        profile = found.profile
        zero = np.logical_not(found.gradient.reshape(len(profile), -1).any(1))
        positions = self.layer.axes.positions
        return self.result(
            coords={
                "group": self.class_names(labels),
                "linkage": LINKAGE,
                "percentile": [f"{each:g}" for each in self.percentiles],
            },
            notes=self._notes(counts, zero),
            gradnap=(("group", "channel", *positions), profile),
            responsiveness=("group channel", responsiveness(profile)),
            energy=Field(("group", *positions), energy(profile), range=(0, None)),
            spread=Field("group", spread(energy(profile)), "positions", range=(0, None)),
            counts=("group", counts),
            zero_gradients=("group", zero),
            left_out=float(self._missed()[0]),
            overrun=float(self._missed()[1]),
            **cluster_fields(profile, self.percentile, self.percentiles),
            **(self._stages(found) if self.stages else {}),
        )

    def _profiles(self) -> Profiles:
        means = [(each.of_groups, each.of_all) for each in (self.activations, self.gradients)]
        if self.border == "mask":
            held = self.held.of_groups, self.held.of_all  # share of examples [.., 1, *positions]
            means = [(group / held[0], every / held[1]) for group, every in means]
        (activation, every), (gradient, _) = ([part.numpy(force=True) for part in m] for m in means)
        gradient = np.nan_to_num(gradient, nan=0.0)
        baseline = every if self.baseline == "sample" else mean_of_groups(activation)
        return Profiles(
            activation, gradient, baseline, gradient_mask(gradient, self.mask, self.scale)
        )

    def _notes(self, counts: Array, zero: NDArray[np.bool_]) -> list[str]:
        not_finite, overrun = self._missed()
        notes = {
            f"{not_finite:,} examples are left out: they hold NaN or infinity": not_finite,
            f"{overrun:,} examples are left out: the window would overrun them": overrun,
            f"{zero.sum()} groups have no gradients at all: their profiles are 0": zero.any(),
            f"{(counts == 1).sum()} groups have one example only": (counts == 1).any(),
            "there is one group only: nothing to cluster": len(counts) == 1,
        }
        return [note for note, told in notes.items() if told]

    def _missed(self) -> tuple[int, int]:
        """Examples that were not finite, and that a cropped window overran."""
        each = (self.not_finite, self.overrun)
        return tuple(int(one.value[0]) if one.state else 0 for one in each)  # type: ignore[return-value]

    def _stages(self, found: Profiles) -> dict[str, Any]:
        axes = ("channel", *self.layer.axes.positions)
        names = ("activation", "gradient", "normalised", "mask")
        fields: dict[str, Any] = {n: (("group", *axes), getattr(found, n)) for n in names}
        unaligned = self.unmoved.of_groups.numpy(force=True)
        fields["unaligned"] = (("group", *axes), unaligned)
        return {"baseline": (axes, found.baseline), **fields}
