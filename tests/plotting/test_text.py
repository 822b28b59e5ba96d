import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchprobe.plotting.text import label, shorten, visible

anything = st.text(st.characters(codec=None), max_size=40)
few = settings(derandomize=True, deadline=None, max_examples=200)


@few
@given(anything)
def test_what_is_visible_is_one_line_that_can_be_encoded(text):
    shown = visible(text)
    assert not set(shown) & {"\n", "\r", "\x1b", "\x00", "\u202e", "\u2028"}
    shown.encode("utf-8")
    assert visible(shown) == shown


@few
@given(anything, st.integers(1, 20))
def test_shortening_keeps_the_limit_and_both_ends(text, limit):
    shown = shorten(text, limit)
    assert len(shown) <= limit or shown == text
    assert shown == text if len(text) <= limit else "…" in shown


@few
@given(st.text("$\\ab{}_^", max_size=12))
def test_no_label_is_a_formula_and_every_one_shows_its_text(text):
    from matplotlib.text import Text

    shown, is_formula = Text(text=label(text))._preprocess_math(label(text))
    assert not is_formula
    assert shown == text


@pytest.mark.parametrize("name", ["ʃ", "你好", "ا", "naïve", "a\u200db", "1\xa0m"])
def test_names_in_any_script_stay_as_they_are(name):
    assert visible(name) == name
