"""A fixed sample of every layer's activations, by which training can be seen to move them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe import hookimpl
from torchprobe_drift.analyzer import ActivationSample

if TYPE_CHECKING:
    from torchprobe import Analyzer

__all__ = ["ActivationSample"]


@hookimpl
def torchprobe_analyzers() -> list[type[Analyzer]]:
    """Offer the sample of activations."""
    return [ActivationSample]
