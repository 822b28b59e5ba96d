"""Training the phoneme networks on frames."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchprobe.errors import InsufficientDataError, SettingError

from .frames import FrameDataset
from .training import train

__all__ = ["FrameTraining", "frame_accuracy", "train_phonemes"]


@dataclass(frozen=True)
class FrameTraining:
    """How to train: Adam with one cycle of the learning rate, cross entropy on labelled frames.

    The defaults were chosen by the accuracy on the validation sentences of the default corpus:
    256 or 512 frames in a step and peak rates of 2e-3 to 6e-3 all reach 0.878 to 0.880 in 4 epochs
    (0.873 to 0.878 in 3), and steps of 512 take less time.

    Attributes:
        epochs: Passes over the training frames.
        batch_size: Frames in a step.
        peak_rate: Highest learning rate of the cycle.
        seed: Draws the order of the frames and what is dropped out.

    Raises:
        SettingError: A number is not positive.
    """

    epochs: int = 4
    batch_size: int = 512
    peak_rate: float = 4e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size, self.peak_rate) <= 0:
            raise SettingError(f"epochs, batch size and peak rate must be positive: {self}")


def train_phonemes(
    model: nn.Module,
    data: FrameDataset,
    settings: FrameTraining | None = None,
    *,
    validation: FrameDataset | None = None,
    regulariser: Callable[[nn.Module], Tensor] | None = None,
    progress: bool | None = None,
) -> list[float]:
    """Trains a network of frames in place and leaves it in eval mode.

    With the same model, data and settings on the same machine and number of threads, the trained
    weights are the same to the last bit; the global random state stays as it was.

    Args:
        model: Takes [frame, feature] and returns logits [frame, class].
        data: What to train with; frames labelled -1 are left out.
        settings: How; by default as in the demo.
        validation: Where given, its accuracy is measured after each epoch.
        regulariser: From the network to a loss of its own, which is added to that of each step.
        progress: Whether to show a bar; None shows it in a terminal.

    Returns:
        The accuracy on the validation frames after each epoch, 0..1; empty without them.

    Raises:
        InsufficientDataError: No training frame has a label.
    """
    settings = settings or FrameTraining()
    labelled = data.select(data.labels >= 0)
    if not len(labelled):
        raise InsufficientDataError("no training frame has a label; are the .PHN files empty?")

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        loss = functional.cross_entropy(model(batch[0]), batch[1])
        return loss if regulariser is None else loss + regulariser(model)

    measured = None
    if validation is not None:
        measured = "accuracy", partial(frame_accuracy, model, validation)
    return train(
        model,
        torch.optim.Adam(model.parameters()),
        labelled.batches(settings.batch_size, shuffle=True, seed=settings.seed, whole=True),
        loss_of,
        settings,
        validation=measured,
        progress=progress,
    )


def frame_accuracy(model: nn.Module, data: FrameDataset, *, batch_size: int = 4096) -> float:
    """Returns the share of labelled frames whose most likely class is their label, 0..1.

    The model computes in eval mode and is left in the mode it had.

    Raises:
        InsufficientDataError: No frame has a label.
    """
    labelled = data.select(data.labels >= 0)
    if not len(labelled):
        raise InsufficientDataError("no frame has a label, so there is no accuracy")
    mode = model.training
    model.eval()
    try:
        with torch.no_grad():
            hits = sum(_hits(model, *batch) for batch in labelled.batches(batch_size))
    finally:
        model.train(mode)
    return hits / len(labelled)


def _hits(model: nn.Module, features: Tensor, labels: Tensor) -> int:
    return int((model(features).argmax(dim=1) == labels).sum())
