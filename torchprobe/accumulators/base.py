"""The contract of every accumulator: reduce a batch to a state, absorb states, in any order."""

from __future__ import annotations

import copy
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

import torch

from torchprobe.accumulators.slots import check
from torchprobe.errors import EmptyStateError, MergeError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from torch import Tensor

    from torchprobe.accumulators.slots import Slots

__all__ = ["Accumulator", "State", "Transaction"]

State: TypeAlias = "dict[str, Tensor]"
"""A statistic as named tensors: what is merged, saved and sent between processes."""


class Accumulator(ABC):
    """A streaming statistic in constant memory whose merge is exact.

    A batch is a state: `reduce` turns a batch into a compact state of its own and `absorb` adds
    one state to this one, so that updating, merging, resuming and syncing processes are one
    operation. A subclass writes `reduce`, `absorb` and, if it holds groups, `relabel`; its
    ``__init__`` takes settings and leaves `state` empty; `slots` says what the state will hold.
    Floating state is float64 and counts are int64, whatever the default dtype or autocast.
    """

    state: State
    """Empty (``{}``) until something was absorbed."""
    on_cpu: ClassVar[tuple[str, ...]] = ("groups",)
    """Tensors of the state that stay on the CPU, whatever `device` the others are on."""

    def __init__(self) -> None:
        self.state = {}
        self.device: torch.device | None = None

    @property
    def slots(self) -> Slots:
        """What the state holds, known before any data; a state that says nothing goes unchecked."""
        return {}

    @abstractmethod
    def reduce(self, *args: Any, **kwargs: Any) -> State:
        """The state of one batch alone; touches nothing of this accumulator's own state."""

    @abstractmethod
    def absorb(self, state: State) -> None:
        """Add another state, from `reduce` or from another accumulator, to this one.

        The other state is only read. It is trusted; `check` one that comes from elsewhere.
        """

    def check_slots(self, state: Mapping[str, Tensor]) -> None:
        """Raise `MergeError` unless a full state has the tensors, dtypes and shapes of this kind.

        Values are not looked at: tensors may be on the meta device.
        """
        if self.slots:
            check(self.slots, state, type(self).__name__)

    def check(self, state: Mapping[str, Tensor]) -> None:
        """Raise `MergeError` unless a full state can be that of this accumulator."""
        self.check_slots(state)

    @torch.inference_mode(mode=False)  # what is made under inference mode cannot be changed later
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

    @torch.inference_mode(mode=False)
    def merge(self, other: Accumulator) -> Self:
        """Add what ``other`` has seen to this accumulator, which is returned.

        Raises:
            MergeError: the other is of another kind or has other settings.
        """
        if type(other) is not type(self) or other._settings != self._settings:
            raise MergeError(
                f"cannot merge {other!r} into {self!r}; "
                "merge accumulators of the same class and settings"
            )
        if other.state:
            self.absorb(other.state_dict())
        return self

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self._settings.items())
        return f"{type(self).__name__}({settings})"

    @property
    def _settings(self) -> dict[str, Any]:
        plain = (bool, int, float, str, tuple)
        return {name: value for name, value in vars(self).items() if isinstance(value, plain)}

    def relabel(self, mapping: Mapping[int, int]) -> None:  # noqa: B027 - most hold no groups
        """Give groups other numbers; statistics without groups have nothing to do."""

    def state_dict(self) -> State:
        """A copy of the state, to save or to send."""
        return {name: tensor.clone() for name, tensor in self.state.items()}

    @torch.inference_mode(mode=False)
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replace the state by one from `state_dict`, put where this accumulator's device is.

        Raises:
            MergeError: the state belongs to another kind of accumulator or other settings; what
                this accumulator held is kept.
        """
        before = self.state
        self.reset()
        if not state:
            return
        try:
            self.check(state)
            self.absorb(self._placed({name: tensor.clone() for name, tensor in state.items()}))
        except (KeyError, RuntimeError, MergeError) as error:
            self.state = before
            raise MergeError(
                f"this state does not fit {self!r}: {error}; load it into an accumulator made with "
                "the same settings"
            ) from error

    def unfed(self) -> Self:
        """Another with the same settings and device that has seen nothing."""
        return copy.deepcopy(self, {id(self.state): {}})

    def reset(self) -> None:
        """Forget everything seen; settings stay."""
        self.state = {}

    @torch.inference_mode(mode=False)
    def to(self, device: torch.device | str) -> Self:
        """Move the state to a device, except what stays `on_cpu`, and return this accumulator."""
        self.device = torch.device(device)
        self.state = self._placed(self.state)
        return self

    def _placed(self, state: State) -> State:
        return {
            name: tensor if name in self.on_cpu else tensor.to(self.device or tensor.device)
            for name, tensor in state.items()
        }

    @property
    def nbytes(self) -> int:
        """Bytes of the state; before any update, of what `slots` knows the size of."""
        if not self.state:
            return sum(slot.nbytes for slot in self.slots.values())
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

    @torch.inference_mode(mode=False)
    def commit(self) -> None:
        """Absorb what waits, in order."""
        for accumulator, state in self.pending:
            accumulator.absorb(state)
        self.pending.clear()

    def discard(self, accumulators: set[int]) -> None:
        """Forget what waits for these accumulators (by ``id``)."""
        self.pending = [entry for entry in self.pending if id(entry[0]) not in accumulators]
