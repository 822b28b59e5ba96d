"""GradNAP: what a layer's neurons do that is particular to a group and matters to the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe import hookimpl
from torchprobe_gradnap.analyzer import GradNAP

if TYPE_CHECKING:
    from torchprobe import Analyzer

__all__ = ["GradNAP"]


@hookimpl
def torchprobe_analyzers() -> list[type[Analyzer]]:
    """Offer gradient-adjusted profiles."""
    return [GradNAP]
