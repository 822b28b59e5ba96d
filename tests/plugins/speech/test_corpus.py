import dataclasses
import json
from itertools import pairwise

import numpy as np
import pytest
from torchprobe_speech import CMU40, CorpusSettings, espeak_corpus, synthesis
from torchprobe_speech import corpus as corpus_module

from torchprobe.errors import FileFormatError, MissingExtraError, SettingError


def files(folder, split=""):
    root = folder / split
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*.*")}


def test_the_same_settings_give_the_same_files(corpus, settings, tmp_path):
    again = espeak_corpus(settings, folder=tmp_path / "again")
    assert again.sha1 == corpus.sha1
    assert files(again.folder) == files(corpus.folder)


def test_another_seed_gives_another_corpus(corpus, settings, tmp_path):
    other = espeak_corpus(dataclasses.replace(settings, seed=4), folder=tmp_path / "other")
    assert other.sha1 != corpus.sha1


def test_the_test_files_stay_the_same_when_the_training_set_grows(corpus, settings, tmp_path):
    grown = espeak_corpus(dataclasses.replace(settings, train=11), folder=tmp_path / "grown")
    assert len(grown.train) == 11
    assert files(grown.folder, "TEST") == files(corpus.folder, "TEST")


def test_splits_share_neither_sentences_nor_voices(corpus, settings):
    splits = (corpus.train, corpus.validation, corpus.test)
    assert [len(s) for s in splits] == [settings.train, settings.validation, settings.test]
    texts = [each.text for split in splits for each in split]
    assert len(set(texts)) == len(texts)
    speakers = [{each.speaker for each in split} for split in splits]
    assert [len(each) for each in speakers] == [3, 2, 2]
    assert len(set().union(*speakers)) == 7


def test_phonemes_cover_the_recording_and_words_spell_the_text(corpus):
    for utterance in corpus.train:
        edges = [(s.start, s.end) for s in utterance.phonemes]
        assert edges[0][0] == 0
        assert edges[-1][1] == len(utterance.audio())
        assert all(a[1] == b[0] for a, b in pairwise(edges))
        assert {s.label for s in utterance.phonemes} <= set(CMU40.symbols)
        assert " ".join(word.label for word in utterance.words) == utterance.text


def test_silence_before_and_after_is_labelled_and_faintly_noisy(corpus, settings):
    shortest, longest = settings.silence
    for utterance in corpus.test:
        first, last = utterance.phonemes[0], utterance.phonemes[-1]
        assert first.label == last.label == "sil"
        for segment in (first, last):
            assert shortest <= (segment.end - segment.start) / 16_000 <= longest + 0.1
        level = 20 * np.log10(utterance.audio()[: first.end - 200].std())
        assert level == pytest.approx(settings.noise_db, abs=1)


def test_without_silence_and_noise_the_recording_is_what_espeak_said(settings, tmp_path):
    plain = dataclasses.replace(settings, train=1, test=0, validation=0, silence=(0, 0))
    plain = dataclasses.replace(plain, noise_db=None, heldout_voices=0)
    (utterance,) = espeak_corpus(plain, folder=tmp_path / "plain").train
    assert utterance.phonemes[0].end < 1000
    assert espeak_corpus(plain, folder=tmp_path / "plain").test == ()


def test_the_folder_says_that_the_speech_is_synthetic(corpus):
    assert corpus.synthetic
    assert "SYNTHETIC" in (corpus.folder / "README.txt").read_text()
    about = json.loads((corpus.folder / "corpus.json").read_text())
    assert about["synthetic"] is True
    assert about["sha1"] == corpus.sha1
    assert {each.speaker for each in corpus.train} <= about["voices"].keys()


def test_an_interrupted_generation_leaves_nothing_and_the_next_one_is_whole(
    settings, tmp_path, monkeypatch
):
    monkeypatch.setenv("TORCHPROBE_CACHE", str(tmp_path))
    record = synthesis._record

    def interrupted(sentence, *rest):
        if sentence.name.startswith("TRAIN"):
            raise KeyboardInterrupt
        return record(sentence, *rest)

    monkeypatch.setattr(synthesis, "_record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        espeak_corpus(settings)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    monkeypatch.setattr(synthesis, "_record", record)
    assert len(espeak_corpus(settings).train) == settings.train


def test_a_cached_corpus_is_read_not_made_again(corpus, settings, monkeypatch):
    monkeypatch.setattr(corpus_module, "make_folder", None)
    assert espeak_corpus(settings, folder=corpus.folder).train == corpus.train


def test_a_folder_of_other_settings_or_of_something_else_is_refused(corpus, settings, tmp_path):
    with pytest.raises(FileFormatError, match="made with other settings"):
        espeak_corpus(dataclasses.replace(settings, seed=9), folder=corpus.folder)
    with pytest.raises(FileFormatError, match="not a corpus made by torchprobe"):
        espeak_corpus(settings, folder=tmp_path)


def test_a_corpus_that_lost_files_is_refused(settings, tmp_path):
    made = espeak_corpus(settings, folder=tmp_path / "made")
    made.test[0].path.unlink()
    with pytest.raises(FileFormatError, match="lacks files of its test sentences"):
        espeak_corpus(settings, folder=tmp_path / "made")


def test_without_the_loader_the_extra_is_named_and_no_folder_made(settings, tmp_path, monkeypatch):
    def missing(*_):
        raise MissingExtraError("pip install 'torchprobe[speech]'")

    monkeypatch.setattr(corpus_module, "espeak_version", missing)
    with pytest.raises(MissingExtraError, match="speech"):
        espeak_corpus(settings, folder=tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [{"train": -1}, {"train": 0, "validation": 0, "test": 0}, {"silence": (0.3, 0.1)},
     {"voices": 0}, {"heldout_voices": 99}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(SettingError):
        CorpusSettings(**wrong)
