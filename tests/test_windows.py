"""Windows are what a network sees for one frame; a pass over them is one over single inputs."""

import numpy as np
import pytest
import torch
from torch import nn
from torchprobe_gradnap import GradNAP

import torchprobe as tp
from torchprobe.errors import InsufficientDataError, LabelError, SettingError
from torchprobe.positions import Map


def net(padding, kernel=5, stride=2):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(3, 4, kernel, stride, padding=kernel // 2 if padding else 0),
        nn.ReLU(),
        nn.Conv1d(4, 2, 3, padding=padding),
    ).double()


def noise(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def all_of(windows):
    batches = list(windows)
    inputs = torch.cat([batch.inputs for batch in batches])
    return inputs, {
        name: torch.cat([b.labels[name] for b in batches]) for name in batches[0].labels
    }


@pytest.mark.parametrize("kernel", [4, 5])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_window_is_what_the_network_sees_for_its_frame(kernel, padding, stride):
    model, x = net(padding, kernel, stride), noise(2, 3, 40)
    frames = model(x)  # [sample, class, frame]
    numbers = torch.arange(2 * frames.shape[2]).view(2, -1)
    windows = tp.Windows([(x, numbers)], model, batch_size=7)
    inputs, labels = all_of(windows)
    own = model(inputs)[:, :, windows.position]
    torch.testing.assert_close(own, frames.movedim(1, 2).flatten(0, 1)[labels["label"]])
    assert len(inputs) + windows.left_out == numbers.numel()
    assert padding or windows.left_out == windows.position == 0
    assert padding or model(inputs).shape[2] == 1


def test_the_frames_of_a_net_that_pads_can_be_asked_of_its_twin_without_padding():
    padded, bare, x = net(1), net(0), noise(2, 3, 40)
    frames = padded(x)
    numbers = torch.arange(frames.shape[2]).expand(2, -1)
    stated = tp.layers(padded, x)["model"].positions.maps[0]
    inputs, labels = all_of(tp.Windows([(x, numbers)], stated))
    n = len(inputs) // 2
    expected = frames[:, :, labels["label"][:n]].movedim(1, 2).flatten(0, 1)
    torch.testing.assert_close(bare(inputs)[:, :, 0], expected)


def test_a_causal_network_sees_what_came_before():
    torch.manual_seed(0)
    model = nn.Sequential(nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(3, 2, 5)).double()
    x = noise(1, 3, 20)
    windows = tp.Windows([(x, torch.arange(20)[None])], model)
    inputs, labels = all_of(windows)
    own = model(inputs)[:, :, windows.position]
    torch.testing.assert_close(own, model(x)[0, :, labels["label"]].T)
    assert torch.equal(inputs[0], x[0, :, : windows.width])


def test_labels_of_the_input_are_met_in_the_middle_of_what_frames_see():
    model, x = net(0), noise(2, 3, 40)  # field 9, stride 2, first centre 4
    times = torch.arange(40).expand(2, -1)
    frames = torch.arange(16).expand(2, -1)
    windows = tp.Windows([tp.Batch(x, labels={"label": times, "frame": frames})], model)
    _, labels = all_of(windows)
    assert torch.equal(labels["label"], 4 + 2 * labels["frame"])
    assert windows.left_out == 0
    _, labels = all_of(tp.Windows([(x, times)], model))
    assert labels["label"].tolist() == 2 * list(range(4, 36, 2))


def test_windows_that_overrun_their_utterance_are_left_out_and_counted():
    x, labels = torch.zeros(2, 1, 10), torch.zeros(2, 10, dtype=torch.long)
    windows = tp.Windows([tp.Batch(x, labels=labels, lengths=[10, 4])], Map(field=5))
    assert sum(len(batch.inputs) for batch in windows) == 6 + 0
    assert windows.left_out == 14
    too_long = tp.Windows([(x, labels)], Map(field=11))
    with pytest.raises(InsufficientDataError, match="11 positions wide and none of the 20"):
        list(too_long)
    with pytest.raises(InsufficientDataError, match="no frame has a label"):
        list(tp.Windows([(x, labels - 1)], Map(field=3)))


def test_other_labels_and_masks_go_with_the_windows():
    x = torch.zeros(2, 1, 4)
    labels = {
        "label": torch.tensor([[0, -1, 1, 0], [1, -1, -1, 1]]),
        "loud": torch.arange(8).view(2, 4),
        "speaker": torch.tensor([5, 6]),
    }
    mask = torch.tensor([[True] * 4, [True, True, True, False]])
    (batch,) = tp.Windows([tp.Batch(x, labels=labels, mask=mask)], Map(field=1))
    assert set(batch.labels) == set(labels)
    assert batch.labels["loud"].tolist() == [0, 2, 3, 4]
    assert batch.labels["speaker"].tolist() == [5, 5, 5, 6]


def test_loaders_that_can_be_read_once_lose_nothing():
    model, x = net(0), noise(3, 3, 40)
    loader = [(each[None], torch.arange(16)[None]) for each in x]
    windows = tp.Windows(iter(loader), model)
    with pytest.raises(SettingError, match="after the first batch"):
        _ = windows.position
    assert torch.equal(all_of(windows)[0], all_of(tp.Windows(loader, model))[0])
    assert windows.position == 0


def test_time_may_be_any_axis():
    x, labels = torch.arange(10.0).view(1, 5, 2), torch.arange(5)[None]
    (batch,) = tp.Windows([(x, labels)], Map(field=3), dim=1)
    assert batch.inputs.shape == (3, 3, 2)
    assert torch.equal(batch.inputs[1], x[0, 1:4])


@pytest.mark.parametrize("padding", [0, 1])
def test_profiles_of_a_frame_wise_net_are_made_of_windows(padding):
    model, x = net(padding), noise(2, 3, 30)
    labels = torch.arange(2 * model(x).shape[2]).view(2, -1) % 2
    windows = tp.Windows([(x, labels)], model)
    aim = tp.Objective(dim=1, position=windows.position)
    found = tp.Probe(model, ["input", "1"], [GradNAP()], objective=aim).run(windows)["gradnap"]
    assert found["1"].counts.sum() + windows.left_out == labels.numel()
    assert np.isfinite(found["1"].gradnap).all()
    inputs, _ = all_of(windows)
    gradients = []  # of a frame in its window: those that it has in its utterance
    for window in inputs:
        leaf = window[None].clone().requires_grad_()
        score = model(leaf)[0, :, windows.position].max()
        gradients.append(torch.autograd.grad(score, leaf)[0])
    leaf = x.clone().requires_grad_()
    frame = windows.left_out // 4 if padding else 0
    (whole,) = torch.autograd.grad(model(leaf)[0, :, frame].max(), leaf)
    seen = whole[0, :, whole[0].abs().sum(0) > 0]
    assert torch.allclose(gradients[0][0, :, gradients[0][0].abs().sum(0) > 0], seen)


def test_mistakes_are_named():
    x, frames = torch.zeros(2, 1, 6), torch.zeros(2, 6, dtype=torch.long)
    with pytest.raises(SettingError, match="batch_size=0"):
        tp.Windows([], Map(), batch_size=0)
    with pytest.raises(LabelError, match="one for each frame"):
        list(tp.Windows([(x, [0, 1])], Map(field=2)))
    with pytest.raises(LabelError, match="got tuple"):
        list(tp.Windows([((x,), [[0], [1]])], Map(field=2)))
    uneven = {"label": frames[:, :5], "other": torch.zeros(2, 7).long()}
    with pytest.raises(LabelError, match="5 and 7 frames"):
        list(tp.Windows([(x, uneven)], Map(field=1)))
    with pytest.raises(SettingError, match="a fixed stride"):
        list(tp.Windows([(x, frames)], Map(stride=None)))
    with pytest.raises(SettingError, match="no single axis"):
        list(tp.Windows([(x, frames)], nn.Sequential(nn.Flatten(), nn.Linear(6, 2))))
    with pytest.raises(LabelError, match="labels have 9 frames"):
        list(tp.Windows([(x, torch.zeros(2, 9).long())], nn.Conv1d(1, 2, 3)))
    with pytest.raises(InsufficientDataError, match="nothing to measure"):
        _ = tp.Windows([], nn.Conv1d(1, 2, 3)).width
