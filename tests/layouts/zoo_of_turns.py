"""Models that turn, merge and split axes between their layers."""

from dataclasses import dataclass

import torch
from layouts.zoo import KSC, SC, SCHW, SCT, SHWC, SKC, STATE, STC, TSC, Calls, Case, case, say
from torch import nn
from torch.nn import functional


@case
def conv_then_lstm(s):
    """[B, C, T] and [B, T, C] in one model, copied between."""

    def forward(m, x):
        frames = functional.relu(m.conv(x)).transpose(1, 2).contiguous()
        return m.out(m.act(m.rnn(frames)[0]))

    rnn = nn.LSTM(8, 4, batch_first=True)
    model = Calls(forward, conv=nn.Conv1d(s.c, 8, 1), rnn=rnn, act=nn.Tanh(), out=nn.Linear(4, 3))
    axes = say(SCT, "input", "conv") | say(STC, "rnn[0]", "act", "out", "model")
    axes |= say(STATE, "rnn[1][0]", "rnn[1][1]")
    return Case(model, (torch.randn(s.b, s.c, s.t),), axes)


@case
def there_and_back(s):
    """[B, T, C] to a time-first GRU to a convolution, copied at each turn."""

    def forward(m, x):
        y = m.rnn(m.pre(x).transpose(0, 1).contiguous())[0]
        return m.drop(functional.relu(m.conv(y.permute(1, 2, 0).contiguous())))

    conv = nn.Conv1d(4, 4, 1)
    model = Calls(forward, pre=nn.Linear(s.c, 4), rnn=nn.GRU(4, 4), conv=conv, drop=nn.Dropout())
    axes = say(STC, "input", "pre") | say(SCT, "conv", "drop", "model")
    return Case(model, (torch.randn(s.b, s.t, s.c),), axes | {"rnn[0]": TSC, "rnn[1]": STATE})


@case
def input_known_from_its_consumer(s):
    """Behind an identity, a function and a permutation."""

    def forward(m, x):
        return m.conv(functional.relu(m.same(x) * 2).permute(0, 2, 1))

    model = Calls(forward, same=nn.Identity(), conv=nn.Conv1d(s.c, 4, 1))
    axes = say(STC, "input", "same") | say(SCT, "conv", "model")
    return Case(model, (torch.randn(s.b, s.t, s.c),), axes)


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


class Block(nn.Module):
    """A transformer block with residual additions."""

    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width)
        dense, back = nn.Linear(width, 8), nn.Linear(8, width)
        self.mlp = nn.Sequential(dense, nn.GELU(), nn.Dropout(), back)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def block_axes(prefix, axes):
    names = ["norm1", "norm2", "attn", "attn.qkv", "attn.proj", "attn.drop", "mlp"]
    names += ["mlp.0", "mlp.1", "mlp.2", "mlp.3"]
    weights = {f"{prefix}attn.attn_drop": "sample head query channel"}
    return say(axes, prefix[:-1], *(prefix + name for name in names)) | weights


@case
def vision_transformer(s):
    def forward(m, x):
        x = m.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([m.token.expand(len(x), -1, -1), x], 1)
        return m.head(m.norm(m.block(m.drop(x + m.where)))[:, 0])

    side = s.t + 1
    model = Calls(
        forward,
        patch=nn.Conv2d(3, s.c, 2, 2),
        token=nn.Parameter(torch.zeros(1, 1, s.c)),
        where=nn.Parameter(torch.zeros(1, side**2 + 1, s.c)),
        drop=nn.Dropout(),
        block=Block(s.c),
        norm=nn.LayerNorm(s.c),
        head=nn.Linear(s.c, 3),
    )
    axes = say(SCHW, "input", "patch") | say(SKC, "drop", "norm") | say(SC, "head", "model")
    axes |= block_axes("block.", SKC)
    return Case(model, (torch.randn(s.b, 3, 2 * side, 2 * side),), axes)


@case
def language_model(s):
    """Token and position embeddings, a block, a tied head."""

    def forward(m, x):
        embedded = m.drop(m.wte(x) + m.wpe(torch.arange(x.shape[1])))
        return functional.linear(m.norm(m.block(embedded)), m.wte.weight)

    embeddings = {"wte": nn.Embedding(11, s.c), "wpe": nn.Embedding(s.t, s.c)}
    model = Calls(
        forward, **embeddings, drop=nn.Dropout(), block=Block(s.c), norm=nn.LayerNorm(s.c)
    )
    axes = say(SKC, "wte", "drop", "norm", "model") | {"wpe": "token channel"}
    ids = torch.zeros(s.b, s.t, dtype=torch.long)
    return Case(model, (ids,), axes | block_axes("block.", SKC))


@case
def rotary(s):
    """Cosines [1, T, C] from a module; heads are rotated by them."""

    def forward(m, x):
        q, k = (proj(x).view(*x.shape[:2], 2, -1).transpose(1, 2) for proj in (m.q, m.k))
        cosines = m.angles(x).unsqueeze(1)
        mixed = functional.scaled_dot_product_attention(q * cosines, k * cosines, q)
        return m.drop(mixed.transpose(1, 2).reshape(*x.shape))

    def cosines(m, x):
        positions = torch.arange(x.shape[1])[None, :, None].float()
        angles = positions * torch.ones(x.shape[2] // 4)
        return torch.cat([angles, angles], -1).cos()

    parts = {"q": nn.Linear(s.c, s.c), "k": nn.Linear(s.c, s.c), "angles": Calls(cosines)}
    model = Calls(forward, **parts, drop=nn.Dropout())
    return Case(model, (torch.randn(s.b, s.t, s.c),), say(SKC, "input", *parts, "drop", "model"))


@case
def token_first_attention(s):
    """Hand-written attention over [T, B, C], behind a module that says so."""

    def forward(m, x):
        y = m.rnn(x)[0]
        heads = [each.view(*x.shape[:2], 2, -1).permute(1, 2, 0, 3) for each in (m.q(y), m.k(y), y)]
        mixed = functional.scaled_dot_product_attention(*heads)
        mixed = mixed.permute(2, 0, 1, 3).reshape(*y.shape)
        return m.norm(m.out(m.drop(mixed)) + y)

    dense = {name: nn.Linear(4, 4) for name in ("q", "k", "out")}
    model = Calls(forward, rnn=nn.GRU(s.c, 4), **dense, drop=nn.Dropout(), norm=nn.LayerNorm(4))
    axes = say(TSC, "input", "rnn[0]", *dense, "drop", "norm", "model") | {"rnn[1]": STATE}
    return Case(model, (torch.randn(s.t, s.b, s.c),), axes)


@case
def convnext(s):
    def forward(m, x):
        y = m.norm(m.deep(x).permute(0, 2, 3, 1))
        return x + m.path(m.fc2(m.act(m.fc1(y))).permute(0, 3, 1, 2))

    model = Calls(
        forward,
        deep=nn.Conv2d(s.c, s.c, 3, padding=1, groups=s.c),
        norm=nn.LayerNorm(s.c),
        fc1=nn.Linear(s.c, 8),
        act=nn.GELU(),
        fc2=nn.Linear(8, s.c),
        path=nn.Identity(),
    )
    axes = say(SCHW, "input", "deep", "path", "model") | say(SHWC, "norm", "fc1", "act", "fc2")
    return Case(model, (torch.randn(s.b, s.c, s.t, s.t),), axes)


class ChannelNorm(nn.LayerNorm):
    """A layer norm over the channels of images, which are not last."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@case
def subclass_that_turns(s):
    model = nn.Sequential(nn.Conv2d(3, s.c, 1), ChannelNorm(s.c), nn.ReLU())
    axes = say(SCHW, "input", "0", "1", "2", "model")
    return Case(model, (torch.randn(s.b, 3, s.t, s.t),), axes)


@case
def squeeze_and_excite(s):
    def forward(m, x):
        x = m.conv(x)
        gate = m.gate(m.up(m.act(m.down(m.pool(x).flatten(1)))))
        return m.drop(x * gate[:, :, None, None])

    flat = {"down": nn.Linear(s.c, 2), "act": nn.ReLU(), "up": nn.Linear(2, s.c)}
    flat["gate"] = nn.Sigmoid()
    maps = {"conv": nn.Conv2d(3, s.c, 1), "pool": nn.AdaptiveAvgPool2d(1), "drop": nn.Dropout()}
    model = Calls(forward, **maps, **flat)
    axes = say(SCHW, "input", *maps, "model") | say(SC, *flat)
    return Case(model, (torch.randn(s.b, 3, s.t, s.t),), axes)


@case
def unet(s):
    def forward(m, x):
        skip = m.act(m.down(x))
        up = functional.interpolate(m.up(m.mid(m.pool(skip))), size=skip.shape[-1])
        return m.drop(m.out(m.act(torch.cat([skip, up], 1))))

    convolutions = {"down": nn.Conv1d(s.c, 4, 1), "mid": nn.Conv1d(4, 4, 1)}
    convolutions |= {"up": nn.ConvTranspose1d(4, 4, 2, 2), "out": nn.Conv1d(8, 3, 1)}
    others = {"act": nn.ReLU(), "pool": nn.MaxPool1d(2, ceil_mode=True), "drop": nn.Dropout()}
    model = Calls(forward, **convolutions, **others)
    axes = say(SCT, "input", *convolutions, *others, "model")
    return Case(model, (torch.randn(s.b, s.c, s.t),), axes)


@case
def mixer(s):
    """A linear layer over tokens, whose channels are its own."""

    def forward(m, x):
        x = m.pre(x)
        return x + m.mix(m.norm(x).transpose(1, 2)).transpose(1, 2)

    mix = nn.Sequential(nn.Linear(s.t, 8), nn.GELU(), nn.Linear(8, s.t))
    model = Calls(forward, pre=nn.Linear(s.c, 4), norm=nn.LayerNorm(4), mix=mix)
    axes = say(SKC, "input", "pre", "norm", "mix", "mix.0", "mix.1", "mix.2", "model")
    return Case(model, (torch.randn(s.b, s.t, s.c),), axes)


@case
def video(s):
    """Samples and frames are merged for a convolution and come apart after it."""

    def forward(m, x):
        b, t = x.shape[:2]
        maps = m.act(m.conv(x.flatten(0, 1)))
        return m.rnn(m.drop(maps.mean((2, 3)).view(b, t, -1)))[0]

    rnn = nn.GRU(s.c, 4, batch_first=True)
    model = Calls(forward, conv=nn.Conv2d(3, s.c, 1), act=nn.ReLU(), drop=nn.Dropout(), rnn=rnn)
    axes = say(SCHW, "conv", "act") | say(STC, "drop", "rnn[0]", "model") | {"rnn[1]": STATE}
    axes["input"] = "sample time channel height width"
    return Case(model, (torch.randn(s.b, s.t, 3, s.t + 1, s.t + 1),), axes)


@case
def shared_activation(s):
    """One activation for [T, B, C], [B, C, T] and [B, C]: each call has its own axes."""

    def forward(m, x):
        y = m.act(m.rnn(x)[0])
        y = m.act(m.conv(y.permute(1, 2, 0)))
        return m.act(m.out(y.mean(2)))

    model = Calls(
        forward, rnn=nn.GRU(s.c, 4), conv=nn.Conv1d(4, 4, 1), out=nn.Linear(4, 3), act=nn.ReLU()
    )
    axes = say(TSC, "input", "rnn[0]", "act") | say(SCT, "conv", "act@2")
    axes |= say(SC, "out", "act@3", "model") | {"rnn[1]": STATE}
    return Case(model, (torch.randn(s.t, s.b, s.c),), axes)


@dataclass
class Output:
    """What a library's block may return."""

    hidden: torch.Tensor
    cache: tuple = ()
    attentions: torch.Tensor | None = None


@case
def blocks_with_outputs(s):
    """Blocks that return (Tensor, None) and dataclasses."""

    def first(m, x):
        return x + m.dense(x), None

    def second(m, x):
        return Output(m.norm(x), (x.transpose(0, 1) * 2,))

    model = Calls(
        lambda m, x: m.two(m.one(m.emb(x))[0]),
        emb=nn.Embedding(9, s.c),
        one=Calls(first, dense=nn.Linear(s.c, s.c)),
        two=Calls(second, norm=nn.LayerNorm(s.c)),
    )
    axes = say(SKC, "emb", "one[0]", "one.dense", "two[hidden]", "two.norm", "model[hidden]")
    axes |= say(KSC, "two[cache][0]", "model[cache][0]")
    return Case(model, (torch.zeros(s.b, s.t, dtype=torch.long),), axes)
