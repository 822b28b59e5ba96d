"""What is shipped is what is meant, and a plugin from elsewhere is found beside it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from torchprobe.version import __version__

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ENTRY_POINTS = PYPROJECT["project"]["entry-points"]["torchprobe"]
PLUGINS = {path.parent.name for path in ROOT.glob("plugins/*/__init__.py")}
EXAMPLE = ROOT / "examples" / "third_party_plugin"


def pip(python: Path | str, *arguments: str | Path) -> None:
    """Run pip without index or build isolation: nothing is downloaded."""
    command = [python, "-m", "pip", *arguments, "--quiet", "--no-index", "--no-build-isolation"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names of the files in torchprobe's wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_torchprobe_its_plugins_and_nothing_else(wheel):
    version = PYPROJECT["project"]["version"]
    expected = {"torchprobe", f"torchprobe-{version}.dist-info", *PLUGINS}
    assert {name.split("/")[0] for name in wheel} == expected


def test_the_wheel_holds_every_module_and_the_type_marker(wheel):
    assert "torchprobe/py.typed" in wheel
    for base, folder in ((ROOT, "torchprobe"), *((ROOT / "plugins", name) for name in PLUGINS)):
        for path in (base / folder).rglob("*.py"):
            assert str(path.relative_to(base)) in wheel


def test_every_plugin_folder_has_an_entry_point_and_the_other_way_round():
    folders = {path.name for path in ROOT.glob("plugins/*") if path.name != "__pycache__"}
    assert (
        folders == PLUGINS == {value.split(":")[0].split(".")[0] for value in ENTRY_POINTS.values()}
    )


def test_what_is_installed_here_knows_every_entry_point():
    installed = metadata.distribution("torchprobe").entry_points.select(group="torchprobe")
    known = {entry.name: entry.value for entry in installed}
    assert known == ENTRY_POINTS, "run pip install -e . again: entry points are read at install"


def test_the_package_and_its_metadata_tell_one_version():
    assert PYPROJECT["project"]["version"] == metadata.version("torchprobe") == __version__


def test_plugins_is_a_folder_and_no_package():
    assert not (ROOT / "plugins" / "__init__.py").exists()


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """The Python of a new environment that sees this one's packages and has the example plugin."""
    folder = tmp_path_factory.mktemp("third_party") / "env"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    site = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    outside = [path for path in sys.path if path.endswith("-packages")]
    # addsitedir, not a bare path: the .pth files there hold torchprobe's own editable install
    lines = [f"import site; site.addsitedir({path!r})" for path in outside]
    (site / "around.pth").write_text("\n".join(lines))
    pip(python, "install", "--no-deps", EXAMPLE)
    return python


def test_a_third_party_plugin_is_found_beside_torchprobe(beside):
    command = [beside, "-m", "torchprobe", "plugins", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    loaded = {plugin["name"]: plugin for plugin in json.loads(done.stdout)["loaded"]}
    assert loaded["dead"]["distribution"] == "torchprobe-dead"
    assert loaded["dead"]["version"] == "1.0"
    assert loaded["dead"]["analyzers"] == ["dead_units"]
    assert str(beside.parents[1]) in loaded["dead"]["path"]
    assert set(ENTRY_POINTS) < set(loaded)
