"""A model that remembers nothing of what it was asked."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["kept_state"]

_TORCHS_OWN = frozenset(vars(nn.Module())) - {"_buffers"}


@contextmanager
def kept_state(model: nn.Module) -> Iterator[None]:
    """Whatever modules keep beside parameters (buffers, caches, hidden states) is put back.

    Example:
        >>> norm = nn.BatchNorm1d(2)
        >>> with kept_state(norm):
        ...     _ = norm(torch.randn(3, 2))
        >>> norm.running_mean
        tensor([0., 0.])
    """
    kept = [(module, _Kept(module)) for module in model.modules()]
    try:
        yield
    finally:
        with torch.no_grad():
            for module, state in kept:
                state.restore(module)


class _Kept:
    """A module's own attributes, with copies of those that may be written to in place."""

    def __init__(self, module: nn.Module) -> None:
        own = vars(module)
        self.attributes = {name: own[name] for name in own.keys() - _TORCHS_OWN}
        self.copies = [
            (value, _copy(value))
            for value in (*self.attributes.values(), *module._buffers.values())  # noqa: SLF001
            if type(value) in (dict, list) or isinstance(value, Tensor)
        ]

    def restore(self, module: nn.Module) -> None:
        own = vars(module)
        for name in own.keys() - _TORCHS_OWN - self.attributes.keys():
            del own[name]
        own.update(self.attributes)
        for value, copy in self.copies:
            _write_back(value, copy)


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value.copy()


def _write_back(value: Any, copy: Any) -> None:
    if isinstance(value, Tensor):
        if not torch.equal(value, copy):
            value.copy_(copy)
    elif isinstance(value, dict):
        value.clear()
        value.update(copy)
    else:
        value[:] = copy
