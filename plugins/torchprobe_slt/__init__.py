"""Sample-dependent linear transforms: the linear function that a network applies to each sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe import hookimpl
from torchprobe_slt.analyzer import SLT
from torchprobe_slt.transforms import Transforms, transforms

if TYPE_CHECKING:
    from torchprobe import Analyzer

__all__ = ["SLT", "Transforms", "transforms"]


@hookimpl
def torchprobe_analyzers() -> list[type[Analyzer]]:
    """Offer the analyzers."""
    return [SLT]
