"""Where analyzers run: no gradients, no autocast, full precision, the user's generators untouched."""

from __future__ import annotations

import random
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["all_generators_kept", "sandbox"]


@contextmanager
def sandbox(device: torch.device) -> Iterator[None]:
    """Run analyzer code on values of a device without side effects on the user's program.

    Inside: gradients and inference mode off (state made under inference mode could not be updated
    outside it), autocast off (an fp32 product would silently run in bf16), torch's generators
    restored on leaving, and products in true float32 (no TF32).
    """
    kind = device.type
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.inference_mode(mode=False))
        for autocast in {"cpu", kind}:
            if autocast != "meta" and torch.is_autocast_enabled(autocast):
                stack.enter_context(torch.autocast(autocast, enabled=False))
        stack.enter_context(_torch_generators_kept(device))
        yield


@contextmanager
def _torch_generators_kept(device: torch.device) -> Iterator[None]:
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, device)


@contextmanager
def all_generators_kept(device: torch.device) -> Iterator[None]:
    """Restore Python's, numpy's and torch's generators on leaving.

    Too slow for a hook (numpy's state alone takes 30 µs to copy), right for whole computations.
    """
    import numpy as np

    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the user's global one
    try:
        with _torch_generators_kept(device):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
