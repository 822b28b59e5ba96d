import pytest
import torch
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from torch import nn
from torchprobe_speech import GraphemeNet, LayerShape

from torchprobe.errors import SettingError

layer_shapes = st.lists(
    st.builds(LayerShape, st.just(3), st.integers(1, 8), st.integers(1, 3)),
    min_size=1,
    max_size=4,
)


def randomised(net):
    """Gives batch norm statistics of its own, so that zeros in are not zeros out."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.running_mean)
            nn.init.normal_(module.bias)
    return net.eval()


@given(layer_shapes, st.integers(1, 60), st.booleans())
@given_settings(derandomize=True, deadline=None, max_examples=50)
def test_output_lengths_are_those_of_the_output(shapes, frames, padded):
    net = GraphemeNet(shapes, 2, 4, padded=padded).eval()
    length = int(net.output_lengths(torch.tensor([frames]))[0])
    if length and (padded or frames >= net.receptive_field):
        assert net(torch.zeros(1, 2, frames)).shape == (1, 4, length)


@given(layer_shapes)
@given_settings(derandomize=True, deadline=None, max_examples=30)
def test_the_receptive_field_is_the_shortest_input_of_the_unpadded_net(shapes):
    net = GraphemeNet(shapes, 2, 4, padded=False)
    field = torch.tensor([net.receptive_field - 1, net.receptive_field])
    assert net.output_lengths(field + net.stride).tolist()[1] == 2
    assert net.output_lengths(field).tolist() == [0, 1]


def test_an_utterance_gets_the_same_logits_alone_and_in_any_batch():
    net = randomised(GraphemeNet.compact(4, 5, channels=6, top=7))
    short, long = torch.randn(4, 31), torch.randn(4, 60)
    batch = torch.stack([nn.functional.pad(short, (0, 29)), long])
    lengths = torch.tensor([31, 60])
    together = net(batch, lengths)
    end = int(net.output_lengths(lengths)[0])
    torch.testing.assert_close(together[:1, :, :end], net(short[None]))
    torch.testing.assert_close(together[1:], net(long[None]))


def test_the_papers_net_has_eleven_layers():
    net = GraphemeNet.wav2letter()
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv1d)]
    assert [m.kernel_size[0] for m in convolutions] == [48, *[7] * 7, 32, 1, 1]
    assert [m.out_channels for m in convolutions] == [256] * 8 + [2048, 2048, 29]
    assert (net.stride, net.receptive_field) == (2, 194)
    assert GraphemeNet.wav2letter(blocks=8, channels=2, top=2).receptive_field == 206


def test_layers_have_readable_names():
    names = dict(GraphemeNet.compact(blocks=1).named_modules())
    for name in ("layers.0.conv", "layers.3.norm", "layers.3.relu", "output"):
        assert name in names


def test_the_seed_alone_draws_the_weights_and_the_global_state_stays():
    state = torch.get_rng_state()
    first, again, other = (GraphemeNet.compact(4, 5, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.output.weight, again.output.weight)
    assert not torch.equal(first.output.weight, other.output.weight)


def test_sizes_out_of_range_are_refused():
    with pytest.raises(SettingError, match="must be positive"):
        LayerShape(3, 0)
    with pytest.raises(SettingError, match="positive sizes"):
        GraphemeNet([])
    with pytest.raises(SettingError, match="positive sizes"):
        GraphemeNet([LayerShape(3, 1)], bands=0)
