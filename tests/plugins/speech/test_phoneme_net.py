import pytest
import torch
from torch import nn
from torchprobe_speech import PhonemeNet

from torchprobe.errors import SettingError


def test_layers_have_readable_names():
    names = [name for name, module in PhonemeNet.nm17_small().named_modules()
             if not list(module.children())]  # fmt: skip
    hidden = [f"hidden.{i}.{kind}" for i in range(5) for kind in ("linear", "relu")]
    assert names == [*hidden, "output"]


def test_the_large_net_normalises_and_drops_out_input_and_hidden_layers():
    net = PhonemeNet.nm17_large()
    kinds = [type(module) for module in net.hidden[0]]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout]
    assert {m.p for m in net.modules() if isinstance(m, nn.Dropout)} == {0.2}
    assert isinstance(net.input_dropout, nn.Dropout)


@pytest.mark.parametrize(
    ("make", "width"),
    [(PhonemeNet.nm17_small, 256), (PhonemeNet.nm17_large, 2048), (PhonemeNet.gk20, 1000)],
)
def test_the_papers_nets_have_their_widths(make, width):
    net = make()
    assert [layer.linear.in_features for layer in net.hidden] == [253, *[width] * 4]
    assert net.output.weight.shape == (40, width)
    assert net.eval()(torch.zeros(2, 253)).shape == (2, 40)


def test_the_seed_alone_draws_the_weights_and_the_global_state_stays():
    state = torch.get_rng_state()
    first, again, other = (PhonemeNet(4, 3, (5,), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.output.weight, again.output.weight)
    assert not torch.equal(first.output.weight, other.output.weight)


def test_activations_neither_vanish_nor_explode_with_depth():
    net = PhonemeNet(253, 40, (256,) * 5)
    scale = net.hidden(torch.randn(500, 253)).square().mean().sqrt()
    assert 0.5 < scale < 2


@pytest.mark.parametrize("wrong", [{"features": 0}, {"hidden": (4, 0)}, {"dropout": 1.0}])
def test_sizes_out_of_range_are_refused(wrong):
    with pytest.raises(SettingError, match="widths must be positive"):
        PhonemeNet(**wrong)
