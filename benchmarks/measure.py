"""Measuring two ways of doing the same work fairly: interleaved, in one run, as a ratio."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Work = Callable[[], object]


@dataclass(frozen=True)
class Comparison:
    """What the same work costs us and a rival; ``ratio`` = rival / ours, above 1 favours us."""

    name: str
    ours: float
    rival: float
    rival_name: str
    unit: str
    setup: str

    @property
    def ratio(self) -> float:
        return self.rival / self.ours

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio}

    def __str__(self) -> str:
        return (
            f"{self.name}: ours {self.ours:.4g} {self.unit}, {self.rival_name} "
            f"{self.rival:.4g} {self.unit}, ratio {self.ratio:.3f} ({self.setup})"
        )


def seconds(*works: Work, repeats: int = 9, warm: int = 2) -> list[float]:
    """The fastest of several runs of each work, taken in turns.

    Whatever else a machine does only ever slows a run down, and it slows down what waits for memory
    more than what computes: medians would tell more of the neighbours than of the works.
    """
    for work in works:
        for _ in range(warm):
            work()
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, taken in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
    return [min(taken) for taken in times]


def overhead(plain: Work, extra: Work, repeats: int = 41) -> tuple[float, float]:
    """`seconds` of two works for differences of a few per cent: in pairs, each first in turn."""
    for work in (plain, extra, plain, extra):
        work()
    pairs = [_pair(plain, extra, flip=bool(i % 2)) for i in range(repeats)]
    return min(one for one, _ in pairs), min(two for _, two in pairs)


def _pair(plain: Work, extra: Work, *, flip: bool) -> tuple[float, float]:
    order = (extra, plain) if flip else (plain, extra)
    taken = []
    for work in order:
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return (taken[1], taken[0]) if flip else (taken[0], taken[1])


def peak_bytes(work: Callable[..., object], *args: object) -> int:
    """Peak memory that some work adds, in a fresh process; ``work`` must be importable."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak, (work, args))


def _peak(work: Callable[..., object], args: Iterable[object]) -> int:
    before = _memory("VmRSS")
    work(*args)
    return _memory("VmHWM") - before


def _memory(name: str) -> int:
    """Bytes that this process holds or once held.

    Not getrusage: a fresh process inherits the peak of the one that started it.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024
