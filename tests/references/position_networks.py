"""Networks whose positions are measured, and how the measurement is asked for."""

import torch
from torch import nn

import torchprobe as tp


def maps(model, *args, axes=None, **kwargs):
    """By layer, the measured map of its positions."""
    sample = tp.Batch(kwargs or args)
    table = tp.layers(model, sample, axes=axes)
    return {row.name: row.positions for row in table if row.positions is not None}


def described(found):
    """(stride, offset, field) as the table prints it, along the only axis."""
    (each,) = found.maps
    return each.stride, each.offset, each.field_text


class UNet(nn.Module):
    """Halves three times and doubles again, with skips; smooth, so that nothing is hidden."""

    def __init__(self, channels=6):
        super().__init__()
        conv = lambda a, b: nn.Conv1d(a, b, 3, padding=1)  # noqa: E731
        self.first = conv(2, channels)
        self.down = nn.ModuleList(conv(channels, channels) for _ in range(3))
        self.pool = nn.AvgPool1d(2)
        self.up = nn.ModuleList(nn.ConvTranspose1d(channels, channels, 2, 2) for _ in range(3))
        self.join = nn.ModuleList(conv(2 * channels, channels) for _ in range(3))

    def forward(self, x):
        x, skips = self.first(x), []
        for down in self.down:
            skips.append(x)
            x = down(self.pool(x)).tanh()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([up(x), skips.pop()], 1)).tanh()
        return x


class Residual(nn.Module):
    """A strided residual block with an activation that works in place and is used twice."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv1d(4, 8, 3, 2, 1), nn.Conv1d(8, 8, 3, 1, 1)
        self.skip, self.act = nn.Conv1d(4, 8, 1, 2), nn.ReLU(inplace=True)

    def forward(self, x):
        return self.act(self.two(self.act(self.one(x))) + self.skip(x))


class Patches(nn.Module):
    """A vision transformer: patches of an image in a row, attention, one answer."""

    def __init__(self):
        super().__init__()
        self.patch, self.norm = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        tokens = self.norm(self.patch(x).flatten(2).transpose(1, 2))
        return self.out(self.block(tokens).mean(1))


class Waveform(nn.Module):
    """A strided stack over [sample, time], a normalisation over all time, attention."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv1d(1, 8, 10, 5), nn.GroupNorm(8, 8)
        self.rest = nn.Sequential(
            nn.GELU(), nn.Conv1d(8, 8, 3, 2), nn.GELU(), nn.Conv1d(8, 8, 2, 2)
        )
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x):
        return self.block(self.rest(self.norm(self.first(x[:, None]))).transpose(1, 2))


class Recogniser(nn.Module):
    """Convolutions over a spectrogram [sample, 1, frequency, time], then a recurrent layer."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(1, 8, 3, (1, 2), 1), nn.MaxPool2d((2, 1))
        self.rnn, self.out = nn.GRU(80, 8, batch_first=True, bidirectional=True), nn.Linear(16, 4)

    def forward(self, x):
        maps = self.pool(self.conv(x)).relu()
        n, channels, height, width = maps.shape
        rows = maps.permute(0, 3, 1, 2).reshape(n, width, channels * height)
        return self.out(self.rnn(rows)[0])


class Tokens(nn.Module):
    """Embeds tokens and reads them with attention to the past, or with an LSTM, time first."""

    def __init__(self, *, attention):
        super().__init__()
        self.emb, self.attention = nn.Embedding(30, 16), attention
        self.rnn = nn.LSTM(16, 8)
        self.block = nn.TransformerEncoderLayer(16, 2, 16, batch_first=True)

    def forward(self, tokens):
        if not self.attention:
            return self.rnn(self.emb(tokens))[0]
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        return self.block(self.emb(tokens), src_mask=mask)


class Excited(nn.Module):
    """Scales channels by what all positions say together."""

    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Conv1d(channels, channels, 1)

    def forward(self, x):
        return x * self.scale(x.mean(2, keepdim=True)).sigmoid()
