"""Log-mel features of utterances and the labels of their frames."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchprobe.errors import InsufficientDataError, SettingError, ShapeError

from .phonemes import Inventory
from .torchaudio_import import import_torchaudio
from .utterances import Utterance, labels_at

__all__ = [
    "PHONEME_FEATURES",
    "SPECTROGRAM_FEATURES",
    "LogMel",
    "frame_labels",
    "labelled_features",
]

_FLOOR = 1e-10  # power; far below one step of 16-bit audio


@dataclass(frozen=True)
class LogMel:
    """Log-mel features, normalised within each utterance.

    Frame t is centred on sample t * hop. A signal of n samples has 1 + (n - 1) // hop frames, so
    that every centre lies within it.

    Attributes:
        bands: Mel bands.
        n_fft: Points of the Fourier transform; too few leave low mel bands empty.
        window: Samples under the Hann window (400 at 16 kHz: 25 ms).
        hop: Samples from frame to frame (160 at 16 kHz: 10 ms).
        rate: Samples per second that the audio must have.
        normalise: "band" gives each band zero mean and unit variance over the utterance,
            "utterance" does so with one mean and one variance for all bands, None does nothing.

    Raises:
        SettingError: A number is not positive, or the window is longer than the transform.

    >>> LogMel()(torch.randn(1600)).shape
    torch.Size([10, 23])
    """

    bands: int = 23
    n_fft: int = 512
    window: int = 400
    hop: int = 160
    rate: int = 16_000
    normalise: Literal["band", "utterance"] | None = "band"

    def __post_init__(self) -> None:
        if min(self.bands, self.n_fft, self.window, self.hop, self.rate) <= 0:
            raise SettingError(f"all sizes must be positive: {self}")
        if self.window > self.n_fft:
            raise SettingError(f"n_fft={self.n_fft} is shorter than window={self.window}")
        if self.normalise not in ("band", "utterance", None):
            raise SettingError(f"normalise is 'band', 'utterance' or None, not {self.normalise!r}")

    def frames(self, samples: int) -> int:
        """Returns how many frames a signal of so many samples has."""
        return 1 + (samples - 1) // self.hop

    def __call__(self, samples: Tensor | NDArray[np.float32]) -> Tensor:
        """Returns the features of one signal.

        Args:
            samples: Values in [-1, 1], shape [sample].

        Returns:
            float32, shape [frame, band].

        Raises:
            ShapeError: The samples have more than one axis.
            InsufficientDataError: The signal is shorter than half a transform.
        """
        signal = torch.as_tensor(samples, dtype=torch.float32)
        if signal.ndim != 1:
            raise ShapeError(f"samples have shape {tuple(signal.shape)}; one signal is [sample]")
        if len(signal) <= self.n_fft // 2:
            raise InsufficientDataError(
                f"{len(signal)} samples are too few for features; more than {self.n_fft // 2} work"
            )
        power = _mel_spectrogram(self)(signal)[:, : self.frames(len(signal))]  # [band, frame]
        return self._normalised(power.T.clamp_min(_FLOOR).log())

    def of(self, utterance: Utterance) -> Tensor:
        """Returns the features of one utterance, shape [frame, band].

        Raises:
            SettingError: Its rate is another one than `rate`.
            InsufficientDataError: It is too short.
        """
        if utterance.rate != self.rate:
            raise SettingError(
                f"{utterance.name} has {utterance.rate} Hz, the features want {self.rate} Hz; "
                "resample the audio or set rate= with window= and hop= to match"
            )
        return self(utterance.audio())

    def _normalised(self, features: Tensor) -> Tensor:
        if self.normalise is None:
            return features
        axes = (0,) if self.normalise == "band" else (0, 1)
        centred = features - features.mean(dim=axes, keepdim=True)
        scale = centred.square().mean(dim=axes, keepdim=True).sqrt()
        # a constant band stays zero instead of becoming NaN
        return centred / torch.where(scale > 0, scale, 1)


PHONEME_FEATURES = LogMel()
"""23 bands, 25 ms windows every 10 ms, mean and variance normalised (Nagamine & Mesgarani 2017)."""

SPECTROGRAM_FEATURES = LogMel(bands=128, n_fft=1024, normalise="utterance")
"""Z-normalised spectrograms of 128 mel bands (Krug et al. 2018)."""


def frame_labels(
    utterance: Utterance, frames: int, features: LogMel, inventory: Inventory
) -> Tensor:
    """Returns the phoneme class at the centre of each frame, -1 where there is none.

    Args:
        utterance: Whose labels; times are at the rate of the features.
        frames: How many frames it has.
        features: What frames it is cut into.
        inventory: The classes.

    Returns:
        int64, shape [frame].
    """
    centres = np.arange(frames) * features.hop
    return torch.from_numpy(labels_at(utterance.phonemes, centres, inventory))


def labelled_features(
    utterances: Iterable[Utterance], features: LogMel, inventory: Inventory
) -> tuple[list[Tensor], list[Tensor]]:
    """Returns the features of utterances, [frame, band] each, and the labels of their frames."""
    pairs = [(utterance, features.of(utterance)) for utterance in utterances]
    labels = [frame_labels(each, len(array), features, inventory) for each, array in pairs]
    return [array for _, array in pairs], labels


@lru_cache(maxsize=8)
def _mel_spectrogram(settings: LogMel) -> Callable[[Tensor], Tensor]:
    transforms: Any = import_torchaudio().transforms
    transform: Callable[[Tensor], Tensor] = transforms.MelSpectrogram(
        sample_rate=settings.rate,
        n_fft=settings.n_fft,
        win_length=settings.window,
        hop_length=settings.hop,
        n_mels=settings.bands,
    )
    return transform
