from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from torchprobe_speech import CMU40, TIMIT39, TIMIT61, Segment, Utterance, write_wav
from torchprobe_speech.utterances import fold_segments, labels_at

from torchprobe.errors import LabelError, SettingError


@st.composite
def segmentations(draw, symbols=TIMIT61.symbols):
    """Segments in order, some of them apart."""
    time, segments = 0, []
    for gap, length in draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), max_size=12)):
        segments.append(Segment(time + gap, time + gap + length, draw(st.sampled_from(symbols))))
        time += gap + length
    return segments


@given(segmentations(CMU40.symbols))
@given_settings(derandomize=True, deadline=None)
def test_labels_at_is_what_a_search_through_all_segments_finds(segments):
    def slow(position):
        inside = [s for s in segments if s.start <= position < s.end]
        return CMU40.index(inside[0].label) if inside else -1

    positions = np.arange(-2, 120)
    assert labels_at(segments, positions, CMU40).tolist() == [slow(p) for p in positions]


@given(segmentations())
@given_settings(derandomize=True, deadline=None)
def test_folding_relabels_time_and_never_moves_it(segments):
    def covered(kept, left_out=()):
        return {t for s in kept if s.label not in left_out for t in range(s.start, s.end)}

    assert covered(fold_segments(segments, TIMIT39)) == covered(segments, left_out=("q",))
    assert fold_segments(segments, TIMIT61) == tuple(segments)


@given(segmentations())
@given_settings(derandomize=True, deadline=None)
def test_folding_twice_is_folding_once(segments):
    once = fold_segments(segments, CMU40)
    assert fold_segments(once, CMU40) == once


def test_closures_join_the_phoneme_they_release_into():
    def fold(text):
        labels = text.split()
        segments = [Segment(i, i + 1, label) for i, label in enumerate(labels)]
        return [tuple(s) for s in fold_segments(segments, CMU40)]

    assert fold("s tcl t ix") == [(0, 1, "s"), (1, 3, "t"), (3, 4, "ih")]
    assert fold("dcl jh tcl ch") == [(0, 2, "jh"), (2, 4, "ch")]
    assert fold("kcl s") == [(0, 1, "k"), (1, 2, "s")]  # never released
    assert fold("kcl tcl t") == [(0, 1, "k"), (1, 3, "t")]
    assert fold("tcl q aa") == [(0, 1, "t"), (2, 3, "aa")]


def test_overlapping_segments_are_refused():
    with pytest.raises(LabelError, match="overlap"):
        labels_at([Segment(0, 5, "aa"), Segment(4, 6, "b")], np.arange(3), CMU40)


def test_ids_depend_on_the_name_only_and_differ():
    def make(name, rate=8_000):
        return Utterance(name, "", "", rate, path=Path("x"))

    assert make("a/b").id == make("a/b", 16_000).id
    assert len({make(f"TRAIN/SX{i}").id for i in range(2000)}) == 2000
    assert all(0 <= make(str(i)).id < 2**43 for i in range(100))


def test_audio_comes_from_samples_or_a_file_of_the_stated_rate(tmp_path):
    samples = np.zeros(5, dtype=np.float32)
    assert Utterance("a", "", "", 8_000, samples=samples).audio() is samples
    write_wav(tmp_path / "a.wav", samples, 8_000)
    assert Utterance("a", "", "", 8_000, path=tmp_path / "a.wav").audio().shape == (5,)
    with pytest.raises(SettingError, match="8000 Hz; the utterance says 16000"):
        Utterance("a", "", "", 16_000, path=tmp_path / "a.wav").audio()
    with pytest.raises(SettingError, match="either path= or samples="):
        Utterance("a", "", "", 16_000)
