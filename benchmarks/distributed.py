"""Two processes with one thread each beside one such process on the same loader."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Iterator
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
    one, two, merging = measured()
    setup = f"{LAYERS} layers of {WIDTH} units, {ROWS:,} rows in batches of {BATCH}"
    yield Comparison("class_selectivity, 2 processes", two, one, "1 process", "s", setup)
    said = f"{setup}; ours is the merge of 2 processes in results()"
    yield Comparison("merging", merging, one, "the whole run in 1 process", "s", said)


def measured() -> tuple[float, float, float]:
    """Median seconds: the run in one process, in two, and merging what two have seen."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answers = mp.get_context("spawn").SimpleQueue()
    mp.spawn(_process, (port, answers), nprocs=2)
    return answers.get()


def _process(rank: int, port: int, answers: SimpleQueue[tuple[float, float, float]]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    alone, together = _probe(distributed=False), _probe(distributed="auto")
    times: list[tuple[float, float, float]] = []
    for _ in range(1 + REPEATS):
        one = _seconds(lambda: alone.run(_loader(), progress=False) if rank == 0 else None)
        two = _seconds(lambda: together.run(_loader(), progress=False))
        times.append((one, two, _seconds(together.results)))
    if rank == 0:
        one, two, merging = (statistics.median(taken) for taken in zip(*times[1:], strict=True))
        answers.put((one, two, merging))
    torch.distributed.destroy_process_group()


def _seconds(work: object) -> float:
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
