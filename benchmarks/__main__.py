"""Run benchmarks: `python -m benchmarks [--only NAME] [--json FILE]`."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import platform
from pathlib import Path

import torch

import benchmarks
from benchmarks.measure import Comparison


def main() -> None:
    """Each module of this folder with a function ``run`` is a benchmark of its name."""
    names = sorted(
        module.name
        for module in pkgutil.iter_modules(benchmarks.__path__)
        if module.name not in ("__main__", "measure")
    )
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--only", choices=names, action="append", help="one benchmark; repeatable")
    parser.add_argument("--json", type=Path, help="write the comparisons to this file as well")
    options = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}"
    )
    found: list[Comparison] = []
    for name in options.only or names:
        print(f"\n{name}")
        for comparison in importlib.import_module(f"benchmarks.{name}").run():
            print(f"  {comparison}", flush=True)
            found.append(comparison)
    if options.json:
        options.json.write_text(json.dumps([each.to_dict() for each in found], indent=2) + "\n")


if __name__ == "__main__":
    main()
