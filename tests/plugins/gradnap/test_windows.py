"""Windows are what a network sees for one frame; a pass over them is one over single inputs."""

import numpy as np
import pytest
import torch
from torch import nn
from torchprobe_gradnap import GradNAP, Windows

import torchprobe as tp
from torchprobe.errors import LabelError, SettingError
from torchprobe.objective import Objective


def test_a_window_is_what_the_network_sees_for_its_frame():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(3, 4, 5, stride=2), nn.ReLU(), nn.Conv1d(4, 2, 3)).double()
    x = torch.randn(2, 3, 40, dtype=torch.float64)
    frames = model(x)  # [sample, class, frame]; field 9, stride 2, first centre 4
    numbers = torch.arange(2 * frames.shape[2]).view(2, -1)
    batches = list(Windows([(x, numbers)], width=9, stride=2, offset=4, batch_size=7))
    windows = torch.cat([batch.inputs for batch in batches])
    order = torch.cat([batch.labels["label"] for batch in batches])
    assert [len(batch.inputs) for batch in batches] == [7] * 4 + [4]
    torch.testing.assert_close(model(windows)[:, :, 0], frames.movedim(1, 2).flatten(0, 1)[order])


def test_windows_that_overrun_their_utterance_are_left_out_and_counted():
    x = torch.zeros(2, 1, 10)
    labels = torch.zeros(2, 10, dtype=torch.long)
    windows = Windows([tp.Batch(x, labels=labels, lengths=[10, 4])], width=5)
    assert sum(len(batch.inputs) for batch in windows) == 6 + 0
    assert windows.left_out == 14
    too_long = Windows([(x, labels)], width=11)
    assert list(too_long) == []
    assert too_long.left_out == 20


def test_other_labels_go_with_the_windows():
    x = torch.zeros(2, 1, 4)
    labels = {
        "label": torch.tensor([[0, -1, 1, 0], [1, -1, -1, -1]]),
        "loud": torch.arange(8).view(2, 4),
        "speaker": torch.tensor([5, 6]),
    }
    (batch,) = Windows([tp.Batch(x, labels=labels)], width=1)
    assert batch.labels["loud"].tolist() == [0, 2, 3, 4]
    assert batch.labels["speaker"].tolist() == [5, 5, 5, 6]


def test_profiles_of_a_frame_wise_net_are_made_of_windows():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU(), nn.Conv1d(4, 2, 3)).double()
    x = torch.randn(2, 3, 12, dtype=torch.float64)
    labels = torch.arange(2 * 8).view(2, 8) % 2
    windows = Windows([(x, labels)], width=5, offset=2)
    probe = tp.Probe(model, ["input", "1"], [GradNAP()], objective=Objective(dim=1))
    found = probe.run(windows, progress=False)["gradnap"]
    assert found["input"].gradnap.shape == (2, 3, 5)
    assert found["1"].gradnap.shape == (2, 4, 3)
    assert found["1"].counts.tolist() == [8, 8]
    assert np.isfinite(found["1"].gradnap).all()


def test_mistakes_are_named():
    with pytest.raises(SettingError, match="width=0"):
        Windows([], width=0)
    with pytest.raises(LabelError, match="one for each frame"):
        list(Windows([(torch.zeros(2, 1, 4), [0, 1])], width=2))
    with pytest.raises(LabelError, match="got tuple"):
        list(Windows([((torch.zeros(2, 1, 4),), [[0], [1]])], width=2))
