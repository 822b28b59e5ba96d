"""Profiles weighed by captum's attributions are those of captum called directly."""

import numpy as np
import pytest
import torch
from captum import attr
from references.gradnap import gradnap
from torch import nn
from torchprobe_gradnap import SaliencyProfiles

import torchprobe as tp
from torchprobe.errors import SettingError
from torchprobe.testing import check_analyzer

OPTIONS = {
    "LayerGradientXActivation": {},
    "LayerIntegratedGradients": {"n_steps": 5},
    "LayerDeepLift": {},
}


@pytest.mark.parametrize("method", [*OPTIONS])
@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_relevance_is_that_of_captum_called_directly(method):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3)
    ).double().eval()  # fmt: skip
    x = torch.randn(6, 3, 7, dtype=torch.float64)
    labels = torch.arange(6) % 2
    analyzer = SaliencyProfiles(method, OPTIONS[method])
    loader = [(x[:4], labels[:4]), (x[4:], labels[4:])]
    results = tp.Probe(model, ["0"], [analyzer], on_error="raise").run(loader, progress=False)
    relevance = getattr(attr, method)(model, model[0]).attribute(
        x, target=model(x).argmax(1), **OPTIONS[method]
    )
    expected, *_ = gradnap(
        model[0](x).detach().numpy(), relevance.detach().numpy(), labels.tolist(),
        alignment="gradient",
    )  # fmt: skip
    found = results["saliency_profiles"]["0"].gradnap
    np.testing.assert_allclose(found, np.stack([*expected.values()]), atol=1e-9)


def test_only_layer_attributions_are_accepted():
    for method in ("Saliency", "LayerSaliency", "os"):
        with pytest.raises(SettingError, match="LayerDeepLift"):
            SaliencyProfiles(method)


def test_contract():
    check_analyzer(SaliencyProfiles())


def test_a_model_of_several_inputs_is_refused():
    bilinear = nn.Bilinear(2, 2, 2)
    probe = tp.Probe(nn.Sequential(bilinear)[0], analyzers=[SaliencyProfiles()], on_error="raise")
    with pytest.raises(SettingError, match="called with 2 arguments"):
        probe.run([((torch.ones(1, 2), torch.ones(1, 2)), [0])])


def test_layers_that_captum_cannot_attribute_to_are_refused_with_the_remedy():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.head = nn.ReLU(), nn.Linear(3, 2)

        def forward(self, x):
            return self.head(self.act(self.act(x)))

    data = [(torch.randn(4, 3), torch.arange(4) % 2)]
    probe = tp.Probe(Twice(), analyzers=[SaliencyProfiles()], on_error="raise")
    with pytest.raises(SettingError, match="layer 'act' is none: leave it out"):
        probe.run(data)
    probe = tp.Probe(Twice(), ["*", "!act*"], analyzers=[SaliencyProfiles()], on_error="raise")
    assert probe.run(data)["saliency_profiles"].layers == ("head", "model")


def test_what_captum_itself_refuses_says_why():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    analyzer = SaliencyProfiles("LayerIntegratedGradients", {"n_steps": 2})
    probe = tp.Probe(model, ["0"], [analyzer], on_error="raise")
    with pytest.raises(SettingError, match="In-place activations"):
        probe.run([(torch.randn(4, 3), torch.arange(4) % 2)])
