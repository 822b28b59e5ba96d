import pytest
import torch
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from torchprobe_speech import (
    Alphabet,
    character_error_rate,
    edit_distance,
    greedy_decode,
    word_error_rate,
)

from torchprobe.errors import InsufficientDataError, LabelError, ShapeError

texts = st.text(alphabet="abz' ", max_size=12)


@given(texts, st.booleans())
@given_settings(derandomize=True, deadline=None)
def test_decoding_undoes_encoding(text, repetitions):
    alphabet = Alphabet(repetitions=repetitions)
    assert alphabet.decode(alphabet.encode(text)) == text


@given(texts)
@given_settings(derandomize=True, deadline=None)
def test_with_repetitions_no_two_neighbours_are_equal(text):
    codes = Alphabet(repetitions=True).encode(text)
    assert (codes[1:] != codes[:-1]).all()


def test_the_alphabet_has_29_classes_with_the_blank_first():
    assert Alphabet().symbols[:3] == ("_", "a", "b")
    assert len(Alphabet()) == 29
    assert len(Alphabet(repetitions=True)) == 31


def test_an_unknown_character_is_named():
    with pytest.raises(LabelError, match=r"'Hi!' holds \['!', 'H'\]"):
        Alphabet().encode("Hi!")


def one_hot(alphabet, rows):
    codes = torch.tensor([[alphabet.symbols.index(s) for s in row] for row in rows])
    return torch.nn.functional.one_hot(codes, len(alphabet)).float().transpose(1, 2)


def test_decoding_collapses_runs_and_drops_blanks_within_the_length():
    alphabet = Alphabet()
    logits = one_hot(alphabet, ["hhe_ll_loo", "_a__a bbzz"])
    assert greedy_decode(logits, alphabet) == ["hello", "aa bz"]
    assert greedy_decode(logits, alphabet, [7, 0]) == ["hel", ""]


def test_logits_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match=r"\[sample, 29, frame\]"):
        greedy_decode(torch.zeros(2, 5, 28), Alphabet())


def slow_distance(first, second):
    if not first or not second:
        return len(first) + len(second)
    if first[0] == second[0]:
        return slow_distance(first[1:], second[1:])
    return 1 + min(
        slow_distance(first[1:], second),
        slow_distance(first, second[1:]),
        slow_distance(first[1:], second[1:]),
    )


short = st.text(alphabet="ab", max_size=5)


@given(short, short)
@given_settings(derandomize=True, deadline=None)
def test_the_distance_is_that_of_its_definition(first, second):
    assert edit_distance(first, second) == slow_distance(first, second)


def test_error_rates_weigh_texts_by_their_length():
    assert character_error_rate(["", "abcd"], ["ab", "abcd"]) == 2 / 6
    assert word_error_rate(["a b c", "x"], ["a c", "y z"]) == 3 / 4


def test_error_rates_need_matching_texts():
    with pytest.raises(ShapeError, match="1 texts do not pair with 2 references"):
        character_error_rate(["a"], ["a", "b"])
    with pytest.raises(InsufficientDataError, match="not empty"):
        word_error_rate([""], [""])
