"""Reading and writing audio files without torchaudio, whose own load and save need torchcodec."""

import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchprobe.errors import FileFormatError, MissingExtraError, SettingError, ShapeError

__all__ = ["audio_rate", "read_audio", "resample", "write_wav"]

# by bytes a sample
_PCM: dict[int, np.dtype[Any]] = {1: np.dtype("u1"), 2: np.dtype("<i2"), 4: np.dtype("<i4")}
_INT16_SCALE = 32768.0


def read_audio(path: str | Path) -> tuple[NDArray[np.float32], int]:
    """Reads a file of one channel: PCM wav by itself; FLAC, NIST SPHERE and others by soundfile.

    Args:
        path: The file; its kind is told by what is in it, not by its name, because the .WAV files
            of TIMIT are NIST SPHERE.

    Returns:
        The samples as float32 in [-1, 1], shape [sample], and the samples per second.

    Raises:
        FileFormatError: The file is damaged or of no known kind.
        MissingExtraError: It is not PCM wav, and soundfile is not installed.
        ShapeError: The file has several channels.
    """
    path = Path(path)
    samples, rate = _read_pcm(path) or _with_soundfile(path, "read", dtype="float32")
    if samples.ndim != 1:
        raise ShapeError(f"{path} has {samples.shape[1]} channels; convert it to one channel")
    return samples, int(rate)


def audio_rate(path: str | Path) -> int:
    """Returns the samples per second that a file's header names.

    Raises:
        FileFormatError: The file is damaged or of no known kind.
        MissingExtraError: It is not PCM wav, and soundfile is not installed.
    """
    path = Path(path)
    try:
        with wave.open(str(path), "rb") as file:
            return file.getframerate()
    except (wave.Error, EOFError):
        return int(_with_soundfile(path, "info").samplerate)


def write_wav(path: str | Path, samples: NDArray[np.floating[Any]], rate: int) -> None:
    """Writes one channel as 16-bit PCM.

    Args:
        path: The file to write.
        samples: Values in [-1, 1], shape [sample]; what lies outside is clipped.
        rate: Samples per second.

    Raises:
        ShapeError: The samples have more than one axis.
    """
    samples = np.asarray(samples)
    if samples.ndim != 1:
        raise ShapeError(f"samples have shape {samples.shape}; one channel has shape [sample]")
    scaled = np.clip(np.rint(samples * _INT16_SCALE), -_INT16_SCALE, _INT16_SCALE - 1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(scaled.astype("<i2").tobytes())


def resample(samples: NDArray[np.float32], rate: int, new_rate: int) -> NDArray[np.float32]:
    """Changes the sampling rate with a polyphase filter.

    Args:
        samples: Shape [sample].
        rate: Samples per second that they have.
        new_rate: Samples per second that they shall have.

    Raises:
        SettingError: A rate is not positive.

    >>> resample(np.zeros(441, np.float32), 22_050, 16_000).shape
    (320,)
    """
    if min(rate, new_rate) <= 0:
        raise SettingError(f"rates must be positive, not {rate} and {new_rate}")
    if rate == new_rate:
        return samples
    from scipy.signal import resample_poly

    divisor = np.gcd(rate, new_rate)
    resampled = resample_poly(samples, new_rate // divisor, rate // divisor)
    return np.asarray(resampled, dtype=np.float32)


def _read_pcm(path: Path) -> tuple[NDArray[np.float32], int] | None:
    """Returns samples and rate of a wav file of plain integers, None for any other file."""
    try:
        with wave.open(str(path), "rb") as file:
            kind = _PCM.get(file.getsampwidth())
            if kind is None:
                return None
            data, wanted = file.readframes(file.getnframes()), file.getnframes()
            channels, rate = file.getnchannels(), file.getframerate()
    except (wave.Error, EOFError):
        return None
    if len(data) != wanted * channels * kind.itemsize:
        raise FileFormatError(f"{path} ends early: its header promises {wanted} samples")
    samples = _as_float(np.frombuffer(data, dtype=kind))
    return (samples if channels == 1 else samples.reshape(-1, channels)), rate


def _as_float(samples: NDArray[Any]) -> NDArray[np.float32]:
    if samples.dtype == np.uint8:  # 8-bit wav is unsigned, all wider kinds are signed
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    return samples.astype(np.float32) / -np.float32(np.iinfo(samples.dtype).min)


def _with_soundfile(path: Path, function: str, **options: Any) -> Any:
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError(
            f"{path} is not a plain PCM wav file; soundfile reads FLAC, NIST SPHERE and other "
            "kinds: pip install 'torchprobe[speech]'"
        ) from error
    try:
        return getattr(soundfile, function)(str(path), **options)
    except soundfile.LibsndfileError as error:
        raise FileFormatError(
            f"{path} cannot be read: {error}. Is it damaged? SPHERE files compressed by shorten "
            "must be expanded first, with sph2pipe"
        ) from error
