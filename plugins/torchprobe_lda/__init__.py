"""Linear discriminant analysis and linear probes: how separable classes are, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe import hookimpl
from torchprobe_lda.analyzer import LDA
from torchprobe_lda.linear_probe import LinearProbe

if TYPE_CHECKING:
    from torchprobe import Analyzer

__all__ = ["LDA", "LinearProbe"]


@hookimpl
def torchprobe_analyzers() -> list[type[Analyzer]]:
    """Offer the analyzers."""
    return [LDA, LinearProbe]
