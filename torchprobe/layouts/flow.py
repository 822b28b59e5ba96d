"""Follows the axes of tensors through a forward pass."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode
from torch.utils.weak import WeakIdKeyDictionary

from torchprobe import compat
from torchprobe.layouts.atoms import fit, fresh
from torchprobe.layouts.operations import Operation, result_axes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torchprobe.layouts.atoms import Axis

__all__ = ["Flow"]


class Flow(TorchDispatchMode):
    """The axes of every tensor made while this is started, and of what it is made from.

    Operations run as they would without it, only slower, which is why it is for one pass. No
    tensor is kept alive; a tensor that takes a dead one's place in memory is another tensor.

    Example:
        >>> flow = Flow()
        >>> x = torch.zeros(3, 3, 3)
        >>> flow.start()
        >>> y = (x.transpose(0, 2) + 1).relu()
        >>> flow.stop()
        >>> flow.axes(y)[2] is flow.axes(x)[0]
        True
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._axes = WeakIdKeyDictionary()
        self.started = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch would import its compiler, seconds of it, to keep it away from this mode."""
        return False

    def start(self) -> None:
        """Begin to follow."""
        self.started = True
        self.__enter__()  # type: ignore[no-untyped-call]

    def stop(self) -> None:
        """Follow no longer; what was learnt stays.

        Where other modes lie above this one (two probes that look at one model, an interrupted
        pass) it does nothing any more and leaves torch's stack with the last of ours above it:
        popping now would take theirs away.
        """
        self.started = False
        while isinstance(top := _get_current_dispatch_mode(), Flow) and not top.started:
            top.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def forget(self) -> None:
        """Stop, and know nothing of any tensor."""
        self.stop()
        self._axes = WeakIdKeyDictionary()

    def axes(self, tensor: Tensor) -> list[Axis]:
        """The axes of a tensor; unknown ones where it was not met before."""
        axes: list[Axis] | None = self._axes.get(tensor)
        if axes is None or len(axes) != tensor.ndim:
            axes = self._axes[tensor] = fresh(tensor.shape)
        return axes

    def name(self, tensor: Tensor, axes: Sequence[Axis]) -> None:
        """Say what the axes of a tensor are."""
        self._axes[tensor] = list(axes)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation and note what came out."""
        if not isinstance(func, torch._ops.OpOverload):  # noqa: SLF001
            return func(*args, **(kwargs or {}))
        result = compat.run_operation(func, args, kwargs or {})
        if self.started:
            self._follow(func, args, kwargs or {}, result)
        return result

    def _follow(
        self,
        func: torch._ops.OpOverload,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
    ) -> None:
        made = list(_dense(result))
        kind = _kind(func)
        if kind is None or not made or not all(_is_dense(arg) for arg in args):
            return
        shape = tuple(made[0].shape)
        axes = result_axes(Operation(*kind, func, args, kwargs, shape, self.axes))
        if axes is not None:
            for tensor in made:
                self._axes[tensor] = fit(axes, tensor.shape)


@cache
def _kind(func: torch._ops.OpOverload) -> tuple[str, bool] | None:
    """An operation's name, in-place or not, and whether it works entry by entry; None: not ATen."""
    namespace, _, name = func._schema.name.partition("::")  # noqa: SLF001
    if namespace != "aten":
        return None
    name = name if name.startswith("__") else name.removesuffix("_")
    return name, torch.Tag.pointwise in func.tags


def _dense(result: Any) -> Iterator[Tensor]:
    """The tensors that came out, where their shapes say what they hold."""
    for value in result if isinstance(result, (tuple, list)) else (result,):
        if isinstance(value, Tensor) and _is_dense(value):
            yield value


def _is_dense(value: Any) -> bool:
    if not isinstance(value, Tensor):
        return True
    return not (is_lazy(value) or value.is_nested or value.is_sparse)
