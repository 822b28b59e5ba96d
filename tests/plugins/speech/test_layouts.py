"""Spectrograms that a model computes itself are layers with known axes."""

import torch
from torch import nn
from torchprobe_speech import import_torchaudio

import torchprobe as tp


def test_a_model_with_its_own_features_needs_no_axes_by_hand():
    transforms = import_torchaudio().transforms
    model = nn.Sequential(
        transforms.MelSpectrogram(16_000, n_fft=1024, win_length=400, n_mels=64),
        transforms.AmplitudeToDB(),
    )
    table = tp.layers(model, torch.randn(2, 16_000))
    assert {row.axes for row in table if row.name in "01"} == {"sample channel time"}
