"""Plugins are found, checked and kept apart: one that is broken harms nothing but itself."""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import threading
import types
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from torchprobe.analyzer import Analyzer
from torchprobe.errors import LayerNotFoundError, PluginError, PluginWarning
from torchprobe.hookspecs import hookimpl
from torchprobe.plugins import NOT_INSTALLED, Plugins, plugins

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GROUP = "torchprobe_tests"

GOOD = """
from torchprobe.analyzer import Analyzer
from torchprobe.hookspecs import hookimpl

class {kind}(Analyzer):
    name = "{name}"

@hookimpl
def torchprobe_analyzers():
    return [{kind}]
"""


def good(name: str) -> str:
    """A plugin module with one analyzer."""
    return GOOD.format(kind=name.title(), name=name)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on sys.path; what was imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def install(site) -> Callable[..., Path]:
    """Install a fake distribution: ``install("dist", {"entry": "module"}, module="code")``."""

    def install(dist, entries, version="1.0", folder=site, **modules):
        folder.mkdir(exist_ok=True)
        info = folder / f"{dist.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
        lines = (
            entries
            if isinstance(entries, str)
            else "\n".join(
                [f"[{GROUP}]", *(f"{name} = {value}" for name, value in entries.items())]
            )
        )
        (info / "entry_points.txt").write_text(lines)
        for module, code in modules.items():
            (folder / f"{module}.py").write_text(code)
        return info

    return install


@pytest.fixture
def beside(install) -> Callable[[], Plugins]:
    """The group's plugins, after a good one was installed beside whatever the test installed."""

    def beside():
        install("good-dist", {"good": "tp_good"}, tp_good=good("good"))
        return Plugins(GROUP)

    return beside


def only_failure(found: Plugins):
    """The one plugin that was left out, once it is certain that the good one works."""
    with pytest.warns(PluginWarning) as caught:
        assert list(found.analyzers()) == ["good"]
    (failure,) = found.failed
    assert [str(warning.message) for warning in caught] == [str(failure)]
    return failure


# -- what works


def test_nothing_is_imported_before_the_first_question(install):
    install("lazy-dist", {"lazy": "tp_lazy"}, tp_lazy=good("lazy"))
    found = Plugins(GROUP)
    assert "tp_lazy" not in sys.modules
    assert list(found.analyzers()) == ["lazy"]
    assert "tp_lazy" in sys.modules


def test_a_loaded_plugin_says_where_it_came_from(install, site):
    install("some-dist", {"some": "tp_some"}, version="2.5", tp_some=good("some"))
    (plugin,) = Plugins(GROUP).loaded
    assert (plugin.name, plugin.distribution, plugin.version) == ("some", "some-dist", "2.5")
    assert plugin.path == str(site / "tp_some.py")
    assert plugin.analyzers == ("some",)
    assert plugin.hooks == ("torchprobe_analyzers",)
    assert plugin.seconds > 0
    assert str(plugin) == "plugin 'some' (some-dist 2.5)"


def test_every_installed_plugin_of_this_environment_loads():
    with warnings.catch_warnings():
        warnings.simplefilter("error", PluginWarning)
        assert plugins().failed == []
    assert plugins() is plugins()


def test_the_other_groups_entry_points_are_left_alone(install):
    install("other-dist", "[other_group]\nboom = tp_other", tp_other="raise SystemExit")
    assert Plugins(GROUP).loaded == []
    assert "tp_other" not in sys.modules


def test_one_distribution_in_two_folders_is_one_distribution(install, site, monkeypatch):
    install("twice-dist", {"twice": "tp_twice"}, tp_twice=good("twice"))
    install("twice-dist", {"twice": "tp_twice"}, folder=site / "later", tp_twice="raise OSError")
    monkeypatch.setattr(sys, "path", [*sys.path, str(site / "later")])
    assert list(Plugins(GROUP).analyzers()) == ["twice"]


def test_threads_that_ask_together_get_the_same_plugins(install):
    slow = "import time\ntime.sleep(0.05)\n" + good("slow")
    install("slow-dist", {"slow": "tp_slow"}, tp_slow=slow)
    found, answers = Plugins(GROUP), []
    threads = [threading.Thread(target=lambda: answers.append(found.analyzers())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [list(answer) for answer in answers] == [["slow"]] * 4


def test_a_plugin_that_asks_for_plugins_while_imported_does_not_loop(install):
    asking = "from tests_shared_plugins import found\nfound.analyzers()\n" + good("asking")
    install("asking-dist", {"asking": "tp_asking"}, tp_asking=asking)
    found = Plugins(GROUP)
    sys.modules["tests_shared_plugins"] = types.SimpleNamespace(found=found)
    assert list(found.analyzers()) == ["asking"]
    del sys.modules["tests_shared_plugins"]


# -- what is broken

BROKEN = {
    "ImportError": ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
    "OSError": ("raise OSError('libc10_cuda.so: cannot open')", "OSError: libc10_cuda.so"),
    "SyntaxError": ("def f(:", "SyntaxError"),
    "SystemExit": ("raise SystemExit(3)", "SystemExit: 3"),
    "quiet SystemExit": ("raise SystemExit", "SystemExit"),
    "RecursionError": ("def f(): f()\nf()", "RecursionError"),
    "MemoryError": ("raise MemoryError", "MemoryError"),
    "odd BaseException": ("class Odd(Exception):\n __str__ = None\nraise Odd", "Odd"),
    "no hook": ("x = 1", "implements no hook"),
    "unmarked hook": (
        "def torchprobe_analyzers(): return []",
        "torchprobe_analyzers is not marked",
    ),
    "unknown hook": (
        "from torchprobe.hookspecs import hookimpl\n@hookimpl\ndef torchprobe_analyzer(): pass",
        "did you mean torchprobe_analyzers?",
    ),
    "wrong arguments": (
        "from torchprobe.hookspecs import hookimpl\n@hookimpl\ndef torchprobe_layout(layer): pass",
        "'layer'",
    ),
    "no list": (good("bad").replace("[Bad]", "Bad()"), "return a list of classes"),
    "an instance": (good("bad").replace("[Bad]", "[Bad()]"), "not instances"),
    "a name": (good("bad").replace("[Bad]", "'bad'"), "not instances or names"),
    "no analyzer": (good("bad").replace("(Analyzer)", ""), "no subclass of torchprobe.Analyzer"),
    "a nameless analyzer": (good("").replace("class ", "class Bad").replace("[]", "[Bad]"), "name"),
    "twice the name": (good("bad").replace("[Bad]", "[Bad, Bad]"), "two analyzers called 'bad'"),
    "a failing hook": (good("bad").replace("return [Bad]", "1 / 0"), "ZeroDivisionError"),
}


@pytest.mark.parametrize(("code", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_named_and_the_rest_works(install, beside, code, reason):
    install("broken-dist", {"broken": "tp_broken"}, version="0.3", tp_broken=code)
    failure = only_failure(beside())
    assert (failure.name, failure.distribution, failure.version) == ("broken", "broken-dist", "0.3")
    assert reason in failure.error
    assert str(failure).startswith("plugin 'broken' of broken-dist 0.3 was left out")


@pytest.mark.parametrize("value", ["tp_broken:missing", "not a module!", "tp_broken:thing", ""])
def test_an_entry_point_that_leads_nowhere_is_a_broken_plugin(install, beside, value):
    install("broken-dist", {"broken": value}, tp_broken="thing = [1, 2]")
    assert only_failure(beside()).distribution == "broken-dist"


def test_an_interrupt_passes_and_the_next_question_goes_on_where_it_was(install):
    once = "import os\nif os.environ.pop('TP_INTERRUPT', None): raise KeyboardInterrupt\n"
    install("early-dist", {"a": "tp_early"}, tp_early=good("early"))
    install("slow-dist", {"b": "tp_slow"}, tp_slow=once + good("slow"))
    found = Plugins(GROUP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TP_INTERRUPT", "1")
        with pytest.raises(KeyboardInterrupt):
            found.analyzers()
    assert list(found.analyzers()) == ["early", "slow"]


def test_a_name_that_two_distributions_claim_is_given_to_neither(install, beside):
    install("first-dist", {"lda": "tp_first"}, tp_first=good("lda"))
    install("second-dist", {"lda": "tp_second"}, version="4", tp_second=good("lda"))
    found = beside()
    with pytest.warns(PluginWarning, match=r"first-dist 1\.0 \(tp_first\)") as caught:
        assert list(found.analyzers()) == ["good"]
    assert "second-dist 4 (tp_second)" in str(caught[0].message)
    assert "uninstall one of them" in str(caught[0].message)
    assert {failure.distribution for failure in found.failed} == {"first-dist", "second-dist"}
    with pytest.raises(LayerNotFoundError, match="second-dist"):
        found.analyzer("lda")


@pytest.mark.parametrize(
    "damage", [f"[{GROUP}]\nno equals sign\n".encode(), b"[x]\n\xff\xfe = y\n"]
)
def test_a_malformed_entry_points_file_hides_only_itself(install, beside, damage):
    info = install("damaged-dist", {}, version="7")
    (info / "entry_points.txt").write_bytes(damage)
    failure = only_failure(beside())
    assert (failure.distribution, failure.version) == ("damaged-dist", "7")
    assert "pip install --force-reinstall damaged-dist" in failure.error


def test_beside_a_malformed_file_a_shadowed_distribution_stays_shadowed(install, site, monkeypatch):
    install("twice-dist", {"twice": "tp_twice"}, tp_twice=good("good"))
    install("Twice_Dist", {"old": "tp_old"}, folder=site / "later", tp_old="raise OSError")
    (install("damaged-dist", {}) / "entry_points.txt").write_text("[x]\nno equals sign")
    monkeypatch.setattr(sys, "path", [*sys.path, str(site / "later")])
    assert only_failure(Plugins(GROUP)).distribution == "damaged-dist"


def test_a_distribution_without_metadata_is_named_by_its_place(install, beside, site):
    (install("bare-dist", {"bare": "tp_bare"}, tp_bare="1 / 0") / "METADATA").unlink()
    assert str(site) in str(only_failure(beside()))


def test_a_failure_is_told_once(install, beside):
    install("broken-dist", {"broken": "tp_broken"}, tp_broken="1 / 0")
    found = beside()
    only_failure(found)
    assert list(found.analyzers()) == ["good"]  # a second warning would be an error here


def test_where_warnings_are_errors_everything_is_loaded_all_the_same(install, beside):
    install("broken-dist", {"broken": "tp_broken"}, tp_broken="1 / 0")
    found = beside()
    with pytest.raises(PluginWarning, match="broken-dist"):
        found.analyzers()
    assert list(found.analyzers()) == ["good"]


NOISY = """
import random, warnings
import numpy, torch
print("hello")
torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
numpy.random.seed(0)
random.seed(0)
warnings.simplefilter("ignore")
"""


@pytest.mark.parametrize("end", [good("noisy"), "raise SystemExit"])
def test_importing_a_plugin_disturbs_nothing(install, capsys, end):
    install("noisy-dist", {"noisy": "tp_noisy"}, tp_noisy=NOISY + end)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    filters = list(warnings.filters)
    with pytest.warns(PluginWarning) if "Exit" in end else contextlib.nullcontext():
        assert len(Plugins(GROUP).loaded) == ("Exit" not in end)
    assert torch.get_default_dtype() is torch.float32
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]
    assert warnings.filters == filters
    assert capsys.readouterr() == ("", "hello\n")


# -- names


def test_an_analyzer_that_two_plugins_offer_is_an_error_that_names_both(install):
    install("one-dist", {"one": "tp_one"}, tp_one=good("same"))
    install("two-dist", {"two": "tp_two"}, tp_two=good("same"))
    install("three-dist", {"three": "tp_three"}, tp_three=good("other"))
    found = Plugins(GROUP)
    with pytest.warns(PluginWarning, match=r"one-dist.*two-dist"):
        assert list(found.analyzers()) == ["other"]
    with pytest.raises(PluginError, match=r"'same' .*'one' \(one-dist 1\.0\) and .*'two' \(two-di"):
        found.analyzer("same")


def test_an_unknown_analyzer_gets_a_suggestion_the_list_and_what_failed(install, beside):
    install("broken-dist", {"broken": "tp_broken"}, tp_broken="raise OSError('lib.so')")
    found = beside()
    only_failure(found)
    with pytest.raises(LayerNotFoundError) as error:
        found.analyzer("god")
    assert "did you mean 'good'?" in str(error.value)
    assert "There are: 'good'" in str(error.value)
    assert "broken-dist 1.0 was left out, the rest works: OSError: lib.so" in str(error.value)


def test_without_any_plugin_the_remedy_is_to_install(install):
    with pytest.raises(LayerNotFoundError, match="pip install -e"):
        Plugins(GROUP).analyzer("lda")
    assert NOT_INSTALLED in repr(Plugins(GROUP))


# -- plugins that are not packaged


class Mine(Analyzer):
    name = "mine"


def test_an_analyzer_class_a_module_or_an_object_can_be_registered():
    module = types.ModuleType("script")
    exec(good("scripted"), module.__dict__)
    found = Plugins(GROUP)

    class Offers:
        @hookimpl
        def torchprobe_analyzers(self):
            return [type("Own", (Analyzer,), {"name": "own"})]

    found.register(module)
    assert found.register(Mine) is Mine
    found.register(Offers(), name="offers")
    assert found.analyzer("mine") is Mine
    assert list(found.analyzers()) == ["mine", "own", "scripted"]
    assert {plugin.source for plugin in found.loaded} == {"registered by hand"}
    assert __file__ in {plugin.path for plugin in found.loaded}


def test_registering_again_replaces_so_that_a_notebook_cell_can_be_run_twice():
    found = Plugins(GROUP)
    for length in (1, 2):
        found.register(type("Cell", (Analyzer,), {"name": "cell", "length": length}))
    assert found.analyzer("cell").length == 2
    assert len(found.loaded) == 1


def test_the_name_of_an_installed_plugin_cannot_be_taken(install, beside):
    found = beside()
    assert list(found.analyzers()) == ["good"]
    with pytest.raises(PluginError, match=r"'good' \(good-dist 1\.0\) has that name already"):
        found.register(Mine, name="good")
    assert list(found.analyzers()) == ["good"]


def test_an_installed_plugin_cannot_take_a_registered_name(beside):
    found = beside()
    found.register(Mine, name="good")
    with pytest.warns(PluginWarning, match=r"good-dist 1\.0.*'good' \(registered by hand\) has"):
        assert list(found.analyzers()) == ["mine"]


@pytest.mark.parametrize("thing", [3, None, [], "name", Analyzer, types.SimpleNamespace()])
def test_what_offers_nothing_is_refused_and_leaves_nothing_behind(thing):
    found = Plugins(GROUP)
    with pytest.raises(PluginError):
        found.register(thing)
    assert found.loaded == []
    found.register(Mine)
    assert list(found.analyzers()) == ["mine"]


# -- the other hooks


def draw_one(results):
    return "one"


class Offers:
    """A plugin that answers every hook with what it was given."""

    def __init__(self, plots=None, axes=None, sections=(), command=None):
        self.plots, self.axes, self.sections, self.command = plots, axes, sections, command

    @hookimpl
    def torchprobe_plots(self):
        return self.plots

    @hookimpl
    def torchprobe_layout(self, name, module):
        return self.axes(name, module) if self.axes else None

    @hookimpl
    def torchprobe_report_sections(self):
        yield from self.sections

    @hookimpl
    def torchprobe_commands(self, subparsers):
        if self.command:
            subparsers.add_parser(self.command)


def test_plots_come_together_without_a_kind_that_two_plugins_draw():
    found = Plugins(GROUP)
    found.register(Offers(plots={"a": draw_one, "both": draw_one}), name="x")
    found.register(Offers(plots={"b": draw_one, "both": draw_one}), name="y")
    found.register(Offers(), name="z")
    with pytest.warns(PluginWarning, match=r"plot 'both' is offered by plugin 'x'.*plugin 'y'"):
        assert found.plots() == {"a": draw_one, "b": draw_one}


def test_the_first_plugin_that_knows_a_module_says_its_axes():
    found = Plugins(GROUP)
    found.register(Offers(axes=lambda name, module: None), name="knows nothing")
    knows = {torch.nn.Identity: "sample time channel"}
    found.register(Offers(axes=lambda name, module: knows.get(type(module))), name="knows one")
    assert found.layout("a", torch.nn.Identity(), (2, 3, 4)) == "sample time channel"
    assert found.layout("b", torch.nn.ReLU(), (2, 3, 4)) is None


@pytest.mark.parametrize("axes", [lambda name, module: 1 / 0, lambda name, module: 3])
def test_a_plugin_that_fails_to_say_axes_is_an_error_that_names_it(axes):
    found = Plugins(GROUP)
    found.register(Offers(axes=axes), name="wrong")
    with pytest.raises(
        PluginError, match=r"plugin 'wrong' .* failed in torchprobe_layout: .*Error"
    ):
        found.layout("a", torch.nn.ReLU(), (2, 3))


def test_a_plugin_that_fails_to_report_is_left_out_of_the_report():
    def failing():
        yield "first"
        raise SystemExit

    found = Plugins(GROUP)
    found.register(Offers(sections=["a", "b"]), name="x")
    found.register(Offers(sections=failing()), name="y")
    with pytest.warns(
        PluginWarning, match=r"'y' .* failed in torchprobe_report_sections: SystemEx"
    ):
        assert found.report_sections({}) == ["a", "b"]


def test_plugins_add_commands_and_cannot_take_one_that_is_there():
    found = Plugins(GROUP)
    found.register(Offers(command="mine"), name="x")
    found.register(Offers(command="plugins"), name="y")
    subparsers = argparse.ArgumentParser().add_subparsers()
    subparsers.add_parser("plugins")
    with pytest.warns(PluginWarning, match="plugin 'y'"):
        found.commands(subparsers)
    assert list(subparsers.choices) == ["plugins", "mine"]
