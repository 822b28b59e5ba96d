"""A corpus of synthetic English sentences with phoneme labels, made where it is needed.

It is SYNTHETIC speech, spoken by espeak-ng: networks trained on it recognise natural speech badly.
It serves to run every analysis anywhere; with TIMIT at hand, `read_timit` takes its place.
"""

import hashlib
import json
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torchprobe.errors import FileFormatError

from .cache import cache_folder, make_folder
from .espeak import espeak_version
from .progress import tracked
from .synthesis import CorpusSettings, plan, synthesise
from .timit import read_timit, write_timit
from .utterances import Utterance

__all__ = ["Corpus", "espeak_corpus"]

_FORMAT = 1  # raise it whenever the same settings would give other files
_ABOUT = "corpus.json"
_README = """This is SYNTHETIC speech.

torchprobe made it with espeak-ng {version} (through the Python package espeakng-loader); nobody
was recorded. The layout is TIMIT's: .WAV (16 kHz, 16 bit), .PHN, .WRD and .TXT, times in samples.
Phonemes are the 39 of the CMU dictionary and sil. Their boundaries are those that the synthesiser
used, but where one of its events holds two phonemes (a vowel with r, for instance) these are split
60 to 40. Settings, voices and a checksum are in corpus.json. The folder can be deleted at any time.
"""


@dataclass(frozen=True)
class Corpus:
    """The synthetic corpus on disk.

    Attributes:
        folder: Where it is, in TIMIT's layout, with a README and corpus.json.
        settings: What it was made with.
        sha1: Checksum over the audio and the phoneme labels of all utterances in order of name.
        train: Utterances to train with.
        validation: Utterances to choose settings with.
        test: Utterances to measure with.
        synthetic: True; pages that show results should say so.
    """

    folder: Path
    settings: CorpusSettings
    sha1: str
    train: tuple[Utterance, ...] = field(repr=False)
    validation: tuple[Utterance, ...] = field(repr=False)
    test: tuple[Utterance, ...] = field(repr=False)
    synthetic: bool = True


def espeak_corpus(
    settings: CorpusSettings | None = None,
    *,
    folder: str | Path | None = None,
    progress: bool | None = None,
) -> Corpus:
    """Returns the synthetic corpus, made on first use and then read from the cache.

    Args:
        settings: What it shall consist of; the default is the demo's corpus.
        folder: Where to keep it; by default a folder named by the settings in torchprobe's cache
            ($TORCHPROBE_CACHE, or the user's cache folder).
        progress: Whether to show a bar; None shows it in a terminal.

    Raises:
        MissingExtraError: espeakng-loader is not installed.
        EspeakError: espeak-ng failed.
        FileFormatError: What is in the folder is not a whole corpus of these settings.
    """
    settings = settings or CorpusSettings()
    target = Path(folder) if folder is not None else _cached(settings)
    if not target.exists():
        make_folder(target, lambda partial: _make(partial, settings, progress))
    return _open(target, settings)


def _cached(settings: CorpusSettings) -> Path:
    key = json.dumps([_FORMAT, espeak_version(), asdict(settings)])
    digest = hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()
    return cache_folder() / "speech" / f"espeak-{digest[:16]}"


def _open(folder: Path, settings: CorpusSettings) -> Corpus:
    about = _read_about(folder)
    if about["settings"] != json.loads(json.dumps(asdict(settings))):
        raise FileFormatError(f"{folder} was made with other settings: {about['settings']}")
    splits = {
        name: read_timit(folder, name.upper()) if getattr(settings, name) else ()
        for name in ("train", "validation", "test")
    }
    for name, utterances in splits.items():
        if len(utterances) != getattr(settings, name):
            raise FileFormatError(f"{folder} lacks files of its {name} sentences; delete it")
    return Corpus(
        folder,
        settings,
        about["sha1"],
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
    )


def _read_about(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / _ABOUT).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{folder} is not a corpus made by torchprobe: {error}") from error
    if not isinstance(about, dict) or not {"settings", "sha1"} <= about.keys():
        raise FileFormatError(f"{folder / _ABOUT} does not describe a corpus; delete the folder")
    return about


def _make(folder: Path, settings: CorpusSettings, progress: bool | None) -> None:
    sentences = plan(settings)
    version = espeak_version()
    with closing(synthesise(sentences, settings)) as spoken:
        total = len(sentences)
        write_timit(folder, tracked(spoken, total, "synthesising", "sentence", show=progress))
    about = {
        "synthetic": True,
        "espeakng_loader": version,
        "settings": asdict(settings),
        "voices": {each.voice.speaker: asdict(each.voice) for each in sentences},
        "sha1": _checksum(folder),
    }
    (folder / "README.txt").write_text(_README.format(version=version), "utf-8")
    (folder / _ABOUT).write_text(json.dumps(about, indent=1), "utf-8")


def _checksum(folder: Path) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    for path in sorted([*folder.rglob("*.WAV"), *folder.rglob("*.PHN")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()
