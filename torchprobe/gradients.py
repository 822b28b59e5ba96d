"""Gradients at a module's output, as the module produced it, through tensor hooks."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from torch.utils.hooks import RemovableHandle

__all__ = ["GradientWatch"]


class GradientWatch:
    """Watches tensors and delivers their gradients when autograd computes them.

    Module backward hooks are never used: they make models with in-place operations raise, miss
    nested outputs and change what `torch.func` can do. A tensor hook gives the gradient of the
    output before anything overwrote it, once per backward pass, summed over all uses.

    A watched tensor that is a parameter or input carries one hook at most; hooks of computed
    tensors die with their graph. Hooks hold neither the tensor nor this watch.

    Args:
        deliver: called as ``deliver(key, gradient, ordinal)``; ``ordinal`` counts the backward
            passes over one forward pass from 0. The gradient is detached and must not be written
            to: it may be an expanded view.

    Example:
        >>> import torch
        >>> seen = []
        >>> watch = GradientWatch(lambda key, gradient, ordinal: seen.append((key, gradient)))
        >>> x = torch.ones(2, requires_grad=True)
        >>> y = 3 * x
        >>> watch.watch(y, "y")
        True
        >>> (y * y).sum().backward()
        >>> seen
        [('y', tensor([6., 6.]))]
    """

    def __init__(self, deliver: Callable[[Any, Tensor, int], None]) -> None:
        self.deliver = deliver
        self.closed = False
        self._leaves: dict[int, RemovableHandle] = {}

    def watch(self, tensor: Tensor, key: Any) -> bool:
        """Deliver this tensor's gradient under a key; False where none will ever be computed."""
        if self.closed or not tensor.requires_grad:
            return False
        handle = tensor.register_hook(_Hook(self, key))
        if tensor.is_leaf:
            before = self._leaves.pop(id(tensor), None)
            if before is not None:
                before.remove()
            self._leaves[id(tensor)] = handle
        return True

    def close(self) -> None:
        """Deliver nothing more; backward passes still to come are not touched."""
        self.closed = True
        for handle in self._leaves.values():
            handle.remove()
        self._leaves.clear()


class _Hook:
    def __init__(self, watch: GradientWatch, key: Any) -> None:
        self.watch = weakref.ref(watch)
        self.key = key
        self.ordinal = -1

    def __call__(self, gradient: Tensor) -> None:
        watch = self.watch()
        if watch is not None and not watch.closed:
            self.ordinal += 1
            watch.deliver(self.key, gradient.detach(), self.ordinal)
