"""Axes of torchaudio's own modules, which nothing in a tensor's shape gives away."""

from torch import nn

__all__ = ["layout"]

_AXES = {
    3: "sample channel time",
    4: "sample microphone channel time",
}
"""Spectrograms by their number of axes; the units are frequency bands or coefficients."""

_SPECTRAL = {
    "AmplitudeToDB",
    "ComputeDeltas",
    "FrequencyMasking",
    "InverseMelScale",
    "LFCC",
    "MFCC",
    "MelScale",
    "MelSpectrogram",
    "SlidingWindowCmn",
    "Spectrogram",
    "TimeMasking",
    "TimeStretch",
}


def layout(module: nn.Module, shape: tuple[int, ...]) -> str | None:
    """Returns the axes of a spectrogram that a torchaudio transform makes, None of all else.

    >>> layout(nn.ReLU(), (2, 23, 100)) is None
    True
    """
    kind = type(module)
    if kind.__module__.startswith("torchaudio.transforms") and kind.__name__ in _SPECTRAL:
        return _AXES.get(len(shape))
    return None
