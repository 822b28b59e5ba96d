from importlib import metadata
from itertools import pairwise

import numpy as np
import pytest
from torchprobe_speech import CMU40
from torchprobe_speech.espeak import EspeakError, Request, Speech, espeak_version, speak
from torchprobe_speech.espeak_phonemes import phoneme_segments, word_segments
from torchprobe_speech.sentences import vocabulary

from torchprobe.errors import LabelError, MissingExtraError


def speech(events, samples, words=()):
    return Speech(np.asarray(samples, dtype=np.int16), 1000, events, words)


def labels(segments):
    return [tuple(segment) for segment in segments]


def test_segments_run_from_event_to_event_with_silence_around():
    events = [(10, "s"), (30, "'i:"), (50, "_:"), (55, "_")]
    assert labels(phoneme_segments(speech(events, np.full(60, 99)))) == [
        (0, 10, "sil"), (10, 30, "s"), (30, 50, "iy"), (50, 60, "sil"),
    ]  # fmt: skip


def test_a_closure_moves_from_the_phoneme_before_to_the_stop():
    samples = np.full(100, 99)
    samples[35:50] = 0
    events = [(0, "s"), (10, "aI"), (50, "t"), (60, "_")]
    assert labels(phoneme_segments(speech(events, samples))) == [
        (0, 10, "s"), (10, 35, "ay"), (35, 60, "t"), (60, 100, "sil"),
    ]  # fmt: skip


def test_a_closure_takes_at_most_half_of_the_phoneme_before_and_60_ms():
    quiet = np.zeros(400)
    assert phoneme_segments(speech([(0, "s"), (10, "a"), (50, "tS")], quiet))[2].start == 30
    assert phoneme_segments(speech([(0, "s"), (10, "a"), (210, "k")], quiet))[2].start == 150


def test_silence_before_a_stop_stays_silence_and_other_sounds_keep_their_start():
    quiet = np.zeros(100)
    assert phoneme_segments(speech([(50, "t")], quiet))[1].start == 50
    assert phoneme_segments(speech([(0, "a"), (50, "f")], quiet))[1].start == 50


def test_events_of_two_phonemes_are_split_and_markers_are_no_sound():
    events = [(0, "A@"), (50, ";"), (60, "@L"), (70, "_")]
    assert labels(phoneme_segments(speech(events, np.full(70, 99)))) == [
        (0, 36, "aa"), (36, 60, "r"), (60, 66, "ah"), (66, 70, "l"),
    ]  # fmt: skip


def test_an_unknown_mnemonic_is_named():
    with pytest.raises(LabelError, match="'Q@'"):
        phoneme_segments(speech([(0, "Q@")], np.zeros(9)))


def test_words_end_where_the_next_begins_or_the_speech_ends():
    words = [(0, (0, 2)), (30, (3, 6))]
    heard = speech([(0, "a"), (50, "_:"), (55, "_")], np.zeros(60), words)
    assert labels(word_segments(heard, "at six")) == [(0, 30, "at"), (30, 50, "six")]


def test_a_missing_loader_names_the_extra(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'torchprobe\[speech\]'"):
        espeak_version()


class TestEspeak:
    @pytest.fixture(autouse=True)
    def _loader(self):
        pytest.importorskip("espeakng_loader", reason="espeakng-loader is not installed")

    def test_the_same_requests_and_seed_give_the_same_samples(self):
        requests = [Request("this thing", rate=190), Request("sea shells", "en-us+sandro")]
        first, again, other = (
            [each.samples for each in speak(requests, seed)] for seed in (1, 1, 2)
        )
        for mine, yours in zip(first, again, strict=True):
            np.testing.assert_array_equal(mine, yours)
        assert not np.array_equal(first[1], other[1])  # a breathy voice

    def test_the_vocabulary_covers_all_phonemes_and_all_its_sounds_are_known(self):
        text = [" ".join(vocabulary()[i : i + 60]) for i in range(0, len(vocabulary()), 60)]
        heard = {
            s.label for each in speak([Request(t) for t in text]) for s in phoneme_segments(each)
        }
        assert heard == set(CMU40.symbols)

    def test_segments_cover_the_samples_without_gaps(self):
        (heard,) = speak([Request("the quick dog jumped over a bridge")])
        segments = phoneme_segments(heard)
        assert segments[0].start == 0
        assert segments[-1].end == len(heard.samples)
        assert all(a.end == b.start and a.start < a.end for a, b in pairwise(segments))

    def test_a_failure_says_what_espeak_said(self):
        with pytest.raises(EspeakError, match=r"'hi' by nobody: .*status 1.*no voice 'nobody'"):
            list(speak([Request("hi", "nobody")]))

    def test_data_at_a_long_path_is_reached_by_a_short_one(self, tmp_path, monkeypatch):
        import espeakng_loader

        deep = tmp_path / ("x" * 100) / ("y" * 100)
        deep.mkdir(parents=True)
        (deep / "data").symlink_to(espeakng_loader.get_data_path(), target_is_directory=True)
        monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(deep / "data"))
        assert len(list(speak([Request("hello")]))) == 1

    def test_an_abandoned_generator_ends_its_process(self, monkeypatch):
        import subprocess

        started = []
        original = subprocess.Popen
        monkeypatch.setattr(
            subprocess, "Popen", lambda *a, **k: started.append(original(*a, **k)) or started[-1]
        )
        speeches = speak([Request("one")] * 50)
        next(speeches)
        speeches.close()
        assert started[0].poll() is not None
