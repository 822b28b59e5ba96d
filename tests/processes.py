"""Several processes with gloo between them, which run a function each and say what came of it."""

from __future__ import annotations

import os
import socket
import traceback
from datetime import timedelta

import torch
import torch.multiprocessing as mp

_WAIT = 120


class Processes:
    """Workers that are kept: starting one imports torch, which takes seconds."""

    def __init__(self, size: int) -> None:
        self.size = size
        context = mp.get_context("spawn")
        port = free_port()
        self.pipes, self.workers = [], []
        for rank in range(size):
            ours, theirs = context.Pipe()
            worker = context.Process(target=_work, args=(rank, size, port, theirs))
            worker.start()
            theirs.close()  # else nobody would notice that it died
            self.pipes.append(ours)
            self.workers.append(worker)

    def run(self, function, *args):
        """What the function gives in each process, by rank; errors are given, not raised."""
        for pipe in self.pipes:
            pipe.send((function, args))
        return [self._answer(pipe) for pipe in self.pipes]

    def _answer(self, pipe):
        if not pipe.poll(_WAIT):
            raise TimeoutError("a process hangs")
        try:
            return pipe.recv()
        except EOFError:
            return None  # it died

    def close(self) -> None:
        """End the processes."""
        for worker in self.workers:
            worker.kill()
            worker.join()


def succeed(answers):
    """What the processes gave; an error that one of them gave is raised."""
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


def free_port() -> int:
    """One at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _work(rank: int, size: int, port: int, pipe) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group(
        "gloo", rank=rank, world_size=size, timeout=timedelta(seconds=60)
    )
    while True:
        function, args = pipe.recv()
        try:
            answer = function(rank, *args)
        except Exception as error:  # noqa: BLE001 - told to the test
            error.add_note(traceback.format_exc())
            answer = error
        pipe.send(answer)
