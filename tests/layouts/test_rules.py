"""What the types of modules say."""

import re

import pytest
import torch
from torch import nn

from torchprobe.layouts.rules import input_rule, output_rule

SURE = {
    nn.Linear(2, 3): ["channel", "? channel", "? ? channel", "? ? ? channel", "? ? ? ? channel"],
    nn.Bilinear(2, 2, 3): ["channel", "? channel"],
    nn.LazyLinear(3): ["channel", "? channel"],
    nn.Embedding(2, 3): ["channel", "? channel", "? ? channel"],
    nn.EmbeddingBag(2, 3): ["channel", "sample channel"],
    nn.LayerNorm(3): ["channel", "? channel", "? ? channel"],
    nn.LayerNorm((3, 4)): ["?", "? ?", "? ? ?"],
    nn.RMSNorm(3): ["channel", "? channel", "? ? channel"],
    nn.BatchNorm1d(3): ["?", "sample channel", "sample channel ?"],
    nn.SyncBatchNorm(3): ["?", "sample channel", "sample channel ?", "sample channel ? ?"],
    nn.GroupNorm(1, 3): ["?", "sample channel", "sample channel ?", "sample channel ? ?"],
    nn.LocalResponseNorm(2): ["?", "sample channel", "sample channel ?"],
    nn.InstanceNorm1d(3): ["?", "channel time", "sample channel time"],
    nn.Conv1d(2, 3, 1): ["?", "channel time", "sample channel time", "? ? ? ?"],
    nn.LazyConv1d(3, 1): ["?", "channel time", "sample channel time"],
    nn.ConvTranspose1d(2, 3, 1): ["?", "channel time", "sample channel time"],
    nn.Conv2d(2, 3, 1): ["?", "? ?", "channel height width", "sample channel height width"],
    nn.PixelShuffle(2): ["?", "? ?", "channel height width", "sample channel height width"],
    nn.Fold(4, 2): ["?", "? ?", "channel height width", "sample channel height width"],
    nn.Unfold(2): ["?", "channel token", "sample channel token"],
    nn.MaxPool1d(2): ["?", "? ?", "? ? ?"],
    nn.ReLU(): ["?", "? ?", "? ? ?"],
    nn.GRUCell(2, 3): ["channel", "sample channel", "? ? ?"],
    nn.LSTM(2, 3): ["?", "time channel", "time sample channel"],
    nn.GRU(2, 3, batch_first=True): ["?", "time channel", "sample time channel"],
    nn.MultiheadAttention(2, 1): ["?", "token channel", "token sample channel"],
    nn.MultiheadAttention(2, 1, batch_first=True): ["?", "token channel", "sample token channel"],
    nn.TransformerEncoderLayer(2, 1): ["?", "token channel", "token sample channel"],
    nn.TransformerDecoderLayer(2, 1, batch_first=True): [
        "?",
        "token channel",
        "sample token channel",
    ],
    nn.Transformer(2, 2, 1, 1, 2, batch_first=True): [
        "?",
        "token channel",
        "sample token channel",
    ],
}

USUAL = {
    nn.Linear(2, 3): ["channel", "sample channel", "sample token channel"],
    nn.LayerNorm(3): ["channel", "sample channel", "sample token channel"],
    nn.RMSNorm(3): ["channel", "sample channel", "sample token channel"],
    nn.ReLU(): ["channel", "sample channel", "? ? ?", "? ? ? ?"],
    nn.Flatten(): ["channel", "sample channel", "? ? ?"],
    nn.BatchNorm1d(3): ["?", "sample channel", "sample channel time"],
    nn.GroupNorm(1, 3): ["?", "sample channel", "sample channel time"],
    nn.MaxPool1d(2): ["channel", "channel time", "sample channel time", "? ? ? ?"],
    nn.AdaptiveAvgPool2d(1): ["channel", "sample channel", "channel height width"],
    nn.Dropout3d(): ["channel", "sample channel", "? ? ?", "channel depth height width"],
    nn.Upsample(2): ["?", "? ?", "sample channel time", "sample channel height width"],
    nn.ReflectionPad2d(1): ["channel", "sample channel", "channel height width"],
}


def named(names):
    return " ".join(name or "?" for name in names)


def kind(value):
    return type(value).__name__ if isinstance(value, nn.Module) else None


@pytest.mark.parametrize(("module", "expected"), SURE.items(), ids=kind)
def test_the_type_leaves_no_doubt_about(module, expected):
    for rank, names in enumerate(expected, start=1):
        assert named(output_rule(module, "", rank).sure) == names


@pytest.mark.parametrize(("module", "expected"), USUAL.items(), ids=kind)
def test_after_a_type_there_usually_are(module, expected):
    for rank, names in enumerate(expected, start=1):
        assert named(output_rule(module, "", rank).usual) == names


def test_four_axes_with_channels_last_usually_are_images():
    rule = output_rule(nn.Linear(2, 3), "", 4)
    assert named(rule.usual) == "sample height width channel"


@pytest.mark.parametrize("path", ["[1]", "[1][0]", "[1][1]"])
def test_recurrent_states_are_stacked_whatever_comes_first(path):
    for batch_first in (False, True):
        rule = output_rule(nn.LSTM(2, 3, batch_first=batch_first), path, 3)
        assert named(rule.sure) == "stack sample channel"
    assert named(output_rule(nn.GRU(2, 3), path, 2).sure) == "stack channel"


@pytest.mark.parametrize(
    ("rank", "input_rank", "names"),
    [
        (3, 3, "sample query channel"),
        (4, 3, "sample head query channel"),
        (2, 2, "query channel"),
        (3, 2, "head query channel"),
    ],
)
def test_attention_weights_have_keys_for_channels(rank, input_rank, names):
    rule = output_rule(nn.MultiheadAttention(4, 2), "[1]", rank, input_rank)
    assert named(rule.sure) == names


def test_attention_weights_are_laid_out_as_told():
    for batched in (False, True):
        for averaged in (False, True):
            attention = nn.MultiheadAttention(4, 2, batch_first=True)
            x = torch.ones(3, 5, 4) if batched else torch.ones(5, 4)
            weights = attention(x, x, x, average_attn_weights=averaged)[1]
            names = output_rule(attention, "[1]", weights.ndim, x.ndim).sure
            sizes = {"sample": 3, "head": 2, "query": 5, "channel": 5}
            assert weights.shape == tuple(sizes[name] for name in names)


def test_encoders_of_foreign_layers_say_nothing():
    class Layer(nn.Module):
        def forward(self, src, **_):
            return src

    encoder = nn.TransformerEncoder(Layer(), 2, enable_nested_tensor=False)
    assert named(output_rule(encoder, "", 3).usual) == "? ? ?"


def test_masks_and_states_say_nothing_of_axes():
    assert named(input_rule(nn.LSTM(2, 3), 0, 3).sure) == "time sample channel"
    assert named(input_rule(nn.LSTM(2, 3), 1, 3).usual) == "? ? ?"
    assert named(input_rule(nn.MultiheadAttention(2, 1), 2, 3).sure) == "token sample channel"
    assert named(input_rule(nn.MultiheadAttention(2, 1), 3, 3).usual) == "? ? ?"
    assert named(input_rule(nn.TransformerDecoderLayer(2, 1), 1, 3).sure) == "token sample channel"


def test_modules_without_a_rule_say_nothing_of_their_input():
    for module in (nn.ReLU(), nn.Sequential(), nn.Embedding(2, 3), nn.Unfold(2)):
        assert named(input_rule(module, 0, 2).usual) == "? ?"


def test_a_subclass_with_its_own_forward_is_usual_only():
    class Own(nn.Conv1d):
        def forward(self, x):
            return super().forward(x).transpose(1, 2)

    class Plain(nn.Conv1d):
        pass

    assert named(output_rule(Own(2, 3, 1), "", 3).sure) == "? ? ?"
    assert named(output_rule(Own(2, 3, 1), "", 3).usual) == "sample channel time"
    assert named(output_rule(Plain(2, 3, 1), "", 3).sure) == "sample channel time"


def test_a_parametrized_module_is_of_its_type():
    module = nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 3, 1))
    assert named(output_rule(module, "", 3).sure) == "sample channel time"


def test_a_class_that_only_has_the_name_of_a_torch_class_is_unknown():
    class GRU(nn.Module):
        def forward(self, x):
            return x

    assert named(output_rule(GRU(), "", 3).usual) == "? ? ?"


SPATIAL = [
    name
    for name in sorted(vars(nn))
    if re.search("[123]d$", name) and not re.search("Softmax|Loss|LRN|Upsampling", name)
]


@pytest.mark.parametrize("name", SPATIAL)
def test_every_spatial_module_of_torch_has_a_rule(name):
    module = object.__new__(getattr(nn, name))
    nn.Module.__init__(module)
    usual = output_rule(module, "", int(name[-2]) + 2).usual
    assert usual[:2] == ("sample", "channel")
    assert None not in usual
