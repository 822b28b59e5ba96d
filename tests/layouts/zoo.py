"""Models of many kinds, with the axes that a careful reader would give their layers.

Every model is built for sizes (batch, positions, channels). Its axes are listed by layer and hold
for every call of it, unless a call has axes of its own.
"""

from typing import NamedTuple

import torch
from torch import nn


class Sizes(NamedTuple):
    """Batch, positions, channels (a multiple of 4)."""

    b: int
    t: int
    c: int


class Case(NamedTuple):
    """A model, its arguments and its layers' axes."""

    model: nn.Module
    args: tuple
    axes: dict[str, str]


ZOO = {}


def case(build):
    ZOO[build.__name__] = build
    return build


def say(axes, *names):
    return dict.fromkeys(names, axes)


SC, STC, TSC = "sample channel", "sample time channel", "time sample channel"
SKC, KSC = "sample token channel", "token sample channel"
SCT, SCHW = "sample channel time", "sample channel height width"
SHWC, STATE = "sample height width channel", "stack sample channel"


class Calls(nn.Module):
    """A module made of parts and a function of them."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args):
        return self.function(self, *args)


@case
def mlp(s):
    norm, softmax = nn.BatchNorm1d(12), nn.Softmax(1)
    model = nn.Sequential(
        nn.Linear(s.c, 12), norm, nn.ReLU(), nn.Dropout(), nn.Linear(12, 3), softmax
    )
    return Case(model, (torch.randn(s.b, s.c),), say(SC, "input", "model", *"012345"))


@case
def mlp_unbatched(s):
    model = nn.Sequential(nn.Linear(s.c, 12), nn.ReLU(), nn.LayerNorm(12))
    return Case(model, (torch.randn(s.c),), say("channel", "input", "model", *"012"))


@case
def conv1d(s):
    model = nn.Sequential(
        *(nn.Conv1d(s.c, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout()),
        *(nn.AvgPool1d(2, ceil_mode=True), nn.GroupNorm(2, 8), nn.Upsample(scale_factor=2)),
        *(nn.ConvTranspose1d(8, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3)),
    )
    axes = say(SCT, "input", *"012345678") | say(SC, "9", "10", "model")
    return Case(model, (torch.randn(s.b, s.c, s.t),), axes)


@case
def conv1d_unbatched(s):
    model = nn.Sequential(nn.Conv1d(s.c, 8, 1), nn.ReLU(), nn.MaxPool1d(1), nn.InstanceNorm1d(8))
    axes = say("channel time", "input", "model", *"0123")
    return Case(model, (torch.randn(s.c, s.t + 1),), axes)


@case
def conv2d(s):
    model = nn.Sequential(
        *(nn.ZeroPad2d(1), nn.Conv2d(s.c, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.GELU()),
        *(nn.Dropout2d(), nn.MaxPool2d(2, ceil_mode=True), nn.PixelShuffle(2)),
        *(nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)),
    )
    axes = say(SCHW, "input", *"01234567") | say(SC, "8", "9", "model")
    return Case(model, (torch.randn(s.b, s.c, s.t + 1, s.t + 1),), axes)


@case
def conv3d(s):
    model = nn.Sequential(nn.Conv3d(s.c, 4, 1), nn.BatchNorm3d(4), nn.SiLU(), nn.AvgPool3d(1))
    axes = say("sample channel depth height width", "input", "model", *"0123")
    return Case(model, (torch.randn(s.b, s.c, s.t + 1, s.t, s.t),), axes)


@case
def lazy(s):
    model = nn.Sequential(nn.LazyConv1d(4, 1), nn.LazyBatchNorm1d(), nn.Flatten(), nn.LazyLinear(3))
    axes = say(SCT, "input", "0", "1") | say(SC, "2", "3", "model")
    return Case(model, (torch.randn(s.b, s.c, s.t + 1),), axes)


def _recurrent(recurrent, x, axes, *states):
    def forward(m, x):
        return m.out(m.drop(m.norm(m.rnn(x)[0])))

    parts = {"norm": nn.LayerNorm(8), "drop": nn.Dropout(), "out": nn.Linear(8, 3)}
    model = Calls(forward, rnn=recurrent, **parts)
    return Case(model, (x,), say(axes, "input", "rnn[0]", *parts, "model") | say(STATE, *states))


@case
def lstm_batch_first(s):
    recurrent = nn.LSTM(s.c, 8, 2, batch_first=True)
    return _recurrent(recurrent, torch.randn(s.b, s.t, s.c), STC, "rnn[1][0]", "rnn[1][1]")


@case
def lstm_time_first(s):
    return _recurrent(nn.LSTM(s.c, 8), torch.randn(s.t, s.b, s.c), TSC, "rnn[1][0]", "rnn[1][1]")


@case
def gru_bidirectional(s):
    recurrent = nn.GRU(s.c, 4, bidirectional=True, batch_first=True)
    return _recurrent(recurrent, torch.randn(s.b, s.t, s.c), STC, "rnn[1]")


@case
def rnn_unbatched(s):
    case = _recurrent(nn.RNN(s.c, 8), torch.randn(s.t, s.c), "time channel")
    return case._replace(axes=case.axes | {"rnn[1]": "stack channel"})


@case
def lstm_cell_loop(s):
    def forward(m, x):
        state, steps = None, []
        for step in x.unbind(1):
            state = m.cell(step, state)
            steps.append(state[0])
        return m.out(torch.stack(steps, 1))

    model = Calls(forward, cell=nn.LSTMCell(s.c, 4), out=nn.Linear(4, 3))
    axes = say(SC, "cell[0]", "cell[1]") | say(SKC, "out", "model")
    axes["input"] = "sample position channel"
    return Case(model, (torch.randn(s.b, s.t, s.c),), axes)


@case
def packed(s):
    def forward(m, x):
        lengths = [s.t] * s.b
        packed = nn.utils.rnn.pack_padded_sequence(m.emb(x), lengths, batch_first=True)
        return m.rnn(packed)[0]

    model = Calls(forward, emb=nn.Linear(s.c, 4), rnn=nn.GRU(4, 3))
    axes = say(STC, "rnn[0]", "model") | say(SKC, "input", "emb") | {"rnn[1]": STATE}
    return Case(model, (torch.randn(s.b, s.t, s.c),), axes)


def _transformer_layer(prefix, axes):
    parts = ["linear1", "dropout", "linear2", "norm1", "norm2", "dropout1", "dropout2"]
    return say(axes, f"{prefix}self_attn[0]", *(prefix + part for part in parts), prefix[:-1])


@case
def encoder_batch_first(s):
    layer = nn.TransformerEncoderLayer(s.c, 2, 8, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    model = nn.Sequential(encoder, nn.Linear(s.c, 3))
    axes = say(SKC, "input", "0", "1", "model")
    axes |= _transformer_layer("0.layers.0.", SKC) | _transformer_layer("0.layers.1.", SKC)
    return Case(model, (torch.randn(s.b, s.t, s.c),), axes)


@case
def encoder_token_first(s):
    layer = nn.TransformerEncoderLayer(s.c, 2, 8)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    model = nn.Sequential(nn.Linear(s.c, s.c), encoder, nn.Linear(s.c, 3))
    axes = say(KSC, "input", "0", "1", "2", "model")
    axes |= _transformer_layer("1.layers.0.", KSC) | _transformer_layer("1.layers.1.", KSC)
    return Case(model, (torch.randn(s.t, s.b, s.c),), axes)


@case
def encoder_and_decoder(s):
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(s.c, 2, 8), 1, nn.LayerNorm(s.c), enable_nested_tensor=False
    )
    model = nn.Transformer(s.c, 2, 1, 1, 8, custom_encoder=encoder)
    axes = say(KSC, "input", "encoder", "decoder", "encoder.norm", "decoder.norm", "model")
    axes |= _transformer_layer("encoder.layers.0.", KSC)
    axes |= _transformer_layer("decoder.layers.0.", KSC)
    crossing = ["multihead_attn[0]", "norm3", "dropout3"]
    axes |= say(KSC, *(f"decoder.layers.0.{part}" for part in crossing))
    return Case(model, (torch.randn(s.t, s.b, s.c), torch.randn(s.t, s.b, s.c)), axes)


@case
def attention_weights(s):
    model = nn.MultiheadAttention(s.c, 2, batch_first=True)
    x = torch.randn(s.b, s.t, s.c)
    axes = say(SKC, "input", "model[0]") | {"model[1]": "sample query channel"}
    return Case(model, (x, x, x), axes)
