"""Where analyzers run: no gradients, no autocast, the user's generators untouched."""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CPU", "Sandbox", "all_generators_kept", "recording", "unrecorded"]


CPU = torch.device("cpu")

# Looked up once, for a sandbox is entered in every hook, when the cache has forgotten all of torch.
_generator = torch.default_generator
_in_inference_mode = torch.is_inference_mode_enabled
_under_autocast = torch.is_autocast_enabled
_with_gradients = torch.is_grad_enabled


class Sandbox:
    """Run analyzer code on values of a device without side effects on the user's program.

    Inside: gradients and inference mode off (state made under inference mode could not be updated
    outside it), autocast off (an fp32 product would silently run in bf16), and torch's generators
    restored on leaving. Entered once per layer and forward pass, hence no more is done than needed.

    Example:
        >>> with torch.enable_grad(), Sandbox(torch.device("cpu")):
        ...     torch.is_grad_enabled()
        False
    """

    __slots__ = ("_cpu", "_cuda", "_modes", "device")

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __enter__(self) -> None:
        kind = "cpu" if self.device is CPU else self.device.type
        self._cpu = _generator.get_state()
        self._cuda = torch.cuda.get_rng_state(self.device) if kind == "cuda" else None
        self._modes = _modes_to_leave(kind)
        for mode in self._modes:
            mode.__enter__()

    def __exit__(self, *error: object) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)
        _generator.set_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self.device)


def _modes_to_leave(kind: str) -> list[Any]:
    """Contexts that switch off what is on and must not be."""
    modes: list[Any] = []
    if _in_inference_mode():
        modes.append(torch.inference_mode(mode=False))
    if _under_autocast("cpu"):
        modes.append(torch.autocast("cpu", enabled=False))
    if kind not in ("cpu", "meta") and _under_autocast(kind):
        modes.append(torch.autocast(kind, enabled=False))
    if modes or _with_gradients():  # leaving inference mode switches them on
        modes.append(torch.no_grad())
    return modes


@contextmanager
def all_generators_kept(device: torch.device) -> Iterator[None]:
    """Restore Python's, numpy's and torch's generators on leaving.

    Too slow for a hook (numpy's state alone takes 30 µs to copy), right for whole computations.
    """
    import numpy as np

    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the user's global one
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, device)


class _Recording(threading.local):
    off: bool = False


_recording = _Recording()


def recording() -> bool:
    """Whether probes record what models do in this thread."""
    return not _recording.off


@contextmanager
def unrecorded() -> Iterator[None]:
    """Calls of a model inside, by an analyzer that must run it, are recorded by no probe.

    Example:
        >>> with unrecorded():
        ...     recording()
        False
    """
    before, _recording.off = _recording.off, True
    try:
        yield
    finally:
        _recording.off = before
