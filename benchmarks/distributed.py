"""Two processes with one thread each beside one such process on the same loader."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable, Iterator
from multiprocessing.queues import SimpleQueue

import torch
import torch.multiprocessing as mp
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import torchprobe as tp
from benchmarks.measure import Comparison

LAYERS, WIDTH, ROWS, BATCH, CLASSES = 12, 512, 36_864, 128, 40
REPEATS = 2


def run() -> Iterator[Comparison]:
    runs, results = measured()
    setup = f"{LAYERS} layers of {WIDTH} units, {ROWS:,} rows in batches of {BATCH}"
    yield Comparison("a run, 2 processes", runs[1], runs[0], "1 process", "s", setup)
    said = f"{setup}; results() alone: merging states, clustering units"
    yield Comparison("its results, 2 processes", results[1], results[0], "1 process", "s", said)


def measured() -> list[tuple[float, float]]:
    """Median seconds in one process and in two: of a run, and of its results alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answers = mp.get_context("spawn").SimpleQueue()
    mp.spawn(_process, (port, answers), nprocs=2)
    return answers.get()


def _process(rank: int, port: int, answers: SimpleQueue[list[tuple[float, float]]]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    one, two = _probe(distributed=False), _probe(distributed="auto")
    works = (
        lambda: one.run(_loader(), progress=False) if rank == 0 else None,
        lambda: two.run(_loader(), progress=False),
        lambda: one.results() if rank == 0 else None,
        two.results,
    )
    times = [[_seconds(work) for work in works] for _ in range(1 + REPEATS)][1:]
    if rank == 0:
        medians = [statistics.median(taken) for taken in zip(*times, strict=True)]
        answers.put([(medians[0], medians[1]), (medians[2], medians[3])])
    torch.distributed.destroy_process_group()


def _seconds(work: Callable[[], object]) -> float:
    """How long it takes until all processes have done their work."""
    torch.distributed.barrier()
    start = time.perf_counter()
    work()
    torch.distributed.barrier()
    return time.perf_counter() - start


def _probe(**options: object) -> tp.Probe:
    torch.manual_seed(0)
    blocks = [each for _ in range(LAYERS) for each in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
    return tp.Probe(nn.Sequential(*blocks), nn.ReLU, ["class_selectivity"], **options)


def _loader() -> DataLoader[tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(ROWS, WIDTH, generator=generator)
    return DataLoader(TensorDataset(rows, torch.arange(ROWS) % CLASSES), batch_size=BATCH)


if __name__ == "__main__":
    for each in run():
        print(each)
