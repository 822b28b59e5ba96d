"""Folders in LibriSpeech's layout: FLAC files and one .trans.txt a chapter; no phonemes."""

from collections.abc import Iterator
from pathlib import Path

from torchprobe.errors import FileFormatError

from .audio import audio_rate
from .utterances import Utterance

__all__ = ["read_librispeech"]


def read_librispeech(folder: str | Path) -> tuple[Utterance, ...]:
    """Reads the utterances of a folder in LibriSpeech's layout, sorted by name.

    Args:
        folder: A subset such as "LibriSpeech/dev-clean", or a folder of several.

    Returns:
        The utterances with their texts in lower case; audio is read when it is asked for, which
        needs soundfile (`pip install 'torchprobe[speech]'`).

    Raises:
        FileFormatError: There is no transcript below the folder, a line of one is malformed, or
            an audio file that it names is missing.
        MissingExtraError: soundfile is not installed.
    """
    root = Path(folder)
    transcripts = sorted(root.rglob("*.trans.txt"))
    if not transcripts:
        raise FileFormatError(f"no .trans.txt below {root}; give a folder such as dev-clean")
    return tuple(utterance for path in transcripts for utterance in _chapter(path))


def _chapter(transcript: Path) -> Iterator[Utterance]:
    for number, line in enumerate(transcript.read_text("utf-8").splitlines(), 1):
        key, _, text = line.strip().partition(" ")
        path = transcript.with_name(f"{key}.flac")
        if not text or not path.is_file():
            raise FileFormatError(
                f"{transcript}, line {number}: {line[:60]!r} is not 'name TEXT' with a file "
                f"{path.name} beside it"
            )
        yield Utterance(
            name="/".join([*key.split("-")[:-1], key]),
            speaker=key.partition("-")[0],
            text=text.lower(),
            rate=audio_rate(path),
            path=path,
        )
