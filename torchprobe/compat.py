"""Everything torchprobe uses of torch that torch does not promise to keep, in one place."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

__all__ = [
    "backward_running",
    "base_of",
    "call_depth",
    "default_store",
    "is_compiled",
    "is_compiling",
    "run_operation",
    "sparse_rows",
    "unsafe_context",
    "unsafe_tensor",
    "version_of",
]

is_compiling = torch.compiler.is_compiling
"""Whether Dynamo or export is tracing; must be asked before anything else it cannot trace."""

# What every hook asks is looked up once: a matrix product empties the cache of all torch knows.
_graph_task = torch._C._current_graph_task_id  # noqa: SLF001
_tracing_state = torch._C._get_tracing_state  # noqa: SLF001
_transform_level = torch._C._functorch.maybe_current_level  # noqa: SLF001
_cuda_initialized: Callable[[], bool] = torch.cuda.is_initialized

_COMPOSITE = "CompositeImplicitAutograd"
_MODES = torch._C.DispatchKeySet(torch._C.DispatchKey.Python).add(  # noqa: SLF001
    torch._C.DispatchKey.PythonTLSSnapshot  # noqa: SLF001
)
_CALL_IMPL = nn.Module._call_impl.__code__  # noqa: SLF001


def default_store(prefix: str) -> Any:
    """The store through which the processes of torch.distributed found each other."""
    from torch.distributed import distributed_c10d as c10d

    return c10d.PrefixStore(prefix, c10d._get_default_store())  # noqa: SLF001


def backward_running() -> bool:
    """Whether autograd is at work in this thread, so that a forward now is a recomputation."""
    return _graph_task() != -1


def run_operation(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operation inside a dispatch mode just as it would run without the mode.

    In inference mode composite operations reach a mode undivided, and with less of torch's state
    than they had when called: no autocast, no views of parameters. Kernels are chosen by that.
    """
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key  # noqa: SLF001
    if not torch.is_inference_mode_enabled() or not has_kernel(function.name(), _COMPOSITE):
        return function(*args, **kwargs)
    state_when_called = torch._C._RestorePythonTLSSnapshot()  # type: ignore[attr-defined]  # noqa: SLF001
    with state_when_called, torch._C._ExcludeDispatchKeyGuard(_MODES):  # noqa: SLF001
        return function(*args, **kwargs)


def sparse_rows(starts: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """A sparse matrix of compressed rows, without torch's remark that these are in beta state."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        return torch.sparse_csr_tensor(starts, columns, values, shape, check_invariants=False)


def unsafe_context() -> str:
    """Why values in this context must not be recorded ("" where they may)."""
    if _tracing_state() is not None:
        return "torch.jit.trace"
    if _transform_level() is not None:
        return "torch.func transform"
    if _cuda_initialized() and torch.cuda.is_current_stream_capturing():
        return "CUDA graph capture"
    return ""


def unsafe_tensor(tensor: Tensor) -> str:
    """Why this tensor holds no values ("" where it does)."""
    if tensor.is_meta:
        return "meta tensor"
    if isinstance(tensor, FakeTensor):
        return "fake tensor"
    return ""


def base_of(tensor: Tensor) -> Tensor | None:
    """The tensor that this one is a view of."""
    base: Tensor | None = tensor._base  # noqa: SLF001
    return base


def version_of(tensor: Tensor) -> int:
    """How often this tensor's memory has been written to in place."""
    return tensor._version  # noqa: SLF001


def is_compiled(module: nn.Module) -> bool:
    """Whether this module is, or was in place, compiled with torch.compile."""
    if getattr(module, "_compiled_call_impl", None) is not None:
        return True
    return hasattr(module, "_orig_mod") and type(module).__name__ == "OptimizedModule"


def call_depth(module: nn.Module) -> int:
    """How often this very module is being called in this thread's stack right now."""
    depth, frame = 0, sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        if frame.f_code is _CALL_IMPL and frame.f_locals.get("self") is module:
            depth += 1
        frame = frame.f_back  # type: ignore[assignment]
    return depth
