"""What gradients are taken of: one number for each sample, made from the model's output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from torchprobe.errors import LabelError, SettingError
from torchprobe.groupings import scores_of
from torchprobe.labels import DEFAULT_GROUPING
from torchprobe.training_loss import TrainingLoss

if TYPE_CHECKING:
    from collections.abc import Callable

    from torchprobe.labels import Labels

__all__ = ["Objective", "ObjectiveLike"]

ObjectiveLike: TypeAlias = "str | int | Callable[[Any, Labels], Tensor] | Objective | TrainingLoss"
"""An objective in short: "predicted", "label", "training", the number of a unit, or a function."""


@dataclass(frozen=True)
class Objective:
    """What the gradients in the stream are gradients of.

    In eval mode samples do not influence each other, so that the gradient of the sum over a batch
    holds the gradient of every sample's own objective.

    Args:
        of: "predicted", the score of the class with the highest score; "label", that of the class
            given as a label; the number of a class (or unit of the output); or a function of the
            model's output and the batch's `Labels` that returns a tensor, e.g. a loss. What it
            returns is summed; a loss that is a mean instead makes gradients depend on how many
            samples a batch has.
        output: which part of the model's output holds the scores: a key or index; by default
            ``logits`` where there is one, else the only or first tensor.
        dim: the axis of the classes; 1 for [sample, class], to be given where there are more axes.
            With positions, e.g. [sample, time, class], the scores of all positions that count are
            summed: those within lengths and mask and, where `grouping` labels positions, labelled.
        grouping: the labels that "label" means, and that say which positions count.
        probabilities: whether to take a class's probability (softmax) instead of its logit.
        position: the only position that counts, where the output has one axis of them: that of
            the frame whose window the model is fed with (`torchprobe.Windows`).

    Raises:
        SettingError: ``of`` is none of these.

    Source: Krug & Stober 2020 (GradNAP), section 3.2: "the gradient of a one-hot vector for the
    predicted grapheme". Logits are the default because the gradient of a probability vanishes
    where the model is sure.

    Example:
        >>> scores = torch.tensor([[0.1, 0.9], [0.8, 0.2]])
        >>> round(Objective()(scores, None).item(), 6)
        1.7
        >>> round(Objective(0)(scores, None).item(), 6)
        0.9
    """

    of: Any = "predicted"
    output: str | int | None = None
    dim: int | None = None
    grouping: str = DEFAULT_GROUPING
    probabilities: bool = False
    position: int | None = None

    def __post_init__(self) -> None:
        number = isinstance(self.of, int) and not isinstance(self.of, bool) and self.of >= 0
        if not (self.of in ("predicted", "label") or number or callable(self.of)):
            raise SettingError(
                f"objective {self.of!r}; give 'predicted', 'label', 'training', the number of a "
                "class, or a function of the model's output and the batch's labels"
            )

    @classmethod
    def parse(cls, objective: ObjectiveLike) -> Objective | TrainingLoss:
        """An objective of any accepted form; "training" is the `TrainingLoss` of unknown scale.

        Example:
            >>> Objective.parse("label").of
            'label'
        """
        if isinstance(objective, (Objective, TrainingLoss)):
            return objective
        return TrainingLoss() if objective == "training" else cls(objective)

    def described(self) -> dict[str, Any]:
        """What it is, by setting: states of different objectives are not merged."""
        return vars(self)

    def __call__(self, outputs: Any, labels: Labels | None) -> Tensor:
        """The objective of a whole batch: one number, differentiable where the outputs are.

        Raises:
            LabelError: no scores, no labels, or labels that do not fit the scores.
            SettingError: what a function returned is no tensor of real numbers.
        """
        if callable(self.of):
            return _summed(self.of(outputs, labels))
        scores = self._classes_last(scores_of(outputs, self.output))
        if self.probabilities:
            scores = scores.softmax(-1)
        counted, classes = self._chosen(scores.detach(), labels)
        picked = scores.gather(-1, classes[..., None]).squeeze(-1)  # [sample, *positions]
        return picked.masked_fill(~counted, 0).sum(dtype=_wide(picked.dtype))

    def _classes_last(self, scores: Tensor) -> Tensor:
        if self.dim is None and scores.ndim != 2:  # noqa: PLR2004
            raise LabelError(
                f"scores have shape {tuple(scores.shape)}; say which axis holds the classes: "
                "Objective(dim=-1) for [sample, time, class]"
            )
        return scores.movedim(1 if self.dim is None else self.dim, -1)

    def _chosen(self, scores: Tensor, labels: Labels | None) -> tuple[Tensor, Tensor]:
        """Which positions count and the class of each: [sample, *positions]."""
        shape, n = tuple(scores.shape[:-1]), scores.shape[-1]
        counted = self._at_position(shape)
        valid = labels.valid(shape, "output") if labels is not None else None
        if valid is not None:
            counted &= valid
        given = self._labels(labels, shape)
        if given is not None and (self.of == "label" or given[1]):
            counted &= given[0] >= 0
        if self.of == "predicted":
            classes = scores.argmax(-1)
        elif given is not None and self.of == "label":
            classes = given[0].clamp(min=0).to(scores.device)
        else:
            classes = torch.full(shape, self.of, device=scores.device)
        if classes.numel() and int(classes.max()) >= n:
            raise LabelError(
                f"objective {self.of!r}: class {int(classes.max())} is wanted but the model has "
                f"scores for {n} classes, numbered from 0; labels must be their numbers"
            )
        return counted.to(scores.device), classes

    def _at_position(self, shape: tuple[int, ...]) -> Tensor:
        """The positions that may count: bool [sample, *positions]."""
        if self.position is None:
            return torch.ones(shape, dtype=torch.bool)
        if len(shape) != 2 or not -shape[1] <= self.position < shape[1]:  # noqa: PLR2004
            raise SettingError(
                f"objective at position {self.position}, but the model's scores have positions "
                f"{shape[1:]}; give one of a single axis"
            )
        only = torch.zeros(shape, dtype=torch.bool)
        only[:, self.position] = True
        return only

    def _labels(self, labels: Labels | None, shape: tuple[int, ...]) -> tuple[Tensor, bool] | None:
        """The labels [sample, *positions], and whether positions had labels of their own."""
        given = None if labels is None else labels.labels.get(self.grouping)
        if given is None:
            if self.of == "label":
                raise LabelError(
                    f"objective 'label' needs labels {self.grouping!r}, which this batch does not "
                    "have; pass labels= with it, or use objective='predicted'"
                )
            return None
        if tuple(given.shape) == shape:
            return given, len(shape) > 1
        if given.shape == shape[:1]:
            return given.view(-1, *[1] * (len(shape) - 1)).expand(shape), False
        return self._matched(labels, given, shape)

    def _matched(
        self, labels: Labels | None, given: Tensor, shape: tuple[int, ...]
    ) -> tuple[Tensor, bool] | None:
        """Labels of other positions, the input's, as those of the output."""
        error: LabelError | None = None
        if labels is not None and labels.matching is not None and given.ndim > 1 < len(shape):
            try:
                return labels.matching.labels(given, self.grouping, shape, "output"), True
            except LabelError as met:
                error = met
        if self.of != "label":
            return None  # labels of a layer's positions, not of the output's
        raise LabelError(
            f"labels {self.grouping!r} have shape {tuple(given.shape)} but the model's scores are "
            f"of {shape}; objective 'label' needs one label for each{f'; {error}' if error else ''}"
        ) from error


def _summed(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        what = f"{value.dtype} values" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise SettingError(
            f"the objective returned {what}; return a tensor of real numbers, one in all or one "
            "for each sample"
        )
    return value.sum(dtype=_wide(value.dtype))


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Half precision overflows in sums over a batch."""
    return torch.float32 if dtype.itemsize < 4 else dtype  # noqa: PLR2004 - bytes
