"""Stride, offset and field as measured, beside arithmetic on known operations."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from references import receptive_fields as reference
from references.position_networks import (
    Excited,
    Patches,
    Recogniser,
    Residual,
    Tokens,
    UNet,
    Waveform,
    described,
    maps,
)
from torch import nn

import torchprobe as tp
from torchprobe.positions import Map

WIDTH = 8


@st.composite
def stacks(draw, dims, ups=("repeat", "transposed")):
    """A random stack of convolutions, poolings and upsamplings, and the same for the reference."""
    modules, operations, channels = [], [], 4
    kinds = ["conv", "conv", "max", "average", *ups]
    for _ in range(draw(st.integers(1, 4))):
        kind, size = draw(st.sampled_from(kinds)), draw(st.integers(1, 5))
        if kind == "conv":
            stride, dilation = (
                draw(st.sampled_from([1, 1, 2, 3])),
                draw(st.sampled_from([1, 1, 2, 3])),
            )
            window = reference.Window(size, stride, draw(st.integers(0, size - 1)), dilation)
            conv = (nn.Conv1d, nn.Conv2d)[dims - 1]
            modules.append(conv(channels, WIDTH, size, stride, window.padding, dilation))
            channels = WIDTH
        elif kind == "repeat":
            window = reference.Repeat(draw(st.sampled_from([2, 3])))
            modules.append(nn.Upsample(scale_factor=window.factor))
        elif kind == "transposed":
            stride = draw(st.sampled_from([1, 2, 3]))
            window = reference.Transposed(max(size, stride), stride, draw(st.integers(0, 1)))
            transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d)[dims - 1]
            size = max(window.size, 2 * window.padding + 1)
            window = reference.Transposed(size, stride, window.padding)
            modules.append(transposed(channels, WIDTH, size, stride, window.padding))
            channels = WIDTH
        else:
            window = reference.Window(
                size, draw(st.sampled_from([1, 2])), draw(st.integers(0, size // 2))
            )
            pool = {"max": (nn.MaxPool1d, nn.MaxPool2d), "average": (nn.AvgPool1d, nn.AvgPool2d)}
            modules.append(pool[kind][dims - 1](size, window.stride, window.padding))
        operations.append(window)
        modules.append(draw(st.sampled_from([nn.ReLU, nn.Tanh, nn.GELU, nn.Identity]))())
    return nn.Sequential(*modules), operations


def check(stack, sizes):
    """Every layer with enough positions is measured as arithmetic says."""
    model, operations = stack
    x = torch.randn(2, 4, *sizes)
    n = None
    try:
        n = [model[: 2 * at + 1](x).shape[2:] for at in range(len(operations))]
    except RuntimeError:  # the input is too short for this stack
        return
    found = maps(model, x)
    for at, counts in enumerate(n):
        below = operations[: at + 1]
        spans = [reference.span(below, place) for place in range(reference.period(below))]
        expected = Map.of_spans(spans, int(reference.stride(below) * len(spans)))
        for axis, each in enumerate(found[str(2 * at)].maps if str(2 * at) in found else ()):
            if reference.field(below) < sizes[axis] / 2 and counts[axis] > 5 * len(spans):
                assert (each.stride, each.offset, each.field) == (
                    expected.stride,
                    expected.offset,
                    expected.field,
                )
                places = torch.arange(counts[axis])
                pairs = zip(each.spans(places), expected.spans(places), strict=True)
                assert all(torch.equal(one, other) for one, other in pairs)


slow = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)


@slow
@given(stacks(1), st.integers(50, 140), st.integers(0, 99))
def test_stacks_over_time_are_measured_as_arithmetic_says(stack, size, seed):
    torch.manual_seed(seed)
    check(stack, (size,))


@settings(slow, max_examples=8)
@given(stacks(2, ups=()), st.integers(30, 44), st.integers(30, 44), st.integers(0, 99))
def test_stacks_over_images_are_measured_as_arithmetic_says(stack, height, width, seed):
    torch.manual_seed(seed)
    check(stack, (height, width))


# -- networks


def test_a_residual_block_that_works_in_place_sees_through_both_ways():
    found = maps(Residual(), torch.randn(2, 4, 61))
    assert described(found["skip"]) == (2, 0, "1")
    assert described(found["act"]) == (2, 0, "3")
    assert described(found["act@2"]) == (2, 0, "7")


def test_a_unet_repeats_later_than_its_stride_says():
    torch.manual_seed(1)
    model, x = UNet().double(), torch.randn(1, 2, 128).double()
    found = maps(model, x)
    for name, stride in {"pool": 2, "pool@2": 4, "up.0": 4, "join.1": 2, "model": 1}.items():
        assert found[name].maps[0].stride == stride
    seen = (
        torch.autograd.functional.jacobian(lambda x: model(x).sum((0, 1)), x).abs().sum((1, 2)) > 0
    )
    first, last = found["model"].maps[0].spans(torch.arange(128))
    for at in range(48, 80):
        positions = seen[at].nonzero()
        assert (int(positions.min()), int(positions.max())) == (int(first[at]), int(last[at]))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("size", [20, 150])
def test_a_recurrent_layer_keeps_the_positions_of_its_input(size, bidirectional):
    """Also where its memory fades below what single precision can tell."""
    lstm = nn.LSTM(3, 6, batch_first=True, bidirectional=bidirectional)
    found = maps(lstm, torch.randn(2, size, 3))
    assert described(found["model[0]"]) == (1, 0, "global" if bidirectional else "past")


def test_a_recurrent_layer_stands_where_the_convolution_before_it_does():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.rnn = nn.Conv1d(3, 8, 4, 3), nn.GRU(8, 6, batch_first=True)

        def forward(self, x):
            return self.rnn(self.conv(x).transpose(1, 2))[0]

    found = maps(Both(), torch.randn(2, 3, 80))
    assert found["conv"].maps == (Map(3, 1.5, 4),)
    assert found["rnn[0]"].maps == (Map(3, 1.5, right=1.5),)
    assert found["rnn[0]"].note == "as in 'conv'"


def test_attention_sees_everything_and_stays_in_its_place():
    found = maps(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.randn(2, 30, 8))
    assert {described(each) for each in found.values()} == {(1, 0, "global")}


def test_tokens_are_replaced_by_others_that_occur():
    found = maps(Tokens(attention=True), torch.randint(0, 30, (3, 25)))
    assert described(found["emb"]) == (1, 0, "1")
    assert described(found["block"]) == (1, 0, "past")
    found = maps(Tokens(attention=False), torch.randint(0, 30, (25, 3)))
    assert found["rnn[0]"].along == ("time",)
    assert described(found["rnn[0]"]) == (1, 0, "past")


def test_patches_in_a_row_are_those_of_the_image():
    found = maps(Patches(), torch.randn(2, 3, 32, 48))
    patch = Map(4, 1.5, 4)
    assert found["norm"].maps == found["patch"].maps == (patch, patch)
    assert found["norm"].grid == (8, 12)
    assert found["block"].maps == (Map(4, 1.5), Map(4, 1.5))
    assert "model" not in found


def test_strides_are_told_behind_a_layer_that_sees_everything():
    found = maps(Waveform(), torch.randn(2, 4000))
    assert found["first"].maps == (Map(5, 4.5, 10),)
    assert found["norm"].maps == (Map(5, 4.5),)
    assert found["rest.1"].maps == (Map(10, 9.5),)
    assert found["rest.3"].maps == found["block"].maps == (Map(20, 14.5),)
    squeezed = nn.Sequential(nn.Conv1d(3, 8, 3, 2), Excited(8), nn.Conv1d(8, 8, 3, 2), Excited(8))
    assert maps(squeezed, torch.randn(2, 3, 90))["2"].maps == (Map(4, 3),)


def test_axes_of_the_input_are_told_apart():
    found = maps(Recogniser(), torch.randn(2, 1, 20, 60))
    assert found["pool"].along == ("height", "time")
    assert found["pool"].maps == (Map(2, 0.5, 4), Map(2, 0, 3))
    assert (found["out"].along, found["out"].maps) == (("time",), (Map(2, 0),))


def test_adaptive_pooling_goes_by_ratio_and_one_position_for_all_is_none():
    model = nn.Sequential(nn.Conv1d(3, 8, 3), nn.AdaptiveAvgPool1d(8), nn.AdaptiveAvgPool1d(1))
    for size in (102, 75):  # divisible by 8, and not
        found = maps(model, torch.randn(2, 3, size))
        assert found["1"].maps == (Map(None),)
        assert found["1"].note == "varies"
        assert found["2"].along == (None,)


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
def test_padding_that_shows_the_input_again_is_seen_through(mode):
    model = nn.Sequential(nn.Conv1d(3, 8, 5, padding=2, padding_mode=mode), nn.ReLU())
    assert described(maps(model, torch.randn(2, 3, 60))["1"]) == (1, 0, "5")


def test_inputs_of_other_forms_are_measured_too():
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(3, 20, 3), [20, 9, 4], batch_first=True)
    assert described(maps(nn.LSTM(3, 8, batch_first=True), packed)["model[0]"]) == (1, 0, "past")
    single = maps(nn.Sequential(nn.Conv1d(3, 8, 5, 2)), torch.randn(3, 40))
    assert described(single["0"]) == (2, 2, "5")


def test_lengths_and_masks_go_with_the_longest_sample():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(3, 8, 5, 2, 2)

        def forward(self, x, lengths):
            inside = torch.arange(x.shape[2])[None] < lengths[:, None]
            return self.conv(x * inside[:, None])

    found = maps(Masked(), torch.randn(3, 3, 60), torch.tensor([12, 60, 30]))
    assert described(found["conv"]) == (2, 0, "5")


# -- models that do not make it easy


def test_a_model_that_refuses_nan_or_other_lengths_is_measured_without():
    class Strict(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.rnn = nn.Conv1d(3, 8, 5, 2), nn.LSTM(8, 6, batch_first=True)

        def forward(self, x):
            assert x.shape[2] == 80
            assert torch.isfinite(x).all()
            return self.rnn(self.conv(x).transpose(1, 2))[0]

    found = maps(Strict(), torch.randn(2, 3, 80))
    assert described(found["conv"]) == (2, 2, "5")
    assert found["rnn[0]"].maps[0].offset == 2


def test_dead_units_hide_nothing_for_long():
    torch.manual_seed(0)
    model = nn.Sequential(
        *(part for _ in range(3) for part in (nn.Conv1d(3, 3, 5, padding=2), nn.ReLU()))
    )
    with torch.no_grad():
        for conv in model[::2]:
            conv.bias -= 0.3
    assert described(maps(model, torch.randn(2, 3, 90))["5"]) == (1, 0, "13")


def test_small_weights_at_the_far_end_are_seen():
    model = nn.Sequential(
        *(part for _ in range(5) for part in (nn.Conv1d(4, 4, 5, padding=2), nn.ReLU()))
    )
    with torch.no_grad():
        for conv in model[::2]:
            conv.weight[:, :, [0, -1]] *= 1e-4
    assert described(maps(model, torch.randn(2, 4, 90))["8"]) == (1, 0, "21")


def test_a_model_that_cannot_run_on_other_values_says_so():
    class Picky(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(3, 8, 3)

        def forward(self, x):
            if x.abs().max() > 10:
                raise ValueError("too loud")
            return self.conv(x)

    table = tp.layers(Picky(), torch.randn(2, 3, 20).clamp(-3, 3))
    assert "could not be measured" in table["conv"].note
    assert "too loud" in table["conv"].note
