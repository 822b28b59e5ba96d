import sys
import wave

import numpy as np
import pytest
from scipy.io import wavfile
from torchprobe_speech import read_audio, resample, write_wav
from torchprobe_speech.audio import audio_rate

from torchprobe.errors import FileFormatError, MissingExtraError, SettingError, ShapeError


@pytest.fixture
def samples(rng):
    return rng.integers(-32768, 32768, 500).astype(np.float32) / 32768


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_sixteen_bit_values_survive_writing_and_reading_exactly(tmp_path, samples):
    write_wav(tmp_path / "a.wav", samples, 8_000)
    read, rate = read_audio(tmp_path / "a.wav")
    assert rate == audio_rate(tmp_path / "a.wav") == 8_000
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, samples)


def test_values_outside_the_range_are_clipped_not_wrapped(tmp_path):
    write_wav(tmp_path / "a.wav", np.array([-2.0, 2.0]), 8_000)
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav")[0], [-1, 1], atol=1e-4)


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32", "float64"])
def test_every_width_of_wav_is_scaled_to_one(tmp_path, kind):
    wanted = np.array([-1, -0.5, 0, 0.5])
    if kind.startswith("float"):
        pytest.importorskip("soundfile", reason="soundfile is not installed")
    scale = {"uint8": 128, "int16": 2**15, "int32": 2**31}.get(kind, 1)
    stored = (wanted * scale + (128 if kind == "uint8" else 0)).astype(kind)
    wavfile.write(tmp_path / "a.wav", 16_000, stored)
    read, rate = read_audio(tmp_path / "a.wav")
    np.testing.assert_array_equal(read, wanted)
    assert rate == audio_rate(tmp_path / "a.wav") == 16_000


@pytest.mark.parametrize(("kind", "name"), [("FLAC", "a.flac"), ("NIST", "a.WAV")])
def test_flac_and_sphere_are_read_whatever_the_file_is_called(tmp_path, samples, kind, name):
    soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed")
    soundfile.write(str(tmp_path / name), samples, 16_000, format=kind, subtype="PCM_16")
    read, rate = read_audio(tmp_path / name)
    assert rate == audio_rate(tmp_path / name) == 16_000
    np.testing.assert_array_equal(read, samples)


def test_sphere_without_soundfile_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    (tmp_path / "a.WAV").write_bytes(b"NIST_1A\n   1024\n")
    with pytest.raises(MissingExtraError, match=r"SPHERE.*torchprobe\[speech\]"):
        read_audio(tmp_path / "a.WAV")


@pytest.mark.parametrize("content", [b"", b"MP3!....", b"RIFF....", b"RIFF\0\0\0\0WAVE", b"fLaC"])
def test_damaged_files_are_refused_by_name(tmp_path, content):
    pytest.importorskip("soundfile", reason="soundfile is not installed")
    (tmp_path / "bad.wav").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"bad\.wav"):
        read_audio(tmp_path / "bad.wav")


def test_a_file_that_ends_early_is_refused(tmp_path, samples):
    write_wav(tmp_path / "a.wav", samples, 8_000)
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[:-7])
    with pytest.raises(FileFormatError, match="promises 500 samples"):
        read_audio(tmp_path / "a.wav")


def test_two_channels_are_refused(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((2, 2, 8_000, 0, "NONE", ""))
        file.writeframes(bytes(8))
    with pytest.raises(ShapeError, match="2 channels"):
        read_audio(tmp_path / "a.wav")
    with pytest.raises(ShapeError, match="one channel"):
        write_wav(tmp_path / "b.wav", np.zeros((3, 2)), 8_000)


def test_resampling_keeps_a_tone():
    tone = np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050).astype(np.float32)
    wanted = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    got = resample(tone, 22_050, 16_000)
    np.testing.assert_allclose(got[200:-200], wanted[200:-200], atol=1e-3)
    assert resample(tone, 8_000, 8_000) is tone
    with pytest.raises(SettingError, match="positive"):
        resample(tone, 0, 8_000)
