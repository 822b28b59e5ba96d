"""Every hook is used by a plugin of our own and documented word for word."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from torchprobe import hookspecs
from torchprobe.registry import HOOKS

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
