"""Profiles weighed by the relevance that a captum attribution gives, in place of gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from torchprobe import Analyzer, LayerBatch
from torchprobe.errors import SettingError
from torchprobe.groupings import scores_of
from torchprobe.naming import canonical_names, input_name
from torchprobe_gradnap.analyzer import GradNAP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from torchprobe import Layer, Network, NetworkBatch, Result
    from torchprobe.accumulators import Accumulator

__all__ = ["SaliencyProfiles"]

_INPUT_NAMES = {"LayerGradientXActivation": "InputXGradient"}
"""Counterparts for inputs that are not called as the layer's without "Layer"."""


class SaliencyProfiles(Analyzer):
    """Activation profiles adjusted by any captum layer attribution instead of gradients.

    As `GradNAP`, with the attribution's relevance of each activation for the predicted class in
    place of its gradient: examples are aligned by |relevance| and the mask is made from its mean.
    The model must take one tensor and return scores [sample, class]; further axes are summed over.
    The fields of a result are those of `GradNAP`. Layers are modules that are called once, or the
    model's input (layer "input"), where captum's attribution to inputs takes the place of that to
    layers: `InputXGradient` of `LayerGradientXActivation`, else the name without "Layer".

    Args:
        method: the name of a layer attribution in ``captum.attr``: "LayerGradientXActivation",
            "LayerIntegratedGradients", "LayerDeepLift", ...
        options: of its ``attribute``, e.g. ``{"n_steps": 32}``.
        profiles: settings of `GradNAP`; the alignment is "gradient" unless they say otherwise,
            because relevance has the activation's strength in it already.

    Raises:
        SettingError: captum has no such layer attribution; or it does not work at a layer; or the
            input is probed and it has no counterpart for inputs, as `LayerActivation`,
            `LayerConductance`, `LayerGradCam` and `InternalInfluence` have none.

    Source: Krug & Stober 2020 (GradNAP) for the profiles; captum for the attributions.

    Example:
        >>> SaliencyProfiles("LayerSaliency")
        Traceback (most recent call last):
        ...
        torchprobe.errors.SettingError: captum.attr has no layer attribution 'LayerSaliency'; try
        'LayerGradientXActivation', 'LayerIntegratedGradients' or 'LayerDeepLift'
    """

    name = "saliency_profiles"
    scope = "network"
    needs_labels = True

    def __init__(
        self,
        method: str = "LayerGradientXActivation",
        options: Mapping[str, Any] | None = None,
        profiles: Mapping[str, Any] | None = None,
    ) -> None:
        self.method, self.options, self.profiles = method, dict(options or {}), dict(profiles or {})
        _attribution(method)
        self._profile()

    def _profile(self) -> GradNAP:
        return GradNAP(**{"alignment": "gradient", **self.profiles})

    def start(self, network: Network) -> None:
        """Means of activations and relevance at every layer."""
        forks = [self._fork(layer) for layer in network.with_input]
        self.means: dict[str, Accumulator] = {
            f"{fork.layer.name}.{name}": accumulator
            for fork in forks
            for name, accumulator in fork.accumulators()
        }

    def _fork(self, layer: Layer) -> GradNAP:
        return self._profile().fork(layer, self.grouping, self.names)

    def _at(self, layer: Layer) -> GradNAP:
        """The profiles of a layer, with what was gathered."""
        fork = self._fork(layer)
        for name, _ in fork.accumulators():
            setattr(fork, name, self.means[f"{layer.name}.{name}"])
        return fork

    def update(self, batch: NetworkBatch) -> None:
        """Attribute the predicted classes to every layer and add up what comes."""
        if len(batch.args) != 1 or batch.kwargs:
            raise SettingError(
                f"captum's attributions need a model called with one tensor; this one was called "
                f"with {len(batch.args)} arguments and {len(batch.kwargs)} by keyword"
            )
        target = _summed(batch.output).argmax(1)
        for layer in batch.network.with_input:
            values, relevance = self._attributed(batch, layer, target)
            part = LayerBatch(layer, values, batch.given, gradients=relevance)
            self._at(layer).update(part.view(batch.grouping, "each"))

    def _attributed(
        self, batch: NetworkBatch, layer: Layer, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Values of a layer and their relevance, both in the layer's own shape."""
        model, inputs = batch.network.model, batch.args[0]
        at_input = layer.name == input_name(model)
        attribution, values = self._of_input(batch) if at_input else self._of_module(batch, layer)
        try:
            with torch.enable_grad():
                relevance = attribution.attribute(
                    _leaf(inputs) if at_input else inputs, target=target, **self.options
                )
        except (RuntimeError, AssertionError) as error:
            raise SettingError(
                f"captum's {type(attribution).__name__} does not work at layer {layer.name!r}: "
                f"{error}. In-place activations (ReLU(inplace=True)) and modules called twice are "
                "the usual causes"
            ) from error
        return values.detach(), relevance.detach()

    def _of_module(self, batch: NetworkBatch, layer: Layer) -> tuple[Any, Tensor]:
        from captum.attr import LayerActivation

        model, module = batch.network.model, _module(batch.network, layer)
        values = LayerActivation(model, module).attribute(batch.args[0])
        return _attribution(self.method)(_Scores(model), module), values

    def _of_input(self, batch: NetworkBatch) -> tuple[Any, Tensor]:
        return _input_attribution(self.method)(_Scores(batch.network.model)), batch.args[0]

    def compute(self) -> Iterator[Result]:
        """The profiles of every layer.

        Raises:
            EmptyStateError: no example with a label was seen.
        """
        for layer in self.network.with_input:
            fork = self._at(layer)
            fork.provenance = (self.provenance or {}).get(layer.name)
            found = fork.compute()
            settings = {**found.settings, **self.settings()}
            yield replace(found, analyzer=self.name, settings=settings, kind=GradNAP.name)


def _module(network: Network, layer: Layer) -> nn.Module:
    """The module that a layer is the one output of, in one call."""
    modules = canonical_names(network.model)
    again = f"{layer.name}@2"
    if layer.name not in modules or any(each.name == again for each in network.layers):
        raise SettingError(
            f"captum attributes relevance to modules that are called once and return one tensor; "
            f"layer {layer.name!r} is none: leave it out, "
            f"layers=['*', '!{layer.name.split('@')[0]}*']"
        )
    return modules[layer.name]


class _Scores(nn.Module):
    """A model with one score for each sample and class."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores [sample, class]."""
        return _summed(self.model(inputs))


def _summed(output: Any) -> Tensor:
    """Scores [sample, class], those of positions summed."""
    scores = scores_of(output, None)
    return scores if scores.ndim == 2 else scores.flatten(2).sum(2)  # noqa: PLR2004


def _attribution(method: str) -> Any:
    from captum import attr

    found = getattr(attr, method, None)
    if found is None or not issubclass(found, attr.LayerAttribution):
        raise SettingError(
            f"captum.attr has no layer attribution {method!r}; try 'LayerGradientXActivation', "
            "'LayerIntegratedGradients' or 'LayerDeepLift'"
        )
    return found


def _input_attribution(method: str) -> Any:
    """The attribution to inputs that answers to one to layers."""
    from captum import attr

    name = _INPUT_NAMES.get(method, method.removeprefix("Layer"))
    found = getattr(attr, name, None)
    if found is None or issubclass(found, attr.LayerAttribution):
        raise SettingError(
            f"captum.attr has no counterpart of {method!r} for the model's input; leave the layer "
            "'input' out, or choose 'LayerGradientXActivation', 'LayerIntegratedGradients' or "
            "'LayerDeepLift'"
        )
    return found


def _leaf(inputs: Tensor) -> Tensor:
    """A copy that gradients can be taken for; captum warns where it has to see to that."""
    return inputs.detach().clone().requires_grad_()
