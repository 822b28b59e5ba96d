"""The command says things on one line, ends with an honest status, leaves the rest to plugins."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from torchprobe import cli
from torchprobe.analyzer import Analyzer
from torchprobe.cli import main
from torchprobe.discovery import FailedPlugin
from torchprobe.errors import LayerNotFoundError, PluginWarning
from torchprobe.hookspecs import hookimpl
from torchprobe.plugins import NOT_INSTALLED, Plugins
from torchprobe.results import Field, LayerResults, Result, Results
from torchprobe.version import __version__


class Mine(Analyzer):
    name = "mine"


class Commands:
    """A plugin whose command does what the test says."""

    def __init__(self, run):
        self.run = run

    @hookimpl
    def torchprobe_commands(self, subparsers):
        parser = subparsers.add_parser("census", help="count units")
        parser.add_argument("folder", nargs="?")
        parser.set_defaults(run=self.run)


@pytest.fixture
def found(monkeypatch):
    """Stands in for this process's plugins."""
    found = Plugins("torchprobe_tests")
    monkeypatch.setattr(cli, "plugins", lambda: found)
    return found


def census(found, run, *arguments):
    """Run a plugin's command."""
    found.register(Commands(run))
    return main(["census", *arguments])


def test_plugins_are_listed_with_what_they_offer_and_where_they_are(found, capsys):
    found.register(Mine)
    assert main(["plugins"]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["plugin", "from", "analyzers", "path"]
    assert line[header.index("from") : header.index("analyzers")].strip() == "registered by hand"
    assert line[header.index("analyzers") :].split() == ["mine", __file__]


def test_what_failed_to_load_is_listed_once_with_the_cause(found, capsys):
    found.register(Mine)
    found._load()
    found._failed.append(FailedPlugin("boom", "boom-dist", "2", "OSError: lib.so"))
    assert main(["plugins"]) == 0
    out, err = capsys.readouterr()
    assert "plugin 'boom' of boom-dist 2 was left out, the rest works: OSError: lib.so" in out
    assert err == ""


def test_the_json_list_is_for_machines(found, capsys):
    found.register(Mine, name="my plugin")
    found._load()
    found._failed.append(FailedPlugin("boom", "boom-dist", "2", "OSError: lib.so"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)
        assert main(["plugins", "--json"]) == 0
    lists = json.loads(capsys.readouterr().out)
    assert lists["loaded"][0]["name"] == "my plugin"
    assert lists["loaded"][0]["analyzers"] == ["mine"]
    assert lists["failed"] == [
        {"name": "boom", "distribution": "boom-dist", "version": "2", "error": "OSError: lib.so"}
    ]


def test_without_plugins_the_remedy_is_printed(found, capsys):
    assert main(["plugins"]) == 0
    assert capsys.readouterr().out.strip() == NOT_INSTALLED


def test_a_plugin_adds_a_command_and_its_status_is_the_exit_status(found):
    seen = []
    assert census(found, lambda options: seen.append(options.folder), "here") == 0
    assert seen == ["here"]
    assert census(found, lambda options: 5) == 5


def test_help_lists_the_commands_of_plugins_beside_our_own(found, capsys):
    found.register(Commands(None))
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    out = capsys.readouterr().out
    for command in ("plugins", "show", "report", "census"):
        assert f"    {command}" in out


@pytest.mark.parametrize("arguments", [[], ["sensus"], ["plugins", "--jsn"]])
def test_a_mistyped_command_is_explained_with_status_2(found, capsys, arguments):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: torchprobe" in capsys.readouterr().err


def raising(error):
    """A command that ends with an error."""

    def run(options):
        raise error

    return run


@pytest.mark.parametrize(
    "error", [LayerNotFoundError("no layer 'a';\n did you mean 'b'?"), OSError("no layer 'a'; d")]
)
def test_an_error_is_one_line_and_status_2(found, capsys, error):
    assert census(found, raising(error)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("torchprobe: no layer 'a'; d")
    assert err.count("\n") == 1


def test_a_bug_keeps_its_traceback(found):
    with pytest.raises(ZeroDivisionError):
        census(found, raising(ZeroDivisionError()))


def test_an_interrupt_is_status_130(found, capsys):
    assert census(found, raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "torchprobe: interrupted\n"


def test_a_warning_is_one_line_and_warnings_are_as_before_afterwards(found, capsys):
    def run(options):
        warnings.warn("two\nlines", PluginWarning, stacklevel=1)

    before = warnings.showwarning, list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        census(found, run)
    assert capsys.readouterr().err == "torchprobe: warning: two lines\n"
    assert (warnings.showwarning, list(warnings.filters)) == before


@pytest.fixture
def folder(tmp_path):
    """A folder of saved results; one layer's name would clear the screen."""
    numbers = {"1": 0.25, "\x1b[2J": 0.5}
    dead = [
        Result("dead_units", layer, fields={"share": Field("", number), "dead": Field("unit", [1])})
        for layer, number in numbers.items()
    ]
    Results({"dead_units": LayerResults(dead)}).save(tmp_path / "out")
    return tmp_path / "out"


def test_show_prints_the_numbers_of_each_layer(folder, capsys):
    assert main(["show", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[lines.index("dead_units") + 1 :]
    assert [line.split() for line in table] == [
        ["layer", "share"],
        ["1", "0.25"],
        [r"\x1b[2J", "0.50"],
    ]
    assert all(line.isprintable() for line in lines)


def test_report_writes_the_page_into_the_folder_or_where_asked(folder, tmp_path, capsys):
    for page, out in ((folder / "report.html", []), (tmp_path / "p.html", ["--out", "p.html"])):
        with contextlib.chdir(tmp_path):
            assert main(["report", str(folder), *out]) == 0
        assert Path(capsys.readouterr().out.strip()).name == page.name
        assert "0.25" in page.read_text()


@pytest.mark.parametrize("command", ["show", "report"])
def test_a_folder_without_results_is_an_error_of_one_line(tmp_path, capsys, command):
    assert main([command, str(tmp_path / "nothing")]) == 2
    err = capsys.readouterr().err
    assert "nothing" in err
    assert err.count("\n") == 1


def test_our_own_commands_do_not_wait_for_plugins(found):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert found._waiting is None


def torchprobe(*arguments, **options):
    """`python -m torchprobe` in a process of its own."""
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    command = [sys.executable, "-m", "torchprobe", *arguments]
    return subprocess.Popen(command, cwd="/", text=True, env=environment, **options)


def test_the_module_runs_and_tells_its_version():
    process = torchprobe("--version", stdout=subprocess.PIPE)
    out, _ = process.communicate()
    assert (process.returncode, out) == (0, f"torchprobe {__version__}\n")


def test_a_closed_pipe_is_no_traceback():
    reading, writing = os.pipe()
    os.close(reading)
    process = torchprobe("plugins", "--json", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    _, err = process.communicate()
    assert process.returncode == 141
    assert "Error" not in err
