"""Neuron activation profiles: how a layer responds to groups of inputs, and which look alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe import hookimpl
from torchprobe_nap.analyzer import NeuronActivationProfiles

if TYPE_CHECKING:
    from torchprobe import Analyzer

__all__ = ["NeuronActivationProfiles"]


@hookimpl
def torchprobe_analyzers() -> list[type[Analyzer]]:
    """Offer neuron activation profiles."""
    return [NeuronActivationProfiles]
