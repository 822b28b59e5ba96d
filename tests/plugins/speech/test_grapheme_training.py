import pytest
import torch
from torchprobe_speech import (
    CtcTraining,
    GraphemeNet,
    LayerShape,
    SpectrogramDataset,
    grapheme_error,
    train_graphemes,
    transcribe,
)
from torchprobe_speech.grapheme_training import _mask_bands

from torchprobe.errors import InsufficientDataError, LabelError, SettingError


def make(texts, frames=4):
    """Spectrograms whose band shows the letter: a is band 0, b band 1, ..."""
    arrays = []
    for text in texts:
        bands = torch.tensor([ord(letter) - ord("a") for letter in text])
        bright = torch.nn.functional.one_hot(bands.repeat_interleave(frames), 4).float()
        arrays.append(bright + 0.1 * torch.randn(len(bright), 4))
    labels = [torch.full((len(array),), -1) for array in arrays]
    return SpectrogramDataset(arrays, texts, labels, range(len(texts)))


@pytest.fixture
def data():
    letters = torch.randint(4, (120, 6))
    letters[:, 1:] = (letters[:, :-1] + 1 + letters[:, 1:] % 3) % 4  # neighbours differ
    return make(["".join("abcd"[i] for i in row[: 3 + n % 4]) for n, row in enumerate(letters)])


def small_net(seed=0):
    return GraphemeNet([LayerShape(16, 3), LayerShape(16, 1)], 4, 29, seed=seed)


def test_training_learns_to_spell(data):
    net = small_net()
    history = train_graphemes(net, data, CtcTraining(6, 8, 3e-2), validation=data)
    assert len(history) == 6
    assert not net.training
    assert history[-1] == grapheme_error(net, data) < 0.3 < history[0]


def test_training_is_reproducible_with_masks_and_leaves_the_global_state(data):
    def weights(seed):
        torch.rand(seed + 1)  # whatever was drawn before
        net = small_net()
        train_graphemes(net, data, CtcTraining(1, band_mask=2, seed=seed))
        return torch.cat([p.flatten() for p in net.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))
    state = torch.get_rng_state()
    train_graphemes(small_net(), data, CtcTraining(1))
    assert torch.equal(torch.get_rng_state(), state)


def test_transcripts_do_not_depend_on_the_batch_size_and_the_mode_stays(data):
    net = small_net()
    train_graphemes(net, data, CtcTraining(2, peak_rate=1e-2))
    net.train()
    assert transcribe(net, data, batch_size=1) == transcribe(net, data, batch_size=50)
    assert net.training


def test_masks_hide_whole_bands_up_to_the_width():
    generator = torch.Generator().manual_seed(0)
    masked = _mask_bands(torch.ones(500, 10, 3), 4, generator)
    hidden = (masked == 0).all(2)
    assert torch.equal(hidden, (masked == 0).any(2))
    assert set(hidden.sum(1).tolist()) == {0, 1, 2, 3, 4}
    edges = hidden.int().diff(dim=1).abs().sum(1) + hidden[:, 0].int() + hidden[:, -1].int()
    assert edges.max() == 2  # one stretch each
    assert hidden.any(0).all()


def test_a_text_too_long_for_its_utterance_is_named():
    data = make(["ab"])
    data.spectrograms = (torch.zeros(2, 4),)
    data.lengths = torch.tensor([2])
    train_graphemes(small_net(), data, CtcTraining(1))
    data.texts = ("aa",)
    with pytest.raises(InsufficientDataError, match=r"'aa' needs 3 output frames.*has 2"):
        train_graphemes(small_net(), data, CtcTraining(1))


def test_a_letter_outside_the_alphabet_is_named(data):
    data.texts = ("A", *data.texts[1:])
    with pytest.raises(LabelError, match="'A'"):
        train_graphemes(small_net(), data)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}, {"band_mask": -1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(SettingError, match="must be positive"):
        CtcTraining(**wrong)
