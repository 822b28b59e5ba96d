"""``torchprobe run``: a run over loaders, in one process or in as many as torchrun starts."""

from __future__ import annotations

import importlib
import os
import runpy
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from torchprobe.errors import SettingError
from torchprobe.probe import Probe

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from torchprobe.hookspecs import Subparsers

__all__ = ["add_run"]


def add_run(subparsers: Subparsers) -> None:
    """Add the command to a parser."""
    parser = subparsers.add_parser(
        "run",
        help="run a probe over loaders and save the results, also under torchrun",
        description=(
            "Run a probe over loaders and save the results. Started by torchrun, every process "
            "takes its share of the batches: torchrun --nproc-per-node 2 -m torchprobe run ..."
        ),
    )
    where = "FILE.py:NAME or MODULE:NAME"
    parser.add_argument("probe", help=f"{where}: a function that makes the Probe")
    parser.add_argument(
        "--data",
        required=True,
        help=f"{where}: a function that makes the loader, or a dictionary of these by split",
    )
    parser.add_argument("--out", required=True, type=Path, help="the folder for the results")
    parser.add_argument("--checkpoint", type=Path, help="a folder from which to go on if killed")
    parser.add_argument("--every", type=int, default=100, help="batches between two saves")
    parser.add_argument("--max-batches", type=int, help="stop each pass after so many")
    parser.add_argument("--device", help="where to put the model: cpu, cuda, ...")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    with _processes() as rank:
        probe = _made(options.probe, Probe)
        if options.device:
            probe.model.to(_own(torch.device(options.device)))
        loaders = _made(options.data, object)
        loaders = dict(loaders) if isinstance(loaders, Mapping) else {"fit": loaders}
        results = probe.run(
            **loaders,
            max_batches=options.max_batches,
            checkpoint=options.checkpoint,
            every=options.every,
            progress=None if rank == 0 else False,
        )
        if rank == 0:
            results.save(options.out)
            print(results)


@contextmanager
def _processes() -> Iterator[int]:
    """Join the processes that torchrun has started, if it has; this one's rank."""
    dist = torch.distributed
    started = int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ
    if not started or dist.is_initialized():
        yield dist.get_rank() if started else 0
        return
    dist.init_process_group("gloo")  # no gradients travel: states do, on the CPU
    try:
        yield dist.get_rank()
    finally:
        dist.destroy_process_group()


def _own(device: torch.device) -> torch.device:
    """The device of this process among those of its kind on the machine."""
    if device.type == "cpu" or device.index is not None:
        return device
    return torch.device(device.type, int(os.environ.get("LOCAL_RANK", "0")))


def _made(where: str, kind: type) -> Any:
    """What a function gives, named by its file or module.

    Raises:
        SettingError: there is no such function, or it gives something else.
    """
    source, _, name = where.rpartition(":")
    if not source or not name:
        raise SettingError(f"{where!r} names no function; write FILE.py:NAME or MODULE:NAME")
    function = _names(source).get(name)
    if not callable(function):
        raise SettingError(f"{source!r} has no function {name!r}")
    made = function()
    if not isinstance(made, kind):
        raise SettingError(f"{where!r} gave a {type(made).__name__}, not a {kind.__name__}")
    return made


def _names(source: str) -> Mapping[str, Any]:
    """What a file or module defines."""
    if source.endswith(".py"):
        if not Path(source).is_file():
            raise SettingError(f"there is no file {source!r}")
        return runpy.run_path(source)
    try:
        return vars(importlib.import_module(source))
    except ModuleNotFoundError as error:
        raise SettingError(f"{source!r} cannot be imported: {error}") from error
