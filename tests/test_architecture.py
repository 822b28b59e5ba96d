"""Imports go downwards, plugins stand alone, and importing torchprobe stays light."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = [
    "errors version wording options sample_ids positions matching",
    (
        "axes accumulators numerics storage documents tables compat sandbox threads compiled naming"
        " vectors patterns outputs"
    ),
    (
        "fields result results drift history comparison archive layer batch network analyzer"
        " class_names labels groupings training_loss"
    ),
    "objective hookspecs registry discovery plugins selection layouts",
    (
        "loading coverage gradients sensitivity waiting hooks receptive_fields turns forks backward"
        " stream"
    ),
    "state distributed buffers merging portions checkpoint course compute design",
    "record attachment run",
    "configured probe layer_table optimal_input windows",
    "callbacks plotting report",
    "testing launch cli __main__",
]
"""The modules of torchprobe from the bottom up; each imports its own floor and those below."""

EXCEPTIONS = {
    ("results", "plotting"): "inside Results.plot(): a result knows how to ask for its picture",
    ("results", "report"): "inside Results.report(): likewise",
    ("history", "plotting"): "inside History.plot(): likewise",
    ("history", "report"): "inside History.report(): likewise",
    ("hookspecs", "plotting"): "types only: a hook names what plugins hand over",
    ("hookspecs", "report"): "types only: likewise",
    ("plugins", "plotting"): "types only: the facade returns what the hooks return",
    ("plugins", "report"): "types only: likewise",
}

HEAVY = (
    "captum",
    "ignite",
    "lightning",
    "matplotlib",
    "numba",
    "openTSNE",
    "pandas",
    "pytorch_lightning",
    "scipy.cluster",
    "sklearn",
    "torchaudio",
    "transformers",
    "umap",
)


class Import(NamedTuple):
    """One imported module, wherever in the file the statement stands."""

    path: Path
    line: int
    module: str
    types_only: bool

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} imports {self.module}"


class _Imports(ast.NodeVisitor):
    """Collects the imports of a file: at the top, in functions, under TYPE_CHECKING."""

    def __init__(self, path: Path) -> None:
        self.path, self.found, self.types_only = path, [], False
        self.visit(ast.parse(path.read_text()))

    def add(self, node: ast.stmt | ast.expr, module: str) -> None:
        self.found.append(Import(self.path, node.lineno, module, self.types_only))

    def visit_If(self, node: ast.If) -> None:
        outside = self.types_only
        self.types_only |= ast.unparse(node.test).endswith("TYPE_CHECKING")
        for child in node.body:
            self.visit(child)
        self.types_only = outside
        for child in node.orelse:
            self.visit(child)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.add(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = ".".join([*self.package(node.level), *(node.module or "").split(".")]).strip(".")
        if module in {"torchprobe", "plugins"}:  # from torchprobe import compat
            for alias in node.names:
                self.add(node, f"{module}.{alias.name}")
        else:
            self.add(node, module)

    def visit_Call(self, node: ast.Call) -> None:
        if ast.unparse(node.func).endswith("import_module") and isinstance(
            node.args[0], ast.Constant
        ):
            self.add(node, node.args[0].value)
        self.generic_visit(node)

    def package(self, level: int) -> tuple[str, ...]:
        """The package that so many leading dots mean."""
        inside = self.path.relative_to(ROOT).parts
        inside = inside[1:] if inside[0] == "plugins" else inside
        return inside[:-level] if level else ()


def imports(folder: str) -> list[Import]:
    """All imports of a folder's Python files."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return [each for path in paths for each in _Imports(path).found]


def modules() -> dict[str, Path]:
    """torchprobe's modules and subpackages, by name."""
    paths = [*(ROOT / "torchprobe").glob("*.py"), *(ROOT / "torchprobe").glob("*/__init__.py")]
    names = {path: path.stem if path.stem != "__init__" else path.parent.name for path in paths}
    return {name: path for path, name in names.items() if name != "torchprobe"}


FLOOR = {module: floor for floor, line in enumerate(FLOORS) for module in line.split()}
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/__init__.py"))


def owner(path: Path) -> str:
    """The module or subpackage of torchprobe that a file belongs to."""
    return path.relative_to(ROOT / "torchprobe").with_suffix("").parts[0]


def test_every_module_has_a_floor():
    homeless = set(modules()) - set(FLOOR)
    assert not homeless, f"place {sorted(homeless)} on one of FLOORS in {Path(__file__).name}"


def test_core_imports_only_downwards():
    upwards = []
    for each in imports("torchprobe"):
        importer, parts = owner(each.path), each.module.split(".")
        if importer == "__init__" or parts[0] != "torchprobe":
            continue  # torchprobe itself offers what all floors hold
        assert len(parts) > 1, f"{each}; inside torchprobe, import the module that defines it"
        if (importer, parts[1]) in EXCEPTIONS or parts[1] not in FLOOR:
            continue
        if FLOOR[parts[1]] > FLOOR.get(importer, 0):
            upwards.append(f"{each}: floor {FLOOR.get(importer)} to {FLOOR[parts[1]]}")
    assert not upwards, "\n".join(upwards)


def test_exceptions_are_in_use_and_say_why():
    used = {
        (owner(each.path), each.module.split(".")[1]): each
        for each in imports("torchprobe")
        if each.module.startswith("torchprobe.")
    }
    for pair, reason in EXCEPTIONS.items():
        assert pair in used, f"nothing imports that way any more; drop {pair} from EXCEPTIONS"
        assert reason
        assert used[pair].types_only or not reason.startswith("types only"), str(used[pair])


def test_core_imports_only_what_it_defines():
    known = set(modules())
    for each in imports("torchprobe"):
        if each.module.startswith("torchprobe.") and owner(each.path) != "__init__":
            assert each.module.split(".")[1] in known, f"{each}, which is no module of torchprobe"


def test_plugins_import_torchprobe_but_never_each_other():
    for each in imports("plugins"):
        importer = each.path.relative_to(ROOT / "plugins").parts[0]
        other = each.module.split(".")[0]
        assert other not in PLUGINS or other == importer, str(each)


def test_core_names_no_plugin():
    for path in (ROOT / "torchprobe").rglob("*.py"):
        for plugin in PLUGINS:
            assert not re.search(rf"\b{plugin}\b", path.read_text()), f"{path} names {plugin}"


@pytest.mark.parametrize("folder", ["torchprobe", "plugins", "tests", "examples", "benchmarks"])
def test_nobody_imports_a_second_copy_of_a_plugin(folder):
    for each in imports(folder):  # other classes of the same name: isinstance would fail
        assert each.module.split(".")[0] != "plugins", f"{each}; drop the 'plugins.'"


def test_importing_torchprobe_loads_nothing_heavy_and_no_plugin():
    code = (
        "import torch, sys; before = set(sys.modules); import torchprobe, torchprobe.cli;"
        "print(*set(sys.modules) - before)"
    )
    run = [sys.executable, "-c", code]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(run, capture_output=True, text=True, check=True, cwd="/", env=env)
    loaded = done.stdout.split()
    assert "torchprobe.plugins" in loaded
    for name in [*HEAVY, *PLUGINS]:
        assert not [each for each in loaded if (each + ".").startswith(name + ".")], name
