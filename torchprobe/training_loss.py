"""The loss that a training loop differentiates itself, and the scale of its gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torchprobe.errors import SettingError
from torchprobe.labels import DEFAULT_GROUPING

if TYPE_CHECKING:
    from torchprobe.labels import Labels

__all__ = ["TrainingLoss"]


@dataclass(frozen=True)
class TrainingLoss:
    """Gradients of the loss that the loop's own backward pass computes, with a known scale or not.

    As an ``objective`` it costs no backward pass of its own: tensor hooks read the gradients that
    training computes anyway. Those of a mean over the batch are smaller the larger the batch is,
    those behind a `torch.amp.GradScaler` are larger by its scale. What is said here is undone, so
    that every sample has the gradient of its own loss; what is not said is marked as unknown in
    the provenance of results.

    Args:
        reduction: what the loss is over the samples of a batch, or over its labelled positions
            where labels are given by position: their "mean" or "sum"; None if unknown.
        divided_by: what it was divided by further, such as the number of forward passes that
            accumulate gradients for one step.
        scaler: the `torch.amp.GradScaler`; "unknown" if there may be one.

    Raises:
        SettingError: an argument is none of these.

    Example:
        >>> TrainingLoss("mean").factor(samples=8)
        8.0
        >>> TrainingLoss().scale
        'unknown: reduction of the loss'
    """

    reduction: str | None = None
    divided_by: float = 1.0
    scaler: Any = None

    def __post_init__(self) -> None:
        if self.reduction not in ("mean", "sum", None):
            raise SettingError(
                f"reduction={self.reduction!r} of the loss; give 'mean', 'sum' or None if unknown"
            )
        if not self.divided_by > 0:
            raise SettingError(f"divided_by={self.divided_by!r}; give a positive number")
        if not (self.scaler in (None, "unknown") or hasattr(self.scaler, "get_scale")):
            raise SettingError(f"scaler={self.scaler!r:.80}; give a torch.amp.GradScaler")

    def described(self) -> dict[str, Any]:
        """What it is, by setting; what trainers tell later of its scale is no part of that."""
        return {"of": "training", "reduction": self.reduction}

    @property
    def scale(self) -> str:
        """What is known of the gradients' scale, in words; begins with "unknown" if it is not."""
        missing = [] if self.reduction else ["reduction of the loss"]
        missing += ["GradScaler"] if self.scaler == "unknown" else []
        if missing:
            return f"unknown: {', '.join(missing)}"
        undone = "of each sample's own loss"
        return f"{undone}, GradScaler undone" if self.scaler is not None else undone

    def factor(self, samples: int, labels: Labels | None = None) -> float:
        """By what the gradients of a batch are to be multiplied; asked during its backward pass.

        Args:
            samples: in the batch.
            labels: what was said of it.
        """
        factor = float(self.divided_by)
        if self.reduction == "mean":
            factor *= _terms(samples, labels)
        if self.scaler not in (None, "unknown"):
            factor /= self.scaler.get_scale()
        return factor


def _terms(samples: int, labels: Labels | None) -> int:
    """Of how many losses the mean was taken."""
    given = None if labels is None else labels.labels.get(DEFAULT_GROUPING)
    return samples if given is None else int((given >= 0).sum()) or samples  # ignored: no loss
