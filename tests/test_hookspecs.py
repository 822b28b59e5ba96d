"""Every hook is used by a plugin of our own and documented word for word."""

from __future__ import annotations

import ast
import inspect
import re
from argparse import ArgumentParser
from pathlib import Path

import pytest
import torch

import torchprobe
from torchprobe import hookspecs
from torchprobe.plugins import Plugins
from torchprobe.registry import HOOKS
from torchprobe.testing import check_analyzer

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "plugins.md").read_text()
EXAMPLE = ROOT / "examples" / "third_party_plugin"


def signature(hook: str) -> str:
    """A hook's line of definition, as written."""
    return hook + str(inspect.signature(getattr(hookspecs, hook))).replace("'", "")


def implementations() -> set[str]:
    """Names of the marked functions in the plugins we ship and the example."""
    marked = set()
    for path in [*ROOT.glob("plugins/*/**/*.py"), *EXAMPLE.glob("*/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                decorators = {ast.unparse(each).split("(")[0] for each in node.decorator_list}
                if decorators & {"hookimpl", "torchprobe.hookimpl", "tp.hookimpl"}:
                    marked.add(node.name)
    return marked


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_exact_signature(hook):
    assert f"\n    {signature(hook)}\n" in GUIDE


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_used_by_a_plugin_of_our_own(hook):
    assert hook in implementations()


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_says_what_it_is_for(hook):
    doc = inspect.getdoc(getattr(hookspecs, hook))
    assert doc.splitlines()[0].endswith((".", "layer."))
    for argument in inspect.signature(getattr(hookspecs, hook)).parameters:
        assert f"    {argument}: " in doc


def test_the_guide_documents_no_hook_that_is_gone():
    assert set(re.findall(r"^    (torchprobe_\w+)\(", GUIDE, re.MULTILINE)) == set(HOOKS)


def test_the_guide_shows_the_example_plugin_word_for_word():
    analyzer, *_ = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert analyzer in (EXAMPLE / "torchprobe_dead" / "__init__.py").read_text()
    (packaging,) = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    written = (EXAMPLE / "pyproject.toml").read_text().splitlines()
    assert set(packaging.splitlines()) <= set(written)


@pytest.fixture
def guide():
    """The guide's analyzer and hooks, run together as one module and registered."""

    class Conformer(torch.nn.Module):
        pass

    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    module = type(ast)("torchprobe_guide")
    module.Conformer = Conformer
    for block in blocks:
        if "@hookimpl" in block:
            exec(block, module.__dict__)
    found = Plugins("torchprobe_tests")
    found.register(module)
    return module, found


def test_the_guides_plugin_implements_every_hook(guide):
    (plugin,) = guide[1].loaded
    assert set(plugin.hooks) == set(HOOKS)


def test_the_guides_analyzer_keeps_the_contract(guide):
    check_analyzer(guide[1].analyzer("dead_units"))


def test_the_guides_layout_and_command_work(guide):
    module, found = guide
    assert found.layout("a", module.Conformer(), (1, 2, 3)) == "sample time channel"
    assert found.layout("b", torch.nn.ReLU(), (1, 2)) is None
    parser = ArgumentParser()
    found.commands(parser.add_subparsers())
    assert parser.parse_args(["census", "here"]).folder == "here"


def test_the_guides_drawing_and_section_work(guide):
    module, found = guide
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
    results = torchprobe.Probe(model, analyzers=[module.DeadUnits]).run([torch.ones(2, 4)])
    (section,) = found.report_sections(results)
    assert section.analyzers == ("dead_units",)
    assert found.plots()["dead_units"](results["dead_units"]).axes
