"""The ``torchprobe`` command: what is installed, what a results folder holds, and plugins' own."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from torchprobe import launch
from torchprobe.errors import PluginWarning, TorchprobeError
from torchprobe.plugins import NOT_INSTALLED, plugins
from torchprobe.results import load
from torchprobe.version import __version__
from torchprobe.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torchprobe.hookspecs import Subparsers

__all__ = ["main"]

_FAILED, _INTERRUPTED, _BROKEN_PIPE = (
    2,
    130,
    141,
)  # the last two: 128 + the signal, as shells say it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status.

    Args:
        arguments: what follows ``torchprobe``, from the command line by default.
    """
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            status = _run(sys.argv[1:] if arguments is None else arguments)
            sys.stdout.flush()  # here, where a pipe that was closed can still be dealt with
        except BrokenPipeError:  # what is still buffered must not raise again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return _BROKEN_PIPE
        except (TorchprobeError, OSError) as error:
            print("torchprobe:", " ".join(str(error).split()), file=sys.stderr)
            return _FAILED
        except KeyboardInterrupt:
            print("torchprobe: interrupted", file=sys.stderr)
            return _INTERRUPTED
    return status


def _run(arguments: Sequence[str]) -> int:
    parser, subparsers = _parser()
    if not set(arguments[:1]) & {*subparsers.choices, "--version"}:
        plugins().commands(subparsers)  # only now: torchprobe's own commands need not wait for them
    options = parser.parse_args(arguments)
    return options.run(options) or 0


def _parser() -> tuple[argparse.ArgumentParser, Subparsers]:
    parser = argparse.ArgumentParser(
        prog="torchprobe", description="Ask a PyTorch model what its layers encode."
    )
    parser.add_argument("--version", action="version", version=f"torchprobe {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_plugins(subparsers)
    launch.add_run(subparsers)
    _add_show(subparsers)
    _add_report(subparsers)
    return parser, subparsers


# -- torchprobe plugins


def _add_plugins(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("plugins", help="list what is installed and what failed to load")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(run=_plugins)


def _plugins(options: argparse.Namespace) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)  # the list says it all
        loaded, failed = plugins().loaded, plugins().failed
    if options.json:
        print(json.dumps({"loaded": [*map(asdict, loaded)], "failed": [*map(asdict, failed)]}))
        return
    rows = [(p.name, p.source, ", ".join(p.analyzers) or "-", p.path) for p in loaded]
    print(_table(["plugin", "from", "analyzers", "path"], rows) if rows else NOT_INSTALLED)
    for failure in failed:
        print(f"\n{failure}")


# -- torchprobe show, torchprobe report


def _add_show(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("show", help="print a folder of results as tables")
    parser.add_argument("folder", type=Path, help="what results.save() wrote")
    parser.set_defaults(run=_show)


def _show(options: argparse.Namespace) -> None:
    results = load(options.folder)
    print(results)
    for analyzer, layers in results.items():
        table = layers.to_frame().dropna(axis="columns", how="all")
        safe = table.map(lambda cell: printable(cell) if isinstance(cell, str) else cell)
        print(f"\n{printable(analyzer)}\n{safe.to_string(index=False)}")


def _add_report(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("report", help="write a folder of results as one HTML page")
    parser.add_argument("folder", type=Path, help="what results.save() wrote")
    parser.add_argument("--out", type=Path, help="the page; FOLDER/report.html by default")
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> None:
    from torchprobe import report  # jinja2 and matplotlib

    page = options.out or options.folder / "report.html"
    report.write(load(options.folder), page)
    print(page)


# -- printing


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, the last one ragged."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    cells = (
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines
    )
    return "\n".join("  ".join(line).rstrip() for line in cells)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning on one line; which line of torchprobe gave it helps nobody at a terminal."""
    print("torchprobe: warning:", " ".join(str(message).split()), file=sys.stderr)
