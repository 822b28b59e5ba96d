"""Several processes: messages that cannot hang, and tensors once all have agreed on their shapes.

Every process gathers its own part. To merge, each first tells the others what it holds, through the
store of ``torch.distributed`` (which every backend has); all check all of it and raise the same
error, before a single tensor is sent. Tensors travel on the CPU, in a gloo group of their own with
a timeout of its own, one process after another, and are added in the order of ranks: so that all
processes end with the same bits.
"""

from __future__ import annotations

import itertools
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from torchprobe import compat
from torchprobe.documents import dumps, loads
from torchprobe.errors import DistributedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

__all__ = ["Team", "place", "team", "telling"]

T = TypeVar("T")

_BUCKET = 64 << 20
"""Bytes sent at once: enough that the number of messages costs nothing."""
_NAP = 0.05
"""Seconds between two looks for a message, at most."""
_SAID, _FAILED = b"+", b"-"
_serials = itertools.count()
"""Numbers of exchanges; all processes make the same ones in the same order."""
_groups: dict[float, tuple[Any, Any]] = {}
"""By timeout: the default group, and the group for tensors that was made beside it."""


def team(timeout: float) -> Team | None:
    """The processes that work together; None where there is but one.

    Args:
        timeout: seconds that one waits for another.
    """
    rank, size = place()
    return None if size == 1 else Team(rank, size, timeout)


def place() -> tuple[int, int]:
    """Which of the processes this is, and of how many; (0, 1) where it is alone."""
    dist = torch.distributed
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


@contextmanager
def telling(processes: Team | None) -> Iterator[None]:
    """Tell the others of an error that ends this process's part, unless they are its cause."""
    try:
        yield
    except BaseException as error:
        if processes is not None and not isinstance(error, DistributedError):
            processes.fail(error)
        raise


class Team:
    """The processes of ``torch.distributed``, as one of them sees it.

    Args:
        rank: which of them this is.
        size: how many there are.
        timeout: seconds that one waits for another.
    """

    def __init__(self, rank: int, size: int, timeout: float) -> None:
        self.rank, self.size, self.timeout = rank, size, timeout
        self.store = compat.default_store("torchprobe")

    def exchange(self, message: Any, to: str) -> list[Any]:
        """What every process says, by rank; all must call this, in the same order.

        Args:
            message: a document, as `torchprobe.documents` knows them.
            to: what it is for, for the message where a process does not come.

        Raises:
            DistributedError: another process failed, or did not come within the timeout.
        """
        serial = next(_serials)
        self._say(serial, _SAID + dumps({"to": to, "message": message}))
        try:
            said = [self._heard(serial, rank, to) for rank in range(self.size)]
        except DistributedError as error:
            self._say(serial, _FAILED + str(error).encode())
            raise
        if serial:  # all have answered this one, so all have read the one before
            self.store.delete_key(f"{serial - 1}/{self.rank}")
        return said

    def fail(self, error: BaseException) -> None:
        """Tell the others, who wait or will wait, that this process does not come."""
        try:
            self._say(next(_serials), _FAILED + f"{type(error).__name__}: {error}"[:2000].encode())
        except DistributedError:  # they are gone; what ended this process is what matters
            return

    def all_or_none(self, work: Callable[[], T], to: str) -> T:
        """What some work gives, once it has succeeded everywhere.

        Raises:
            DistributedError: it failed in another process; in those where it failed, its own error.
        """
        try:
            done = work()
        except Exception as error:
            self.fail(error)
            raise
        self.exchange("done", to)
        return done

    def broadcast(self, tensors: Sequence[Tensor], source: int) -> list[Tensor]:
        """The tensors of one process, on the CPU.

        Args:
            tensors: what is sent; elsewhere tensors of the same dtypes and shapes, maybe meta.
            source: whose.

        Raises:
            DistributedError: a process has gone.
        """
        group = self._group()
        arrived: list[Tensor] = []
        for bucket in _buckets(tensors):
            if self.rank == source:
                flat = torch.cat([_bytes(tensor) for tensor in bucket])
            else:
                flat = torch.empty(sum(tensor.nbytes for tensor in bucket), dtype=torch.uint8)
            self._told("send tensors", lambda: torch.distributed.broadcast(flat, source, group))  # noqa: B023
            arrived += _restored(flat, bucket)
        return arrived

    def _group(self) -> Any:
        """A gloo group beside the default one, with this timeout; made once."""
        world = torch.distributed.group.WORLD
        known = _groups.get(self.timeout)
        if known is None or known[0] is not world:
            wait = timedelta(seconds=self.timeout)
            made = self._told(
                "make a group",
                lambda: torch.distributed.new_group(backend="gloo", timeout=wait),
            )
            known = _groups[self.timeout] = world, made
        return known[1]

    def _told(self, what: str, work: Callable[[], T]) -> T:
        try:
            return work()
        except RuntimeError as error:  # all of torch.distributed's errors are
            raise DistributedError(
                f"process {self.rank} of {self.size} could not {what}: {error}; another process "
                "has probably ended, whose output says why"
            ) from error

    def _say(self, serial: int, text: bytes) -> None:
        self._told("send a message", lambda: self.store.set(f"{serial}/{self.rank}", text))

    def _heard(self, serial: int, rank: int, to: str) -> Any:
        key, until, nap = f"{serial}/{rank}", time.monotonic() + self.timeout, 0.001
        while not self._told("ask for messages", lambda: self.store.check([key])):
            if time.monotonic() > until:
                raise DistributedError(
                    f"process {rank} did not come to {to} within {self.timeout:g} seconds: it "
                    "ended, hangs, is slower than that (distributed_timeout=), or never asks. Call "
                    "run() and results() in every process, or say Probe(distributed=False) to "
                    "let this one be alone"
                )
            time.sleep(nap)
            nap = min(2 * nap, _NAP)
        text = self._told("read a message", lambda: self.store.get(key))
        if text[:1] == _FAILED:
            raise DistributedError(f"process {rank} failed: {text[1:].decode(errors='replace')}")
        found = loads(text[1:], f"the message of process {rank}")
        if found["to"] != to:
            raise DistributedError(
                f"process {rank} wants to {found['to']} and process {self.rank} to {to}: every "
                "process must go through the same splits and passes, and ask for results together"
            )
        return found["message"]


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours that are sent together; a large one by itself."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(each.nbytes for each in bucket) + tensor.nbytes > _BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8)


def _restored(flat: Tensor, bucket: Sequence[Tensor]) -> Iterator[Tensor]:
    """The tensors whose bytes these are, each in memory of its own, which aligns it."""
    for like, part in zip(bucket, flat.split([each.nbytes for each in bucket]), strict=True):
        yield part.clone().view(like.dtype).view(like.shape)
