import numpy as np
import pytest
from torchprobe_speech import read_librispeech

from torchprobe.errors import FileFormatError

soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed")


@pytest.fixture
def chapter(tmp_path):
    folder = tmp_path / "84" / "121123"
    folder.mkdir(parents=True)
    for number in (0, 1):
        soundfile.write(str(folder / f"84-121123-000{number}.flac"), np.zeros(200), 16_000)
    lines = "84-121123-0000 GO DO YOU HEAR\n84-121123-0001 BUT IN LESS THAN\n"
    (folder / "84-121123.trans.txt").write_text(lines)
    return folder


def test_texts_speakers_and_audio_are_read(tmp_path, chapter):
    first, second = read_librispeech(tmp_path)
    assert (first.name, first.speaker) == ("84/121123/84-121123-0000", "84")
    assert (first.text, second.text) == ("go do you hear", "but in less than")
    assert (first.rate, first.audio().shape, first.phonemes) == (16_000, (200,), ())


def test_names_and_ids_do_not_depend_on_the_folder_given(tmp_path, chapter):
    assert [u.id for u in read_librispeech(tmp_path)] == [u.id for u in read_librispeech(chapter)]


def test_a_missing_file_or_text_is_named(tmp_path, chapter):
    (chapter / "84-121123-0001.flac").unlink()
    with pytest.raises(FileFormatError, match="line 2: '84-121123-0001 BUT IN LESS THAN'"):
        read_librispeech(tmp_path)
    (chapter / "84-121123.trans.txt").unlink()
    with pytest.raises(FileFormatError, match=r"no \.trans\.txt"):
        read_librispeech(tmp_path)
