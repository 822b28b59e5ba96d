"""Synthetic speech from espeak-ng, with the exact time of every phoneme.

espeak-ng is a GPL-3 program; it comes as the optional package `espeakng-loader`, is loaded at run
time in a process of its own, and is no part of torchprobe.
"""

import json
import struct
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from torchprobe.errors import MissingExtraError, TorchprobeError

__all__ = ["EspeakError", "Request", "Speech", "espeak_version", "speak"]

_PROGRAM = Path(__file__).with_name("_espeak_process.py")
_LONGEST_DATA_PATH = 120  # espeak-ng holds the path of its data in a buffer of 160 bytes


class EspeakError(TorchprobeError, RuntimeError):
    """espeak-ng could not be started or could not speak."""


@dataclass(frozen=True)
class Request:
    """A text and how to say it: a voice such as "en-us+f1", pitch 0 to 99, words a minute."""

    text: str
    voice: str = "en-us"
    pitch: int = 50
    rate: int = 175


@dataclass(frozen=True)
class Speech:
    """What espeak-ng said.

    Attributes:
        samples: int16, shape [sample].
        rate: Samples per second.
        phonemes: Start sample and espeak's mnemonic of each phoneme; "_" and "_:" are pauses.
        words: Start sample of each word and its characters in the text, [first, behind).
    """

    samples: NDArray[np.int16]
    rate: int
    phonemes: Sequence[tuple[int, str]]
    words: Sequence[tuple[int, tuple[int, int]]]


def espeak_version() -> str:
    """Returns the version of the installed `espeakng-loader`.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return metadata.version("espeakng-loader")
    except metadata.PackageNotFoundError as error:
        raise MissingExtraError(
            "the synthetic corpus is spoken by espeak-ng, whose package espeakng-loader is not "
            "installed: pip install 'torchprobe[speech]'. Real corpora are read without it, by "
            "read_timit and read_librispeech"
        ) from error


def speak(requests: Sequence[Request], seed: int = 0) -> Generator[Speech, None, None]:
    """Yields the speech of each request, spoken in one fresh process.

    Args:
        requests: What to say; with the same seed, the same requests in the same order give the
            same samples, and a different order does not.
        seed: Seeds the noise of breathy voices; it makes no difference to most voices.

    Yields:
        One `Speech` a request, in order.

    Raises:
        MissingExtraError: espeakng-loader is not installed.
        EspeakError: The process failed; the message holds what it printed.
    """
    espeak_version()
    with tempfile.TemporaryDirectory(prefix="torchprobe-espeak-") as scratch:
        todo = Path(scratch, "requests")
        todo.write_text("".join(json.dumps(asdict(each)) + "\n" for each in requests), "utf-8")
        with _running(Path(scratch), todo, seed) as process:
            for request in requests:
                yield _answer(process, request)


@contextmanager
def _running(scratch: Path, todo: Path, seed: int) -> Iterator["_Process"]:
    import espeakng_loader

    data = _short_path(Path(espeakng_loader.get_data_path()), scratch)
    command = [sys.executable, str(_PROGRAM), espeakng_loader.get_library_path(), str(data)]
    with todo.open("rb") as stdin, Path(scratch, "errors").open("w+b") as errors:
        process = subprocess.Popen(  # noqa: S603 (a program of our own)
            [*command, str(seed)], stdin=stdin, stdout=subprocess.PIPE, stderr=errors
        )
        try:
            yield _Process(process, errors)
        finally:
            process.kill()
            process.communicate()


@dataclass(frozen=True)
class _Process:
    process: subprocess.Popen[bytes]
    errors: IO[bytes]

    def read(self, count: int) -> bytes:
        assert self.process.stdout is not None
        data = self.process.stdout.read(count)
        if len(data) < count:
            raise EspeakError(f"espeak-ng stopped with status {self.process.wait()}{self._said()}")
        return data

    def _said(self) -> str:
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace").strip()
        return f" and said: {said}" if said else " and said nothing"


def _answer(process: _Process, request: Request) -> Speech:
    try:
        header_size, audio_size = struct.unpack("<II", process.read(8))
        heard = json.loads(process.read(header_size))
        samples = np.frombuffer(process.read(audio_size), dtype=np.int16)
    except EspeakError as error:
        raise EspeakError(f"{request.text!r} by {request.voice}: {error}") from error
    return Speech(samples, **heard)


def _short_path(data: Path, scratch: Path) -> Path:
    if len(str(data)) <= _LONGEST_DATA_PATH:
        return data
    link = scratch / "espeak-ng-data"
    link.symlink_to(data, target_is_directory=True)
    return link
