"""Profiles weighed by the relevance that a captum attribution gives, in place of gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from torchprobe import Analyzer, LayerBatch
from torchprobe.errors import SettingError
from torchprobe.groupings import scores_of
from torchprobe.naming import canonical_names
from torchprobe_gradnap.analyzer import GradNAP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from torchprobe import Layer, Network, NetworkBatch, Result
    from torchprobe.accumulators import Accumulator

__all__ = ["SaliencyProfiles"]


class SaliencyProfiles(Analyzer):
    """Activation profiles adjusted by any captum layer attribution instead of gradients.

    As `GradNAP`, with the attribution's relevance of each activation for the predicted class in
    place of its gradient: examples are aligned by |relevance| and the mask is made from its mean.
    The model must take one tensor and return scores [sample, class]; further axes are summed over.
    The fields of a result are those of `GradNAP`. Layers are modules that are called once.

    Args:
        method: the name of a class in ``captum.attr``: "LayerGradientXActivation",
            "LayerIntegratedGradients", "LayerDeepLift", ...
        options: of its ``attribute``, e.g. ``{"n_steps": 32}``.
        profiles: settings of `GradNAP`; the alignment is "gradient" unless they say otherwise,
            because relevance has the activation's strength in it already.

    Raises:
        SettingError: captum has no such layer attribution; or it does not work at a layer.

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
        forks = [self._fork(layer) for layer in network.layers]
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
        for layer in batch.network.layers:
            values, relevance = self._attributed(batch, layer, target)
            part = LayerBatch(layer, values, batch.given, gradients=relevance)
            self._at(layer).update(part.view(batch.grouping, "each"))

    def _attributed(
        self, batch: NetworkBatch, layer: Layer, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        from captum.attr import LayerActivation

        model, inputs = batch.network.model, batch.args[0]
        module = _module(batch.network, layer)
        values = LayerActivation(model, module).attribute(inputs)
        try:
            with torch.enable_grad():
                method = _attribution(self.method)(_Scores(model), module)
                relevance = method.attribute(inputs, target=target, **self.options)
        except (RuntimeError, AssertionError) as error:
            raise SettingError(
                f"captum's {self.method} does not work at layer {layer.name!r}: {error}. In-place "
                "activations (ReLU(inplace=True)) and modules called twice are the usual causes"
            ) from error
        return values.detach(), relevance.detach()

    def compute(self) -> Iterator[Result]:
        """The profiles of every layer.

        Raises:
            EmptyStateError: no example with a label was seen.
        """
        for layer in self.network.layers:
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
