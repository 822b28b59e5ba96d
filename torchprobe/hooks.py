"""The hook manager: what a model's modules deliver, call by call, leaving the model as it was."""

from __future__ import annotations

import os
import sys
import threading
import warnings
import weakref
from typing import TYPE_CHECKING, Any, Protocol, Self

from torchprobe import compat
from torchprobe.errors import AttachError, IncompleteWarning
from torchprobe.sandbox import recording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import nn
    from torch.utils.hooks import RemovableHandle

__all__ = ["Call", "HookManager", "InertInCopies", "Listener"]


class Call:
    """One call of an outermost hooked module, with everything that it calls in turn."""

    __slots__ = ("counts", "data", "stack")

    def __init__(self) -> None:
        self.stack: list[tuple[str, BaseException | None]] = []
        """Names of the modules being executed, each with the exception being handled on entry."""
        self.counts: dict[str, int] = {}
        """How often each module has returned in this call."""
        self.data: Any = None
        """Whatever the listener keeps for this call."""


class Listener(Protocol):
    """Who is told. An exception raised here reaches the user's forward pass."""

    follows_inputs: bool
    """Whether `entered` is wanted for every module; always for the outermost."""

    def opened(self, call: Call) -> None:
        """An outermost call begins."""

    def entered(self, call: Call, name: str, module: nn.Module, inputs: Any) -> None:
        """A hooked module is about to run; inputs are (args, kwargs)."""

    def returned(
        self, call: Call, name: str, module: nn.Module, inputs: Any, output: Any, index: int
    ) -> None:
        """A hooked module has returned for the ``index``-th time in this call."""

    def recomputed(self, name: str, module: nn.Module, output: Any) -> None:
        """A module ran again during backward (checkpointing).

        These are no new values, but its output may be the one whose gradient is computed.
        """

    def closed(self, call: Call, output: Any) -> None:
        """The outermost call has succeeded."""

    def failed(self, call: Call, reason: str) -> None:
        """The outermost call has not; what it delivered must be forgotten."""

    def skipped(self, name: str, reason: str) -> None:
        """A module ran where its values must not be recorded."""


class HookManager:
    """Listens to modules with forward hooks, a pair for each module object.

    A module that holds no other needs but the second of the pair, once nobody asks for inputs: that
    it was entered matters to what happens inside it.

    - A hook never returns anything, so that it cannot change what the model computes.
    - The outermost hooked call is a transaction, also when a submodule is called by itself.
    - Recomputed activations (checkpointing) and calls inside compile, trace, torch.func or CUDA
      graph capture are not recorded; the last three are reported as skipped.
    - Nothing is stored on the modules but the hooks, which hold this manager weakly and turn into
      inert functions in copies and pickles.

    Args:
        modules: canonical name → module, each module object once.
        listener: who is told.
        admits: asked before an outermost call is listened to.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        listener: Listener,
        admits: Callable[[], bool] = lambda: True,
    ) -> None:
        self.modules = dict(modules)
        self.listener = listener
        self.admits = admits
        self._local = _Local()
        self._handles: dict[str, list[RemovableHandle]] = {}
        self._leaves: frozenset[str] = frozenset()
        """Modules that are only heard when they return."""
        self._finalizer: Any = None
        self._process = os.getpid()

    # -- lifetime

    def attach(self) -> Self:
        """Put hooks on all modules.

        Raises:
            AttachError: attached already.
        """
        if self.attached:
            raise AttachError("these hooks are attached already; detach them first")
        for name, module in self.modules.items():
            enter, leave = _Enter(self, name), _Leave(self, name)
            self._handles[name] = [
                module.register_forward_hook(leave, with_kwargs=True, always_call=True),
                module.register_forward_pre_hook(enter, with_kwargs=True),
            ]
        if not self.listener.follows_inputs:
            self._hear_leaves_return()
        self._finalizer = weakref.finalize(self, _remove, self._handles)
        self._process = os.getpid()
        return self

    def detach(self) -> None:
        """Take all hooks off; what an interrupted call delivered is forgotten."""
        _remove(self._handles)
        self.discard("detached during the call")

    def narrow(self, names: Iterable[str]) -> None:
        """Take the hooks off all modules but these."""
        keep = set(names)
        for name in [name for name in self._handles if name not in keep]:
            _remove({name: self._handles.pop(name)})
        if not self.listener.follows_inputs:
            self._hear_leaves_return()

    def _hear_leaves_return(self) -> None:
        """Take the first hook off modules that hold no other one; the first of all keeps it."""
        hooked = {self.modules[name] for name in self._handles}
        others = list(self._handles)[1:]
        self._leaves = frozenset(
            name for name in others if hooked.isdisjoint([*self.modules[name].modules()][1:])
        )
        for name in self._leaves:
            for handle in self._handles[name][1:]:
                handle.remove()

    @property
    def attached(self) -> bool:
        """Whether hooks are on the modules."""
        return bool(self._handles)

    def discard(self, reason: str) -> None:
        """Forget a call of this thread that never came to its end (KeyboardInterrupt)."""
        call = self._call
        self._call = None
        if call is not None:
            self.listener.failed(call, reason)

    # -- what hooks do

    @property
    def _call(self) -> Call | None:
        return getattr(self._local, "call", None)

    @_call.setter
    def _call(self, call: Call | None) -> None:
        self._local.call = call

    def enter(self, name: str, module: nn.Module, inputs: Any) -> None:
        """What the pre-hook of a module does."""
        local = self._local
        if local.busy or compat.backward_running() or not recording():
            return
        call = local.call
        if call is not None and call.stack[0][0] == name and compat.call_depth(module) == 1:
            self.discard("interrupted")  # the stack is stale: no such call is on Python's stack
            call = None
        opening = call is None
        if call is None:
            if self._elsewhere() or not self.admits():
                return
            call = local.call = Call()
        call.stack.append((name, sys.exc_info()[1]))
        if not (opening or self.listener.follows_inputs):
            return
        local.busy = True  # calls of the model made by the listener are not recorded
        try:
            if opening:
                self.listener.opened(call)
            self.listener.entered(call, name, module, inputs)
        finally:
            local.busy = False

    def _elsewhere(self) -> bool:
        """Whether this is a forked copy of the process in which the hooks were attached."""
        if os.getpid() == self._process:
            return False
        warnings.warn(
            "this process was forked from the one that the probe is attached in; what the model "
            "does here is not seen there. Run the model in the process that holds the probe",
            IncompleteWarning,
            stacklevel=2,
        )
        return True

    def leave(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        """What the forward hook of a module does, also when the module raised."""
        local = self._local
        if compat.backward_running():
            if output is not None and not local.busy:  # None: the recomputation stopped early
                self._tell(self.listener.recomputed, name, module, output)
            return
        if local.busy or not recording():
            return
        if name in self._leaves:
            self._leave_leaf(name, module, inputs, output)
            return
        call = local.call
        if call is None:
            return
        error = self._pop(call, name)
        raised = output is None and sys.exc_info()[1] is not error
        try:
            if not raised:
                self._returned(call, name, module, inputs, output)
        except BaseException:
            raised = True
            raise
        finally:
            if not call.stack:
                self._finish(call, output, raised=raised)

    def _leave_leaf(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        """What the only hook of a module does; called by itself, the module is a transaction."""
        call = self._local.call
        if call is not None:
            raised = output is None and sys.exc_info()[1] is not call.stack[-1][1]
            if not raised:
                self._returned(call, name, module, inputs, output)
            return
        if output is None or self._elsewhere() or not self.admits():
            return
        call = Call()
        self._tell(self.listener.opened, call)
        try:
            self._returned(call, name, module, inputs, output)
        except BaseException:
            self._finish(call, output, raised=True)
            raise
        self._finish(call, output, raised=False)

    def _pop(self, call: Call, name: str) -> BaseException | None:
        """Leave a module; modules above it that never returned are left as well."""
        while call.stack:
            top, error = call.stack.pop()
            if top == name:
                return error
        return None

    def _returned(self, call: Call, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        reason = compat.unsafe_context()
        if reason:
            self.listener.skipped(name, reason)
            return
        index = call.counts.get(name, 0)
        call.counts[name] = index + 1
        self._tell(self.listener.returned, call, name, module, inputs, output, index)

    def _finish(self, call: Call, output: Any, *, raised: bool) -> None:
        self._call = None
        if raised:
            self.listener.failed(call, "exception in the forward pass")
        else:
            self._tell(self.listener.closed, call, output)

    def _tell(self, method: Callable[..., None], *args: Any) -> None:
        """Tell the listener; calls of the model that it makes meanwhile are not recorded."""
        self._local.busy = True
        try:
            method(*args)
        finally:
            self._local.busy = False


class _Local(threading.local):
    """What belongs to one thread."""

    call: Call | None = None
    busy: bool = False


def inert(*_: object) -> None:
    """What a hook becomes in a copy or pickle of a probed model: nothing."""


def _inert() -> Any:
    return inert


class InertInCopies:
    """A hook that does nothing in copies and pickles of the model that it is on."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return inert

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return _inert, ()


class _Hook(InertInCopies):
    """One hook: importable, copyable, and nothing but a weak way to its manager."""

    def __init__(self, manager: HookManager, name: str) -> None:
        self.manager, self.name = weakref.ref(manager), name


class _Enter(_Hook):
    def __call__(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if compat.is_compiling():  # first: Dynamo cannot trace what comes after
            return
        manager = self.manager()
        if manager is not None:
            manager.enter(self.name, module, (args, kwargs))


class _Leave(_Hook):
    def __call__(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if compat.is_compiling():
            return
        manager = self.manager()
        if manager is not None:
            manager.leave(self.name, module, (args, kwargs), output)


def _remove(handles: dict[str, list[RemovableHandle]]) -> None:
    for pair in handles.values():
        for handle in pair:
            handle.remove()
    handles.clear()
