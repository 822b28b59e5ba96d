"""Models of many kinds with the axes that a careful reader would give their layers.

Every model is built for sizes (batch, time or side, channels) and names the axes of its layers.
Expected axes are listed by layer; layers that are not listed are containers.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F


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
SCT, SCHW, SHWC = "sample channel time", "sample channel height width", "sample height width channel"


class Calls(nn.Module):
    """A module made of parts and a function of them."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args):
        return self.function(self, *args)


# networks of one kind


@case
def mlp(s):
    model = nn.Sequential(
        nn.Linear(s.c, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(), nn.Linear(12, 3), nn.Softmax(1)
    )
    return Case(model, (torch.randn(s.b, s.c),), say(SC, "input", "model", *"012345"))


@case
def mlp_unbatched(s):
    model = nn.Sequential(nn.Linear(s.c, 12), nn.ReLU(), nn.LayerNorm(12))
    return Case(model, (torch.randn(s.c),), say("channel", "input", "model", *"012"))


@case
def conv1d(s):
    model = nn.Sequential(
        nn.Conv1d(s.c, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(),
        nn.AvgPool1d(2, ceil_mode=True), nn.GroupNorm(2, 8), nn.Upsample(scale_factor=2),
        nn.ConvTranspose1d(8, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    axes = say(SCT, "input", *"012345678") | say(SC, "9", "10", "model")
    return Case(model, (torch.randn(s.b, s.c, s.t),), axes)


@case
def conv1d_unbatched(s):
    model = nn.Sequential(nn.Conv1d(s.c, 8, 1), nn.ReLU(), nn.MaxPool1d(1), nn.InstanceNorm1d(8))
    return Case(model, (torch.randn(s.c, max(s.t, 2)),), say("channel time", "input", "model", *"0123"))


@case
def conv2d(s):
    model = nn.Sequential(
        nn.ZeroPad2d(1), nn.Conv2d(s.c, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.GELU(),
        nn.Dropout2d(), nn.MaxPool2d(2, ceil_mode=True), nn.PixelShuffle(2), nn.AdaptiveMaxPool2d(2),
        nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip
    axes = say(SCHW, "input", *"01234567") | say(SC, "8", "9", "model")
    return Case(model, (torch.randn(s.b, s.c, max(s.t, 2), max(s.t, 2)),), axes)


@case
def conv3d(s):
    model = nn.Sequential(nn.Conv3d(s.c, 4, 1), nn.BatchNorm3d(4), nn.SiLU(), nn.AvgPool3d(1))
    axes = say("sample channel depth height width", "input", "model", *"0123")
    return Case(model, (torch.randn(s.b, s.c, max(s.t, 2), s.t, s.t),), axes)


@case
def lazy(s):
    model = nn.Sequential(nn.LazyConv1d(4, 1), nn.LazyBatchNorm1d(), nn.Flatten(), nn.LazyLinear(3))
    axes = say(SCT, "input", "0", "1") | say(SC, "2", "3", "model")
    return Case(model, (torch.randn(s.b, s.c, max(s.t, 2)),), axes)


def _recurrent(s, make, x, expected, states):
    model = Calls(
        lambda m, x: m.out(m.drop(m.norm(m.rnn(x)[0]))),
        rnn=make, norm=nn.LayerNorm(8), drop=nn.Dropout(), out=nn.Linear(8, 3),
    )  # fmt: skip
    axes = say(expected, "input", "rnn[0]", "norm", "drop", "out", "model")
    return Case(model, (x,), axes | say("stack sample channel", *states))


@case
def lstm_batch_first(s):
    make = nn.LSTM(s.c, 8, 2, batch_first=True)
    return _recurrent(s, make, torch.randn(s.b, s.t, s.c), STC, ["rnn[1][0]", "rnn[1][1]"])


@case
def lstm_time_first(s):
    make = nn.LSTM(s.c, 8)
    return _recurrent(s, make, torch.randn(s.t, s.b, s.c), TSC, ["rnn[1][0]", "rnn[1][1]"])


@case
def gru_bidirectional(s):
    make = nn.GRU(s.c, 4, bidirectional=True, batch_first=True)
    return _recurrent(s, make, torch.randn(s.b, s.t, s.c), STC, ["rnn[1]"])


@case
def rnn_unbatched(s):
    model = Calls(lambda m, x: m.out(m.rnn(x)[0]), rnn=nn.RNN(s.c, 8), out=nn.Linear(8, 3))
    axes = say("time channel", "input", "rnn[0]", "out", "model") | say("stack channel", "rnn[1]")
    return Case(model, (torch.randn(s.t, s.c),), axes)


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
    return Case(model, (torch.randn(s.b, s.t, s.c),), axes | {"input": "sample position channel"})


@case
def packed(s):
    lengths = torch.tensor([s.t] * s.b)
    model = Calls(
        lambda m, x: m.rnn(nn.utils.rnn.pack_padded_sequence(m.emb(x), lengths, batch_first=True))[0],
        emb=nn.Linear(s.c, 4), rnn=nn.GRU(4, 3),
    )  # fmt: skip
    axes = say(STC, "rnn[0]", "model") | say("stack sample channel", "rnn[1]")
    return Case(model, (torch.randn(s.b, s.t, s.c),), axes | say(SKC, "input", "emb"))


def _encoder_layers(prefix, axes):
    parts = "linear1 dropout linear2 norm1 norm2 dropout1 dropout2".split()
    return say(axes, f"{prefix}self_attn[0]", *(prefix + part for part in parts), prefix[:-1])


@case
def encoder_batch_first(s):
    layer = nn.TransformerEncoderLayer(s.c, 2, 8, batch_first=True)
    model = nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Linear(s.c, 3))
    axes = say(SKC, "input", "0", "1", "model")
    axes |= _encoder_layers("0.layers.0.", SKC) | _encoder_layers("0.layers.1.", SKC)
    return Case(model, (torch.randn(s.b, s.t, s.c),), axes)


@case
def encoder_token_first(s):
    layer = nn.TransformerEncoderLayer(s.c, 2, 8)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    model = nn.Sequential(nn.Linear(s.c, s.c), encoder, nn.Linear(s.c, 3))
    axes = say(KSC, "input", "0", "1", "2", "model")
    axes |= _encoder_layers("1.layers.0.", KSC) | _encoder_layers("1.layers.1.", KSC)
    return Case(model, (torch.randn(s.t, s.b, s.c),), axes)


@case
def decoder(s):
    model = nn.Transformer(s.c, 2, 1, 1, 8)
    axes = say(KSC, "input", "encoder", "decoder", "encoder.norm", "decoder.norm", "model")
    axes |= _encoder_layers("encoder.layers.0.", KSC) | _encoder_layers("decoder.layers.0.", KSC)
    axes |= say(KSC, *(f"decoder.layers.0.{part}" for part in ("multihead_attn[0]", "norm3", "dropout3")))
    return Case(model, (torch.randn(s.t, s.b, s.c), torch.randn(s.t, s.b, s.c)), axes)


@case
def attention_weights(s):
    model = nn.MultiheadAttention(s.c, 2, batch_first=True)
    x = torch.randn(s.b, s.t, s.c)
    return Case(model, (x, x, x), say(SKC, "input", "model[0]") | {"model[1]": "sample query channel"})


# networks that turn axes around


@case
def conv_then_lstm(s):
    """(B, C, T) and (B, T, C) in one model."""
    model = Calls(
        lambda m, x: m.out(m.act(m.rnn(F.relu(m.conv(x)).transpose(1, 2).contiguous())[0])),
        conv=nn.Conv1d(s.c, 8, 1), rnn=nn.LSTM(8, 4, batch_first=True), act=nn.Tanh(), out=nn.Linear(4, 3),
    )  # fmt: skip
    axes = say(SCT, "input", "conv") | say(STC, "rnn[0]", "act", "out", "model")
    return Case(model, (torch.randn(s.b, s.c, s.t),), axes | say("stack sample channel", "rnn[1][0]", "rnn[1][1]"))


@case
def time_first_then_conv(s):
    """Features [B, T, C] go through a time-first LSTM, copied back and forth."""
    model = Calls(
        lambda m, x: m.drop(F.relu(m.conv(m.rnn(m.pre(x).transpose(0, 1).contiguous())[0].permute(1, 2, 0).contiguous()))),
        pre=nn.Linear(s.c, 4), rnn=nn.GRU(4, 4), conv=nn.Conv1d(4, 4, 1), drop=nn.Dropout(),
    )  # fmt: skip
    axes = say(STC, "input", "pre") | say(TSC, "rnn[0]") | say(SCT, "conv", "drop", "model")
    return Case(model, (torch.randn(s.b, s.t, s.c),), axes | say("stack sample channel", "rnn[1]"))


@case
def input_through_identity(s):
    """The input is known from its consumer behind an identity, a function and a permutation."""
    model = Calls(
        lambda m, x: m.conv(F.relu(m.same(x) * 2).permute(0, 2, 1)),
        same=nn.Identity(), conv=nn.Conv1d(s.c, 4, 1),
    )  # fmt: skip
    axes = say(STC, "input", "same") | say(SCT, "conv", "model")
    return Case(model, (torch.randn(s.b, s.t, s.c),), axes)


@case
def vit(s):
    side = 2 * max(s.t, 2)

    def forward(m, x):
        x = m.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([m.token.expand(len(x), -1, -1), x], 1)
        return m.head(m.norm(m.block(m.drop(x + m.where)))[:, 0])

    model = Calls(
        forward, patch=nn.Conv2d(3, s.c, 2, 2), drop=nn.Dropout(), block=attention_block(s.c),
        norm=nn.LayerNorm(s.c), head=nn.Linear(s.c, 3),
        token=nn.Parameter(torch.zeros(1, 1, s.c)),
        where=nn.Parameter(torch.zeros(1, (side // 2) ** 2 + 1, s.c)),
    )  # fmt: skip
    axes = say(SCHW, "input", "patch") | say(SKC, "drop", "norm") | say(SC, "head", "model")
    return Case(model, (torch.randn(s.b, 3, side, side),), axes | attention_axes("block.", SKC))


class Attention(nn.Module):
    """Self-attention as it is mostly written by hand, with heads split and merged by views."""

    def __init__(self, width, heads=2):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.attn_drop, self.proj, self.drop = nn.Dropout(), nn.Linear(width, width), nn.Dropout()

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        weights = self.attn_drop((q @ k.transpose(-2, -1) / 2).softmax(-1))
        return self.drop(self.proj((weights @ v).transpose(1, 2).reshape(b, t, c)))


def attention_block(width):
    return Calls(
        lambda m, x: (lambda y: y + m.mlp(m.norm2(y)))(x + m.attn(m.norm1(x))),
        norm1=nn.LayerNorm(width), attn=Attention(width), norm2=nn.LayerNorm(width),
        mlp=nn.Sequential(nn.Linear(width, 8), nn.GELU(), nn.Dropout(), nn.Linear(8, width)),
    )  # fmt: skip


def attention_axes(prefix, axes):
    parts = "norm1 norm2 attn attn.qkv attn.proj attn.drop mlp mlp.0 mlp.1 mlp.2 mlp.3".split()
    weights = {f"{prefix}attn.attn_drop": "sample head query channel"}
    return say(axes, prefix[:-1], *(prefix + part for part in parts)) | weights


@case
def gpt(s):
    """Token and position embeddings, blocks, a tied head."""
    model = Calls(
        lambda m, x: F.linear(m.norm(m.block(m.drop(m.wte(x) + m.wpe(torch.arange(x.shape[1]))))), m.wte.weight),
        wte=nn.Embedding(11, s.c), wpe=nn.Embedding(s.t, s.c), drop=nn.Dropout(),
        block=attention_block(s.c), norm=nn.LayerNorm(s.c),
    )  # fmt: skip
    axes = say(SKC, "wte", "drop", "norm", "model") | {"wpe": "token channel"}
    return Case(model, (torch.zeros(s.b, s.t, dtype=torch.long),), axes | attention_axes("block.", SKC))


@case
def token_first_blocks(s):
    """Hand-written attention over (T, B, C), behind a module that says so."""

    def forward(m, x):
        y = m.rnn(x)[0]
        q, k = (m.q(y), m.k(y))
        heads = [each.view(*x.shape[:2] , 2, -1).permute(1, 2, 0, 3) for each in (q, k, y)]
        mixed = F.scaled_dot_product_attention(*heads).permute(2, 0, 1, 3).reshape(*y.shape)
        return m.norm(m.out(m.drop(mixed)) + y)

    model = Calls(
        forward, rnn=nn.GRU(s.c, 4), q=nn.Linear(4, 4), k=nn.Linear(4, 4), out=nn.Linear(4, 4),
        drop=nn.Dropout(), norm=nn.LayerNorm(4),
    )  # fmt: skip
    axes = say(TSC, "input", "rnn[0]", "q", "k", "drop", "out", "norm", "model")
    return Case(model, (torch.randn(s.t, s.b, s.c),), axes | say("stack sample channel", "rnn[1]"))


@case
def convnext(s):
    model = Calls(
        lambda m, x: x + m.path(m.fc2(m.act(m.fc1(m.norm(m.deep(x).permute(0, 2, 3, 1))))).permute(0, 3, 1, 2)),
        deep=nn.Conv2d(s.c, s.c, 3, padding=1, groups=s.c), norm=nn.LayerNorm(s.c), path=nn.Identity(),
        fc1=nn.Linear(s.c, 8), act=nn.GELU(), fc2=nn.Linear(8, s.c),
    )  # fmt: skip
    axes = say(SCHW, "input", "deep", "path", "model") | say(SHWC, "norm", "fc1", "act", "fc2")
    return Case(model, (torch.randn(s.b, s.c, s.t, s.t),), axes)


@case
def squeeze_excite(s):
    def forward(m, x):
        x = m.conv(x)
        gate = m.gate(m.up(m.act(m.down(m.pool(x).flatten(1)))))
        return m.drop(x * gate[:, :, None, None])

    model = Calls(
        forward, conv=nn.Conv2d(3, s.c, 1), pool=nn.AdaptiveAvgPool2d(1), down=nn.Linear(s.c, 2),
        act=nn.ReLU(), up=nn.Linear(2, s.c), gate=nn.Sigmoid(), drop=nn.Dropout(),
    )  # fmt: skip
    axes = say(SCHW, "input", "conv", "pool", "drop", "model") | say(SC, "down", "act", "up", "gate")
    return Case(model, (torch.randn(s.b, 3, s.t, s.t),), axes)


@case
def unet(s):
    def forward(m, x):
        skip = m.act(m.down(x))
        deep = m.mid(m.pool(skip))
        up = F.interpolate(m.up(deep), size=skip.shape[-1])
        return m.drop(m.out(m.act(torch.cat([skip, up], 1))))

    model = Calls(
        forward, down=nn.Conv1d(s.c, 4, 1), act=nn.ReLU(), pool=nn.MaxPool1d(2, ceil_mode=True),
        mid=nn.Conv1d(4, 4, 1), up=nn.ConvTranspose1d(4, 4, 2, 2), out=nn.Conv1d(8, 3, 1), drop=nn.Dropout(),
    )  # fmt: skip
    layers = "input down act act@2 pool mid up out drop model".split()
    return Case(model, (torch.randn(s.b, s.c, s.t),), say(SCT, *layers))


@case
def mixer(s):
    """A linear layer over tokens, whose channels are its own."""
    model = Calls(
        lambda m, x: (lambda y: y + m.mix(m.norm(y).transpose(1, 2)).transpose(1, 2))(m.pre(x)),
        pre=nn.Linear(s.c, 4), norm=nn.LayerNorm(4),
        mix=nn.Sequential(nn.Linear(s.t, 8), nn.GELU(), nn.Linear(8, s.t)),
    )  # fmt: skip
    axes = say(SKC, "input", "pre", "norm", "mix", "mix.0", "mix.1", "mix.2", "model")
    return Case(model, (torch.randn(s.b, s.t, s.c),), axes)


@case
def frames_by_convolution(s):
    """Video: samples and frames are merged for a 2-d convolution and come apart after it."""
    side = max(s.t, 2)

    def forward(m, x):
        b, t = x.shape[:2]
        maps = m.act(m.conv(x.flatten(0, 1)))
        return m.rnn(m.drop(maps.mean((2, 3)).view(b, t, -1)))[0]

    model = Calls(
        forward, conv=nn.Conv2d(3, s.c, 1), act=nn.ReLU(), drop=nn.Dropout(),
        rnn=nn.GRU(s.c, 4, batch_first=True),
    )  # fmt: skip
    axes = say(SCHW, "conv", "act") | say(STC, "drop", "rnn[0]", "model")
    axes |= {"input": "sample time channel height width", "rnn[1]": "stack sample channel"}
    return Case(model, (torch.randn(s.b, s.t, 3, side, side),), axes)


@dataclass
class Output:
    """What a library's block may return."""

    hidden: torch.Tensor
    cache: tuple = ()
    attentions: torch.Tensor | None = None


@case
def blocks_with_outputs(s):
    """Blocks that return tuples, (Tensor, None) and dataclasses."""
    tuples = Calls(lambda m, x: (x + m.dense(x), None), dense=nn.Linear(s.c, s.c))
    classes = Calls(lambda m, x: Output(m.norm(x), (x.transpose(0, 1) * 2,)), norm=nn.LayerNorm(s.c))
    model = Calls(lambda m, x: m.two(m.one(m.emb(x))[0]), emb=nn.Embedding(9, s.c), one=tuples, two=classes)
    layers = "emb one[0] one.dense two[hidden] two.norm model[hidden]".split()
    axes = say(SKC, *layers) | say(KSC, "two[cache][0]", "model[cache][0]")
    return Case(model, (torch.zeros(s.b, s.t, dtype=torch.long),), axes)
