"""The contract of every accumulator: reduce a batch to a state, absorb states, in any order."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import torch

from torchprobe.errors import EmptyStateError, MergeError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from torch import Tensor

__all__ = ["Accumulator", "State", "Transaction", "rows_to_fp64"]

State: TypeAlias = "dict[str, Tensor]"
"""A statistic as named tensors: what is merged, saved and sent between processes."""


class Accumulator(ABC):
    """A streaming statistic in constant memory whose merge is exact.

    A batch is a state: `reduce` turns a batch into a compact state of its own and `absorb` adds
    one state to this one, so that updating, merging, resuming and syncing processes are one
    operation. A subclass writes `reduce`, `absorb` and, if it holds groups, `relabel`; its
    ``__init__`` takes settings and leaves `state` empty. Floating state is float64 and counts are
    int64, whatever the default dtype or autocast. A tensor called ``groups`` stays on the CPU.
    """

    state: State
    """Empty (``{}``) until something was absorbed."""

    def __init__(self) -> None:
        self.state = {}
        self.device: torch.device | None = None

    @abstractmethod
    def reduce(self, *args: Any, **kwargs: Any) -> State:
        """The state of one batch alone; touches nothing of this accumulator's own state."""

    @abstractmethod
    def absorb(self, state: State) -> None:
        """Add another state, from `reduce` or from another accumulator, to this one."""

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Take one batch in: at once, or when the `Transaction` that is open commits."""
        state = self.reduce(*args, **kwargs)
        if not state:
            return
        transaction = Transaction.current()
        if transaction is None:
            self.absorb(state)
        else:
            transaction.pending.append((self, state))

    def merge(self, other: Accumulator) -> Self:
        """Add what ``other`` has seen to this accumulator, which is returned.

        Raises:
            MergeError: the other is of another kind, or its state has other shapes.
        """
        if type(other) is not type(self):
            raise MergeError(
                f"cannot merge a {type(other).__name__} into a {type(self).__name__}; "
                "merge accumulators of the same class and settings"
            )
        if other.state:
            self.absorb(other.state_dict())
        return self

    def relabel(self, mapping: Mapping[int, int]) -> None:  # noqa: B027 - most hold no groups
        """Give groups other numbers; statistics without groups have nothing to do."""

    def state_dict(self) -> State:
        """A copy of the state, to save or to send."""
        return {name: tensor.clone() for name, tensor in self.state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replace the state by one from `state_dict`.

        Raises:
            MergeError: the state belongs to another kind of accumulator or other settings.
        """
        self.reset()
        if state:
            try:
                self.absorb({name: tensor.clone() for name, tensor in state.items()})
            except (KeyError, RuntimeError) as error:
                self.reset()
                raise MergeError(
                    f"this state does not fit a {type(self).__name__}: {error}; load it into an "
                    "accumulator made with the same settings"
                ) from error

    def reset(self) -> None:
        """Forget everything seen; settings stay."""
        self.state = {}

    def to(self, device: torch.device | str) -> Self:
        """Move the state to a device (groups stay on the CPU) and return this accumulator."""
        self.device = torch.device(device)
        self.state = {
            name: tensor if name == "groups" else tensor.to(self.device)
            for name, tensor in self.state.items()
        }
        return self

    @property
    def nbytes(self) -> int:
        """Bytes of the state; kinds whose size is known beforehand say it before any update."""
        return sum(tensor.nbytes for tensor in self.state.values())

    def _seen(self, name: str) -> Tensor:
        """One tensor of the state, or `EmptyStateError`."""
        if not self.state:
            raise EmptyStateError(
                f"{type(self).__name__} has seen no data; update it before reading its value"
            )
        return self.state[name]


class Transaction:
    """Batch states that wait until it is known whether the forward pass succeeded.

    While a transaction is active (``with transaction:``) every `Accumulator.update` of this thread
    is held back; `commit` absorbs them, dropping the transaction forgets them.
    """

    _local = threading.local()

    def __init__(self) -> None:
        self.pending: list[tuple[Accumulator, State]] = []

    @classmethod
    def current(cls) -> Transaction | None:
        """The transaction active in this thread, if any."""
        return getattr(cls._local, "active", None)

    def __enter__(self) -> Self:
        self._outer = self.current()
        self._local.active = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._local.active = self._outer

    def commit(self) -> None:
        """Absorb what waits, in order."""
        for accumulator, state in self.pending:
            accumulator.absorb(state)
        self.pending.clear()

    def discard(self, accumulators: set[int]) -> None:
        """Forget what waits for these accumulators (by ``id``)."""
        self.pending = [entry for entry in self.pending if id(entry[0]) not in accumulators]


def rows_to_fp64(values: Tensor, device: torch.device | None = None) -> Tensor:
    """Values as float64, converted before anything is summed; on the CPU where a device has none.

    Half precision sums are biased even when only a batch is summed before the conversion.
    """
    values = values.detach()
    target = device or values.device
    if target.type == "mps":  # MPS has no float64
        target = torch.device("cpu")
    if values.device != target and target.type == "cpu":
        values = values.cpu()
    return values.to(device=target, dtype=torch.float64)
