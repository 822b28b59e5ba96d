import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from torchprobe_speech import align, carry_to_frames, collapse, phoneme_of_grapheme

from torchprobe.errors import ShapeError

short = st.text(alphabet="abc", max_size=5)


def spelled(first, second):
    pairs = align(first, second).pairs
    rows = [[] for _ in range(2)]
    for pair in pairs:
        for row, text, position in zip(rows, (first, second), pair, strict=True):
            row.append("-" if position is None else text[position])
    return "/".join("".join(row) for row in rows)


def slow_score(first, second):
    """The best of all alignments, by recursion over the definition."""
    if not first or not second:
        return -len(first) - len(second)
    return max(
        slow_score(first[1:], second[1:]) + (1 if first[0] == second[0] else -1),
        slow_score(first[1:], second) - 1,
        slow_score(first, second[1:]) - 1,
    )


def test_worked_examples():
    assert align("HELO", "HELLO").score == 3
    assert spelled("HELO", "HELLO") == "HE-LO/HELLO"
    assert align("GATTACA", "GCATGCU").score == 0
    assert spelled("GATTACA", "GCATGCU") == "G-ATTACA/GCA-TGCU"


@given(short, short)
@given_settings(derandomize=True, deadline=None)
def test_the_score_is_the_best_and_that_of_the_pairs(first, second):
    alignment = align(first, second)
    assert alignment.score == slow_score(first, second)
    rewards = [
        1 if None not in (i, j) and first[i] == second[j] else -1 for i, j in alignment.pairs
    ]
    assert alignment.score == sum(rewards)


@given(short, short)
@given_settings(derandomize=True, deadline=None)
def test_an_alignment_holds_every_element_once_in_order(first, second):
    pairs = align(first, second).pairs
    assert [i for i, _ in pairs if i is not None] == list(range(len(first)))
    assert [j for _, j in pairs if j is not None] == list(range(len(second)))
    assert (None, None) not in pairs


@given(st.text(alphabet="ab_", max_size=12))
@given_settings(derandomize=True, deadline=None)
def test_every_frame_of_a_run_holds_its_label(frames):
    runs = collapse(frames)
    for frame, run in zip(frames, runs.run_of_frame, strict=True):
        assert frame == ("_" if run < 0 else runs.labels[run])
    numbers = runs.run_of_frame[runs.run_of_frame >= 0]
    assert sorted(set(numbers.tolist())) == list(range(len(runs.labels)))
    assert (np.diff(numbers) >= 0).all()


def test_labels_are_carried_through_insertions_and_deletions():
    frames = list("HH_EE_LLL_OO")
    labels = ["hh", "eh", "l1", "l2", "ow"]
    carried = carry_to_frames(frames, "HELLO", labels)
    assert carried == ["hh", "hh", None, "eh", "eh", None, "l2", "l2", "l2", None, "ow", "ow"]
    assert carry_to_frames("HHX", "H", ["hh"]) == ["hh", "hh", None]
    assert carry_to_frames("__", "", []) == [None, None]


@given(st.lists(st.sampled_from("abc"), max_size=8))
@given_settings(derandomize=True, deadline=None)
def test_a_text_decoded_from_the_frames_themselves_labels_all_but_blanks(letters):
    frames = "_".join(2 * letter for letter in letters)
    carried = carry_to_frames(frames, letters, [letter.upper() for letter in letters])
    assert carried == [None if f == "_" else f.upper() for f in frames]


def test_the_strongest_attention_names_the_phoneme():
    attention = np.array([[0.5, 0.2], [0.5, 0.3], [0.0, 0.5]])
    assert phoneme_of_grapheme(attention, ["f", "uw", "sil"]) == ("f", "sil")


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="2 labels do not fit a text of 1 graphemes"):
        carry_to_frames("a", "a", ["x", "y"])
    for attention in (np.zeros(3), np.zeros((2, 3))):
        with pytest.raises(ShapeError, match=r"\[phoneme, grapheme\] for 3 phonemes"):
            phoneme_of_grapheme(attention, ["a", "b", "c"])
