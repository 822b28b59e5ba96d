from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torchprobe_speech import (
    CMU40,
    PHONEME_FEATURES,
    SPECTROGRAM_FEATURES,
    LogMel,
    Segment,
    Utterance,
)
from torchprobe_speech.features import frame_labels

from torchprobe.errors import InsufficientDataError, SettingError, ShapeError

pytestmark = pytest.mark.skipif(
    find_spec("torchaudio") is None, reason="torchaudio is not installed"
)


def slow_log_mel(samples, bands, n_fft, window, hop, rate):
    """Frame by frame from the formulas: Hann window, power, HTK mel triangles, logarithm."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    side = (n_fft - window) // 2
    hann = np.pad(hann, (side, n_fft - window - side))
    padded = np.pad(samples, n_fft // 2, mode="reflect")
    mel = np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), bands + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    hertz = np.arange(n_fft // 2 + 1) * rate / n_fft
    rows = []
    for centre in range(0, len(samples), hop):
        power = np.abs(np.fft.rfft(padded[centre : centre + n_fft] * hann)) ** 2
        rising = (hertz - edges[:-2, None]) / np.diff(edges)[:-1, None]
        falling = (edges[2:, None] - hertz) / np.diff(edges)[1:, None]
        rows.append(np.clip(np.minimum(rising, falling), 0, None) @ power)
    return np.log(np.maximum(rows, 1e-10))


@pytest.mark.parametrize("size", [(23, 512, 400, 160), (40, 1024, 400, 160), (8, 256, 256, 100)])
def test_features_are_those_of_the_formulas(size):
    samples = np.random.default_rng(0).standard_normal(3000).astype(np.float32) / 10
    bands, n_fft, window, hop = size
    features = LogMel(bands, n_fft, window, hop, normalise=None)
    wanted = slow_log_mel(samples.astype(np.float64), *size, 16_000)
    np.testing.assert_allclose(features(samples), wanted, atol=2e-4)


def test_the_papers_settings():
    assert LogMel(23, 512, 400, 160, 16_000, "band") == PHONEME_FEATURES
    assert LogMel(128, 1024, 400, 160, 16_000, "utterance") == SPECTROGRAM_FEATURES


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("features", [PHONEME_FEATURES, SPECTROGRAM_FEATURES])
def test_no_mel_band_is_empty(features):
    raw = LogMel(features.bands, features.n_fft, normalise=None)
    assert (raw(torch.randn(4000)) > -20).all()


def test_bands_have_zero_mean_and_unit_variance_within_the_utterance():
    values = PHONEME_FEATURES(torch.randn(20_000) * torch.linspace(0.1, 1, 20_000))
    torch.testing.assert_close(values.mean(0), torch.zeros(23), atol=1e-5, rtol=0)
    torch.testing.assert_close(values.var(0, correction=0), torch.ones(23), atol=1e-4, rtol=0)


def test_a_spectrogram_has_one_mean_and_one_variance():
    values = SPECTROGRAM_FEATURES(torch.randn(20_000))
    assert values.mean().abs() < 1e-5
    assert abs(values.var(correction=0) - 1) < 1e-4
    assert values.mean(0).abs().max() > 0.1


def test_loudness_makes_no_difference():
    samples = torch.randn(8000)
    torch.testing.assert_close(PHONEME_FEATURES(samples), PHONEME_FEATURES(samples / 8),
                               atol=1e-3, rtol=0)  # fmt: skip


def test_digital_silence_stays_finite():
    assert torch.equal(PHONEME_FEATURES(torch.zeros(1000)), torch.zeros(7, 23))


@pytest.mark.parametrize("samples", [400, 1599, 1600, 1601, 1760])
def test_every_frame_is_centred_within_the_signal(samples):
    frames = PHONEME_FEATURES.frames(samples)
    assert len(PHONEME_FEATURES(torch.randn(samples))) == frames
    assert (frames - 1) * 160 < samples <= frames * 160


def test_a_click_is_loudest_in_the_frame_centred_on_it():
    samples = torch.full((4000,), 1e-4)
    samples[1600] = 1
    assert LogMel(normalise=None)(samples).sum(1).argmax() == 10


def test_labels_are_those_at_the_frame_centres():
    segments = (Segment(0, 159, "aa"), Segment(159, 320, "b"), Segment(320, 321, "s"))
    spoken = Utterance("a", "", "", 16_000, segments, samples=np.zeros(640, np.float32))
    wanted = [CMU40.index("aa"), CMU40.index("b"), CMU40.index("s"), -1]
    assert frame_labels(spoken, 4, PHONEME_FEATURES, CMU40).tolist() == wanted


def test_unsuitable_signals_and_settings_are_refused():
    with pytest.raises(InsufficientDataError, match="200 samples are too few"):
        PHONEME_FEATURES(torch.zeros(200))
    with pytest.raises(ShapeError, match=r"\(2, 500\)"):
        PHONEME_FEATURES(torch.zeros(2, 500))
    with pytest.raises(SettingError, match="has 8000 Hz, the features want 16000"):
        PHONEME_FEATURES.of(Utterance("a", "", "", 8_000, samples=np.zeros(900, np.float32)))
    for wrong in ({"hop": 0}, {"window": 600}, {"normalise": "all"}):
        with pytest.raises(SettingError):
            LogMel(**wrong)
