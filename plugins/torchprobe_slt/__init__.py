"""Sample-dependent linear transforms (SLT): the linear function a network applies to each sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe import hookimpl
from torchprobe_slt.classes import SltClasses
from torchprobe_slt.collect import jacobians
from torchprobe_slt.difficulty import SltDifficulty
from torchprobe_slt.jacobian import Jacobian, Jacobians
from torchprobe_slt.spectra import SltSpectra
from torchprobe_slt.sweep import Sweep
from torchprobe_slt.templates import SltTemplates
from torchprobe_slt.windows import Window

if TYPE_CHECKING:
    from torchprobe import Analyzer

__all__ = [
    "Jacobian",
    "Jacobians",
    "SltClasses",
    "SltDifficulty",
    "SltSpectra",
    "SltTemplates",
    "Sweep",
    "Window",
    "jacobians",
]


@hookimpl
def torchprobe_analyzers() -> list[type[Analyzer]]:
    """Offer the analyzers of SLTs."""
    return [SltSpectra, SltDifficulty, SltClasses, SltTemplates]
