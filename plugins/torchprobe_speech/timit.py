"""Folders in TIMIT's layout: an utterance is a .WAV with a .PHN, a .TXT and perhaps a .WRD.

The reader takes the real corpus (NIST SPHERE audio, 61 phones, names in either case) and every
folder that is laid out like it; the writer writes plain wav.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from torchprobe.errors import FileFormatError, LabelError

from .audio import audio_rate, write_wav
from .phonemes import CMU40, Inventory, inventory
from .utterances import Segment, Utterance, fold_segments

__all__ = ["read_timit", "write_timit"]


def read_timit(
    folder: str | Path, split: str | None = None, *, phonemes: str | Inventory = CMU40
) -> tuple[Utterance, ...]:
    """Reads the utterances of a folder in TIMIT's layout, sorted by name.

    Args:
        folder: The folder that holds TRAIN and TEST (at any depth below it: dialect region,
            speaker, sentence).
        split: The subfolder to read, such as "TRAIN", in either case; None reads all.
        phonemes: The inventory to fold labels into: "cmu40", "timit39", "timit61" or an
            `Inventory`.

    Returns:
        The utterances; audio is read when it is asked for.

    Raises:
        FileFormatError: There is no such folder or no utterance in it, or a file is damaged.
        LabelError: A phoneme is not known to the inventory; file and line are named.

    The folder of the real corpus is read with `read_timit("/data/TIMIT", "TRAIN")`.
    """
    root = Path(folder)
    classes = inventory(phonemes)
    names = _utterance_files(_subfolder(root, split) if split else root)
    if not names:
        raise FileFormatError(f"no .WAV file with a .PHN beside it below {root} (split {split})")
    return tuple(_read_utterance(root, files, classes) for _, files in sorted(names.items()))


def write_timit(folder: str | Path, utterances: Iterable[Utterance]) -> None:
    """Writes utterances in TIMIT's layout, one file of each kind at `folder / utterance.name`.

    Args:
        folder: The root; subfolders are made as the names ask for.
        utterances: What to write; times are sample numbers at each utterance's own rate.
    """
    for utterance in utterances:
        base = Path(folder) / utterance.name
        base.parent.mkdir(parents=True, exist_ok=True)
        samples = utterance.audio()
        write_wav(base.with_suffix(".WAV"), samples, utterance.rate)
        base.with_suffix(".TXT").write_text(f"0 {len(samples)} {utterance.text}\n", "utf-8")
        _write_segments(base.with_suffix(".PHN"), utterance.phonemes)
        if utterance.words:
            _write_segments(base.with_suffix(".WRD"), utterance.words)


def _subfolder(root: Path, split: str) -> Path:
    folders = [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    for path in folders:
        if path.name.lower() == split.lower():
            return path
    have = ", ".join(sorted(path.name for path in folders)) or "none"
    raise FileFormatError(f"{root} has no subfolder {split!r}; its subfolders: {have}")


def _utterance_files(root: Path) -> dict[Path, dict[str, Path]]:
    """Returns for each utterance its files by lower-case suffix; only those with wav and phn."""
    files: dict[Path, dict[str, Path]] = {}
    for path in sorted(root.rglob("[!.]*.*")):  # names such as ._SA1.WAV are macOS's own
        # some releases have SA1.WAV.wav, the converted audio, beside SA1.WAV, and it is taken
        base = path.with_name(path.name.split(".")[0])
        files.setdefault(base, {})[path.suffix.lower()] = path
    return {base: kinds for base, kinds in files.items() if {".wav", ".phn"} <= kinds.keys()}


def _read_utterance(root: Path, files: dict[str, Path], classes: Inventory) -> Utterance:
    audio, labels = files[".wav"], files[".phn"]
    name = labels.relative_to(root).with_suffix("")
    segments = _read_segments(labels)
    try:
        folded = fold_segments(segments, classes)
    except LabelError as error:
        raise LabelError(f"{labels}: {error}") from error
    return Utterance(
        name=name.as_posix(),
        speaker=name.parent.name,
        text=_read_text(files.get(".txt")),
        rate=audio_rate(audio),
        phonemes=folded,
        words=_read_segments(files[".wrd"]) if ".wrd" in files else (),
        path=audio,
    )


def _read_segments(path: Path) -> tuple[Segment, ...]:
    segments = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            start, end, label = line.split(maxsplit=2)
            segments.append(Segment(int(start), int(end), label))
        except ValueError as error:
            raise FileFormatError(
                f"{path}, line {number}: {line!r} is not 'start end label'"
            ) from error
    return tuple(segments)


def _read_text(path: Path | None) -> str:
    if path is None:
        return ""
    fields = path.read_text("utf-8").split(maxsplit=2)  # start, end, text
    return fields[2].strip() if len(fields) == 3 else ""  # noqa: PLR2004


def _write_segments(path: Path, segments: Sequence[Segment]) -> None:
    lines = (f"{segment.start} {segment.end} {segment.label}\n" for segment in segments)
    path.write_text("".join(lines), "utf-8")
