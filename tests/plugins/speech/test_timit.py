import numpy as np
import pytest
from torchprobe_speech import Segment, Utterance, read_timit, write_timit

from torchprobe.errors import FileFormatError, LabelError


def utterance(name, **changes):
    fields = {
        "phonemes": (Segment(0, 40, "sil"), Segment(40, 90, "s"), Segment(90, 100, "zh")),
        "words": (Segment(40, 100, "say"),),
    } | changes
    samples = np.arange(100, dtype=np.float32) / 128
    return Utterance(name, name.split("/")[-2], "say it", 16_000, samples=samples, **fields)


@pytest.fixture
def root(tmp_path):
    write_timit(tmp_path, [utterance(f"{split}/DR1/F00{i}/SX1") for split in ("TRAIN", "TEST")
                           for i in (2, 1)])  # fmt: skip
    return tmp_path


def test_what_is_written_is_read_back(root):
    read = read_timit(root, "TEST")
    assert [each.name for each in read] == ["TEST/DR1/F001/SX1", "TEST/DR1/F002/SX1"]
    written = utterance("TEST/DR1/F001/SX1")
    for field in ("name", "speaker", "text", "rate", "phonemes", "words", "id"):
        assert getattr(read[0], field) == getattr(written, field)
    np.testing.assert_array_equal(read[0].audio(), written.audio())


def test_writing_what_was_read_gives_the_same_files(root, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy")
    write_timit(copy, read_timit(root))
    files = sorted(path.relative_to(root) for path in root.rglob("*.*"))
    assert files == sorted(path.relative_to(copy) for path in copy.rglob("*.*"))
    assert all((root / name).read_bytes() == (copy / name).read_bytes() for name in files)


def test_all_splits_are_read_without_one_and_a_split_in_either_case(root):
    assert len(read_timit(root)) == 4
    assert read_timit(root, "train") == read_timit(root, "TRAIN")


def test_lower_case_names_and_converted_audio_are_found(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("lower")
    for path in root.rglob("*.*"):
        target = other / str(path.relative_to(root)).lower()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    for path in list((other / "test").rglob("*.wav")):
        path.rename(path.with_name("sx1.wav.wav"))
        path.write_bytes(b"NIST_1A")
        path.with_name("._sx1.wav").touch()
    assert len(read_timit(other, "TEST")) == len(read_timit(other, "TRAIN")) == 2
    assert {len(each.audio()) for each in read_timit(other)} == {100}


def test_sphere_audio_is_read(root):
    soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed")
    path = root / "TEST/DR1/F001/SX1.WAV"
    soundfile.write(str(path), np.zeros(50), 8_000, format="NIST", subtype="PCM_16")
    read = read_timit(root, "TEST")[0]
    assert (read.rate, len(read.audio())) == (8_000, 50)


def test_words_and_texts_may_be_absent(root):
    for path in [*root.rglob("*.WRD"), *root.rglob("*.TXT")]:
        path.unlink()
    assert {(each.words, each.text) for each in read_timit(root)} == {((), "")}


def test_labels_are_folded_into_the_inventory_asked_for(tmp_path):
    segments = (Segment(0, 5, "h#"), Segment(5, 9, "tcl"), Segment(9, 12, "t"),
                Segment(12, 15, "q"), Segment(15, 20, "zh"))  # fmt: skip
    write_timit(tmp_path, [utterance("TRAIN/DR1/F001/SX1", phonemes=segments)])

    def read(name):
        return [tuple(s) for s in read_timit(tmp_path, phonemes=name)[0].phonemes]

    assert read("timit61") == list(segments)
    assert read("timit39") == [(0, 5, "sil"), (5, 9, "sil"), (9, 12, "t"), (15, 20, "sh")]
    assert read("cmu40") == [(0, 5, "sil"), (5, 12, "t"), (15, 20, "zh")]


def test_an_unknown_phoneme_is_named_with_its_file(root):
    (root / "TEST/DR1/F001/SX1.PHN").write_text("0 9 aa\n9 12 xyz\n")
    with pytest.raises(LabelError, match=r"F001.SX1\.PHN: unknown phoneme 'xyz' for cmu40"):
        read_timit(root, "TEST")


@pytest.mark.parametrize("line", ["5 aa", "five 9 aa", "9"])
def test_a_malformed_line_is_named(root, line):
    (root / "TEST/DR1/F001/SX1.PHN").write_text(f"0 5 sil\n{line}\n")
    with pytest.raises(FileFormatError, match=r"SX1\.PHN, line 2: .* is not 'start end label'"):
        read_timit(root, "TEST")


def test_missing_folders_and_utterances_are_named(root, tmp_path_factory):
    with pytest.raises(FileFormatError, match="no subfolder 'DEV'; its subfolders: TEST, TRAIN"):
        read_timit(root, "DEV")
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(FileFormatError, match=r"no \.WAV file"):
        read_timit(empty)
    with pytest.raises(FileFormatError, match="subfolders: none"):
        read_timit(empty / "nowhere", "TRAIN")
