import pytest
import torch
from torchprobe_speech import (
    FrameDataset,
    FrameTraining,
    PhonemeNet,
    frame_accuracy,
    train_phonemes,
)

from torchprobe.errors import InsufficientDataError, SettingError


@pytest.fixture
def data():
    """Frames whose label is the band with the largest value; one in nine has no label."""
    features = torch.randn(600, 4)
    labels = features.argmax(1)
    labels[::9] = -1
    return FrameDataset([features], [labels], [0], context=0)


def small_net(**options):
    return PhonemeNet(4, 4, (16, 16), **options)


def test_training_learns_and_leaves_eval_mode(data):
    net = small_net()
    before = frame_accuracy(net, data)
    history = train_phonemes(net, data, FrameTraining(10, 32, 1e-2), validation=data)
    assert not net.training
    assert len(history) == 10
    assert history[-1] == frame_accuracy(net, data) > 0.9 > before


def test_training_is_reproducible_also_with_dropout_and_leaves_the_global_state(data):
    def weights(seed):
        torch.rand(seed + 1)  # whatever was drawn before
        net = small_net(dropout=0.2, batch_norm=True)
        train_phonemes(net, data, FrameTraining(2, 32, seed=seed))
        return torch.cat([p.flatten() for p in net.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))
    state = torch.get_rng_state()
    train_phonemes(small_net(dropout=0.2), data, FrameTraining(1))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_regulariser_is_part_of_every_step_s_loss(data):
    def decay(net):
        return 10 * net.output.weight.square().sum()

    plain, decayed = small_net(), small_net()
    train_phonemes(plain, data, FrameTraining(3, 32, 1e-2))
    train_phonemes(decayed, data, FrameTraining(3, 32, 1e-2), regulariser=decay)
    assert decay(decayed) < decay(plain) / 4


def test_frames_without_label_count_for_nothing(data):
    net, same = small_net(), small_net()
    labelled = data.select(data.labels >= 0)
    train_phonemes(net, data, FrameTraining(2, 32))
    train_phonemes(same, labelled, FrameTraining(2, 32))
    assert torch.equal(net.output.weight, same.output.weight)
    assert frame_accuracy(net, data) == frame_accuracy(net, labelled)


def test_accuracy_is_the_share_of_hits_whatever_the_batches(data):
    net = small_net().train()
    hits = [net(f.features[None]).argmax().item() == f.labels for f in (data[i] for i in range(600))
            if f.labels >= 0]  # fmt: skip
    assert frame_accuracy(net, data, batch_size=7) == sum(hits) / len(hits)
    assert frame_accuracy(net, data) == sum(hits) / len(hits)
    assert net.training


def test_a_last_batch_of_one_frame_does_not_break_batch_norm():
    data = FrameDataset([torch.randn(9, 4)], [torch.arange(9) % 4], [0], context=0)
    train_phonemes(small_net(batch_norm=True), data, FrameTraining(1, 4))


def test_a_single_step_is_possible(data):
    net = small_net()
    before = net.output.weight.clone()
    train_phonemes(net, data, FrameTraining(1, 600))
    assert not torch.equal(before, net.output.weight)


def test_frames_without_any_label_are_refused(data):
    data.labels.fill_(-1)
    with pytest.raises(InsufficientDataError, match="no training frame has a label"):
        train_phonemes(small_net(), data)
    with pytest.raises(InsufficientDataError, match="no frame has a label"):
        frame_accuracy(small_net(), data)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}, {"peak_rate": 0.0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(SettingError, match="must be positive"):
        FrameTraining(**wrong)


def test_no_bar_is_shown_unless_asked_or_in_a_terminal(data, capsys):
    train_phonemes(small_net(), data, FrameTraining(1))
    assert capsys.readouterr().err == ""
    train_phonemes(small_net(), data, FrameTraining(1), validation=data, progress=True)
    assert "training" in capsys.readouterr().err
