"""Where single numbers go while a model trains: the loggers that users already have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from torchprobe.errors import SettingError

__all__ = ["Sink", "sinks"]

Sink: TypeAlias = Callable[[dict[str, float], int], object]
"""Takes numbers by tag, and the step."""


def sinks(loggers: Any) -> list[Sink]:
    """Loggers of any known kind as functions of (numbers by tag, step).

    Known are what has ``log_metrics`` (Lightning's loggers), ``add_scalar`` (TensorBoard's
    `SummaryWriter`) or ``log`` (a run of Weights & Biases, or the module `wandb`), and functions.

    Raises:
        SettingError: it is none of these.

    Example:
        >>> for log in sinks(print):
        ...     log({"lda/hidden.1/accuracy": 0.5}, 100)
        {'lda/hidden.1/accuracy': 0.5} 100
    """
    if loggers is None or loggers is False:
        return []
    several = isinstance(loggers, Iterable) and not isinstance(loggers, (str, Mapping))
    return [_sink(each) for each in (loggers if several else [loggers])]


def _sink(logger: Any) -> Sink:
    if hasattr(logger, "log_metrics"):
        return lambda numbers, step: logger.log_metrics(numbers, step=step)
    if hasattr(logger, "add_scalar"):
        return lambda numbers, step: _one_by_one(logger, numbers, step)
    if hasattr(logger, "log"):
        return lambda numbers, step: logger.log(numbers, step=step)
    if callable(logger):
        return logger  # type: ignore[no-any-return]
    raise SettingError(
        f"log={logger!r:.100} is no logger; give a SummaryWriter, a Lightning logger, a run of "
        "Weights & Biases, or a function of (numbers by tag, step)"
    )


def _one_by_one(writer: Any, numbers: dict[str, float], step: int) -> None:
    for tag, number in numbers.items():
        writer.add_scalar(tag, number, step)
