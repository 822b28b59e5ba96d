"""Hooks on a model, through which a record hears of its forward passes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import torch

from torchprobe import compat
from torchprobe.errors import AttachError, CompileError
from torchprobe.hooks import HookManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from torch import nn

    from torchprobe.labels import Labels
    from torchprobe.record import Record

__all__ = ["Attachment"]


class Attachment:
    """Attaches a record to its model, and says what the forward passes are about.

    Args:
        record: what hears of them.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self._hooks: HookManager | None = None
        self._stance: Any = None

    @property
    def attached(self) -> bool:
        """Whether hooks are on the model."""
        return self._hooks is not None

    def attach(self, admits: Callable[[], bool] = lambda: True) -> Self:
        """Start listening: see `torchprobe.Probe.attach`."""
        if self.attached:
            raise AttachError("this probe is attached already; use one `with probe:` at a time")
        self._refuse_replicas()
        self._prepare_compiled()
        stream, modules = self.record.stream, self.record.design.modules
        listening = {**modules} if stream.discovering else self._needed()
        self._hooks = HookManager(listening, stream, admits).attach()
        stream.discovered = lambda: self._hooks.narrow(self._needed()) if self._hooks else None
        return self

    def detach(self) -> None:
        """Stop listening; harmless when not attached."""
        hooks, self._hooks = self._hooks, None
        if hooks is not None:
            hooks.detach()
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
            self._stance = None
        self.record.stream.settle(everything=True)

    def __enter__(self) -> Self:
        return self.attach()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.detach()

    @contextmanager
    def batch(self, said: Labels, split: str) -> Iterator[None]:
        """While active, forward passes are about a batch of a split with these labels."""
        record = self.record
        if split != record.phase[0]:
            record.enter(split, 0)
        try:
            with record.stream.speaking_of(said, split):
                yield
        finally:
            if self._hooks is not None:
                self._hooks.discard("interrupted")
        record.stream.settle()

    def _needed(self) -> dict[str, nn.Module]:
        """The modules that must be listened to once axes are known."""
        design = self.record.design
        needed = {*design.selection.modules, design.root}
        return {name: module for name, module in design.modules.items() if name in needed}

    def _refuse_replicas(self) -> None:
        model = self.record.design.model
        replicas = getattr(model, "device_ids", ()) or ()
        if type(model).__name__ == "DataParallel" and len(replicas) > 1:
            raise AttachError(
                "DataParallel runs copies of the model in threads that know nothing of each "
                "other's labels; probe model.module on one device, or use DistributedDataParallel"
            )

    def _prepare_compiled(self) -> None:
        design = self.record.design
        compiled = [name for name, each in design.modules.items() if compat.is_compiled(each)]
        compiled += [design.root] if compat.is_compiled(design.model) else []
        if not compiled:
            return
        if design.options.compile == "error":
            raise CompileError(
                f"{compiled[0]!r} is compiled with torch.compile: hooks attached now would be "
                "ignored in silence. Probe the original module, or pass compile='eager' (runs it "
                "uncompiled while attached) or compile='reset' (recompiles, process-wide)"
            )
        if design.options.compile == "reset":
            torch._dynamo.reset()  # noqa: SLF001 - its documented name
            return
        self._stance = torch.compiler.set_stance("force_eager")
        self._stance.__enter__()
