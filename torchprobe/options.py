"""How a probe treats what it meets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from torchprobe.errors import SettingError

__all__ = ["Options"]

_CHOICES = {
    "calls": ("separate", "merge"),
    "nonfinite": ("ignore", "propagate", "raise"),
    "on_error": ("disable", "raise"),
    "compile": ("error", "eager", "reset"),
    "distributed": ("auto", False),
}


@dataclass(frozen=True)
class Options:
    """The choices that `Probe` documents.

    Raises:
        SettingError: a value is not one of those allowed.
    """

    calls: str = "separate"
    max_calls: int = 16
    nonfinite: str = "ignore"
    on_error: str = "disable"
    compile: str = "error"
    memory_budget: int | None = None
    objective: Any = None
    distributed: Any = "auto"
    distributed_timeout: float = 300.0

    def __post_init__(self) -> None:
        for option, allowed in _CHOICES.items():
            if getattr(self, option) not in allowed:
                raise SettingError(
                    f"{option}={getattr(self, option)!r}; choose one of "
                    f"{', '.join(map(repr, allowed))}"
                )
        if self.max_calls < 1:
            raise SettingError(f"max_calls={self.max_calls}; at least one call must be kept")

    @property
    def budget(self) -> int:
        """Bytes of state allowed: what was said, or half of the machine's memory.

        Processes that torchrun has started on one machine share that half.
        """
        if self.memory_budget is not None:
            return self.memory_budget
        import psutil

        beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return int(psutil.virtual_memory().total // 2 // beside)
