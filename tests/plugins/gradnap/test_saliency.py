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


OF_INPUT = {
    "LayerGradientXActivation": "InputXGradient",
    "LayerIntegratedGradients": "IntegratedGradients",
    "LayerDeepLift": "DeepLift",
    "LayerFeatureAblation": "FeatureAblation",
}


@pytest.fixture
def case():
    """A model, what it is given, and the batches in which it is given it."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3)
    ).double().eval()  # fmt: skip
    x = torch.randn(6, 3, 7, dtype=torch.float64)
    labels = torch.arange(6) % 2
    return model, x, labels, [(x[:4], labels[:4]), (x[4:], labels[4:])]


def profiles(model, layer, method, loader):
    analyzer = SaliencyProfiles(method, OPTIONS.get(method))
    results = tp.Probe(model, [layer], [analyzer], on_error="raise").run(loader, progress=False)
    return results["saliency_profiles"][layer].gradnap


def assert_profiles_are(found, values, relevance, labels):
    expected, *_ = gradnap(
        values.detach().numpy(), relevance.detach().numpy(), labels.tolist(), alignment="gradient"
    )
    np.testing.assert_allclose(found, np.stack([*expected.values()]), atol=1e-9)


@pytest.mark.parametrize("method", [*OPTIONS])
@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_relevance_is_that_of_captum_called_directly(case, method):
    model, x, labels, loader = case
    found = profiles(model, "0", method, loader)
    relevance = getattr(attr, method)(model, model[0]).attribute(
        x, target=model(x).argmax(1), **OPTIONS[method]
    )
    assert_profiles_are(found, model[0](x), relevance, labels)


@pytest.mark.parametrize(("method", "of_input"), OF_INPUT.items())
@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_relevance_of_the_input_is_that_of_captums_counterpart(case, method, of_input):
    model, x, labels, loader = case
    found = profiles(model, "input", method, loader)
    assert not x.requires_grad
    relevance = getattr(attr, of_input)(model).attribute(
        x.clone().requires_grad_(), target=model(x).argmax(1), **OPTIONS.get(method, {})
    )
    assert_profiles_are(found, x, relevance, labels)


@pytest.mark.parametrize("method", ["LayerActivation", "LayerConductance", "InternalInfluence"])
def test_methods_without_a_counterpart_for_inputs_are_refused_there(case, method):
    model, _, _, loader = case
    with pytest.raises(SettingError, match=f"no counterpart of '{method}' for the model's input"):
        profiles(model, "input", method, loader)


def test_the_input_is_profiled_beside_layers_and_comes_back_from_its_state(case):
    model, _, _, loader = case

    def probe():
        return tp.Probe(model, ["input", "0"], [SaliencyProfiles()], on_error="raise")

    found = probe().run(loader, progress=False)["saliency_profiles"]
    assert found.layers == ("input", "0")
    alone = profiles(model, "input", "LayerGradientXActivation", loader)
    np.testing.assert_array_equal(found["input"].gradnap, alone)
    whole, again = probe(), probe()
    whole.run(loader, progress=False)
    again.load_state_dict(whole.state_dict())
    restored = again.results()["saliency_profiles"]
    assert restored.layers == ("input", "0")
    np.testing.assert_array_equal(restored["input"].gradnap, alone)


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
