"""Training convolutional recognisers of graphemes with CTC, and measuring them."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from torchprobe.errors import InsufficientDataError, SettingError

from .grapheme_net import GraphemeNet
from .graphemes import Alphabet, character_error_rate, greedy_decode
from .spectrograms import SpectrogramBatch, SpectrogramDataset
from .training import train

__all__ = ["CtcTraining", "grapheme_error", "train_graphemes", "transcribe"]


@dataclass(frozen=True)
class CtcTraining:
    """How to train: AdamW with one cycle of the learning rate, CTC loss.

    Attributes:
        epochs: Passes over the training utterances.
        batch_size: Utterances in a step.
        peak_rate: Highest learning rate of the cycle.
        band_mask: Widest random stretch of mel bands that is set to zero in each utterance of a
            step; 0 for none. It pays with many voices and epochs.
        seed: Draws the batches and masks.

    Raises:
        SettingError: A number is out of range.
    """

    epochs: int = 6
    batch_size: int = 8
    peak_rate: float = 3e-3
    band_mask: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size, self.peak_rate) <= 0 or self.band_mask < 0:
            raise SettingError(f"epochs, batch size and peak rate must be positive: {self}")


def train_graphemes(
    model: GraphemeNet,
    data: SpectrogramDataset,
    settings: CtcTraining | None = None,
    *,
    alphabet: Alphabet | None = None,
    validation: SpectrogramDataset | None = None,
    progress: bool | None = None,
) -> list[float]:
    """Trains a recogniser in place and leaves it in eval mode.

    With the same model, data and settings on the same machine and number of threads, the trained
    weights are the same to the last bit; the global random state stays as it was.

    Args:
        model: What is trained.
        data: What to train with.
        settings: How; by default as in the demo.
        alphabet: What the classes of the model mean; 26 letters, apostrophe and space by default.
        validation: Where given, its character error rate is measured after each epoch.
        progress: Whether to show a bar; None shows it in a terminal.

    Returns:
        The character error rates on the validation utterances; empty without them.

    Raises:
        LabelError: A text holds a character that the alphabet lacks.
        InsufficientDataError: An utterance has fewer output frames than its text needs.
    """
    settings = settings or CtcTraining()
    alphabet = alphabet or Alphabet()
    targets = {text: alphabet.encode(text) for text in data.texts}
    _check_lengths(model, data, targets)
    generator = torch.Generator().manual_seed(settings.seed)

    def loss(batch: SpectrogramBatch) -> Tensor:
        masked = _mask_bands(batch.spectrograms, settings.band_mask, generator)
        return _ctc_loss(model, masked, batch, [targets[text] for text in batch.texts])

    measured = None
    if validation is not None:
        error = partial(grapheme_error, model, validation, alphabet=alphabet)
        measured = "character error", error
    return train(
        model,
        torch.optim.AdamW(model.parameters()),
        data.batches(settings.batch_size, shuffle=True, seed=settings.seed),
        loss,
        settings,
        validation=measured,
        progress=progress,
    )


def transcribe(
    model: GraphemeNet,
    data: SpectrogramDataset,
    *,
    alphabet: Alphabet | None = None,
    batch_size: int = 16,
) -> list[str]:
    """Returns what the model writes for each utterance, decoded greedily, in eval mode.

    The model is left in the mode it had; the texts do not depend on the batch size.
    """
    alphabet = alphabet or Alphabet()
    mode = model.training
    model.eval()
    try:
        with torch.no_grad():
            return [
                text
                for batch in data.batches(batch_size)
                for text in greedy_decode(
                    model(batch.spectrograms, batch.lengths),
                    alphabet,
                    model.output_lengths(batch.lengths),
                )
            ]
    finally:
        model.train(mode)


def grapheme_error(
    model: GraphemeNet, data: SpectrogramDataset, *, alphabet: Alphabet | None = None
) -> float:
    """Returns the character error rate of greedy decoding over all utterances, 0 or more."""
    return character_error_rate(transcribe(model, data, alphabet=alphabet), data.texts)


def _ctc_loss(
    model: GraphemeNet, spectrograms: Tensor, batch: SpectrogramBatch, targets: list[Tensor]
) -> Tensor:
    logits = model(spectrograms, batch.lengths)  # [sample, class, time]
    return functional.ctc_loss(
        logits.permute(2, 0, 1).log_softmax(dim=-1),  # [time, sample, class]
        torch.cat(targets),
        model.output_lengths(batch.lengths),
        torch.tensor([len(target) for target in targets]),
    )


def _mask_bands(spectrograms: Tensor, widest: int, generator: torch.Generator) -> Tensor:
    if not widest:
        return spectrograms
    samples, bands, _ = spectrograms.shape
    width = torch.randint(widest + 1, (samples, 1), generator=generator)
    first = (torch.rand(samples, 1, generator=generator) * (bands - width + 1)).long()
    band = torch.arange(bands)
    hidden = (band >= first) & (band < first + width)  # [sample, band]
    return spectrograms.masked_fill(hidden[:, :, None], 0)


def _check_lengths(
    model: GraphemeNet, data: SpectrogramDataset, targets: dict[str, Tensor]
) -> None:
    for text, frames in zip(data.texts, model.output_lengths(data.lengths).tolist(), strict=True):
        target = targets[text]
        # CTC writes a blank between equal neighbours
        needed = len(target) + int((target[1:] == target[:-1]).sum())
        if frames < needed:
            raise InsufficientDataError(
                f"{text!r} needs {needed} output frames, but its utterance has {frames}; use a "
                "smaller stride or leave it out"
            )
