"""Reading and writing audio files without torchaudio, whose own load and save need torchcodec."""

import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchprobe.errors import FileFormatError, MissingExtraError, SettingError, ShapeError

__all__ = ["audio_rate", "read_audio", "resample", "write_wav"]

_INT16_SCALE = 32768.0
_SOUNDFILE_KINDS = {b"fLaC": "FLAC", b"NIST": "NIST SPHERE", b"OggS": "Ogg", b"FORM": "AIFF"}


def read_audio(path: str | Path) -> tuple[NDArray[np.float32], int]:
    """Reads a file of one channel: wav by itself; FLAC, NIST SPHERE, Ogg and AIFF by soundfile.

    Args:
        path: The file; its kind is told by its first bytes, not by its name, because the .WAV
            files of TIMIT are NIST SPHERE.

    Returns:
        The samples as float32 in [-1, 1], shape [sample], and the samples per second.

    Raises:
        FileFormatError: The file is damaged or of no known kind.
        MissingExtraError: The kind needs soundfile, which is not installed.
        ShapeError: The file has several channels.
    """
    path = Path(path)
    if _kind(path) == "wav":
        samples, rate = _read_wav(path)
    else:
        samples, rate = _with_soundfile(path, "read", dtype="float32")
    if samples.ndim != 1:
        raise ShapeError(f"{path} has {samples.shape[1]} channels; convert it to one channel")
    return samples, int(rate)


def audio_rate(path: str | Path) -> int:
    """Returns the samples per second that a file's header names.

    Raises:
        FileFormatError: The file is damaged or of no known kind.
        MissingExtraError: The kind needs soundfile, which is not installed.
    """
    path = Path(path)
    if _kind(path) != "wav":
        return int(_with_soundfile(path, "info").samplerate)
    try:
        with wave.open(str(path), "rb") as file:
            return file.getframerate()
    except (wave.Error, EOFError):  # wave knows PCM only; scipy also reads floats
        return _read_wav(path)[1]


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


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4)
    if head in (b"RIFF", b"RIFX", b"RF64"):
        return "wav"
    if head in _SOUNDFILE_KINDS:
        return _SOUNDFILE_KINDS[head]
    raise FileFormatError(
        f"{path} begins with {head!r}; readable are wav, {', '.join(_SOUNDFILE_KINDS.values())}"
    )


def _read_wav(path: Path) -> tuple[NDArray[np.float32], int]:
    from scipy.io import wavfile

    try:
        rate, samples = wavfile.read(path)
    except (ValueError, EOFError, OSError) as error:
        raise FileFormatError(f"{path} is a damaged wav file: {error}") from error
    return _as_float(samples), rate


def _as_float(samples: NDArray[Any]) -> NDArray[np.float32]:
    if samples.dtype == np.uint8:  # 8-bit wav is unsigned, all wider kinds are signed
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / -np.float32(np.iinfo(samples.dtype).min)
    return samples.astype(np.float32)


def _with_soundfile(path: Path, function: str, **options: Any) -> Any:
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtraError(
            f"{path} is {_kind(path)}, which soundfile reads: pip install 'torchprobe[speech]'"
        ) from error
    try:
        return getattr(soundfile, function)(str(path), **options)
    except soundfile.LibsndfileError as error:
        raise FileFormatError(
            f"soundfile cannot read {path} ({_kind(path)}): {error}; shorten-compressed SPHERE "
            "files must be expanded first, with sph2pipe"
        ) from error
