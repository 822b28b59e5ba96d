from itertools import islice
from re import findall

from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from torchprobe_speech.sentences import distinct_sentences, vocabulary


@given(st.integers(0, 2**32))
@given_settings(derandomize=True, deadline=None, max_examples=10)
def test_sentences_are_distinct_and_follow_from_the_seed(seed):
    sentences = list(islice(distinct_sentences(seed), 200))
    assert len(set(sentences)) == 200
    assert sentences == list(islice(distinct_sentences(seed), 200))


def test_sentences_hold_only_words_of_the_vocabulary_and_soon_most_of_them():
    words = {word for text in islice(distinct_sentences(0), 3000) for word in text.split()}
    assert words <= set(vocabulary())
    assert len(words) > 0.98 * len(vocabulary())


def test_words_can_be_spelt_with_26_letters():
    assert all(word.isascii() and word.isalpha() and word.islower() for word in vocabulary())


def test_articles_fit_the_word_that_follows():
    text = " ".join(islice(distinct_sentences(0), 20_000))
    followers = {article: set(findall(rf"\b{article} (\w+)", text)) for article in ("a", "an")}
    assert {"apple", "old", "unusual"} <= followers["an"]
    assert {word for word in followers["a"] if word[0] in "aeiou"} == {"useful", "usual"}
    assert all(word[0] in "aeiou" for word in followers["an"])
