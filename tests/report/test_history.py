"""A training as a page."""

import pytest
import torch
from report.conftest import Page
from torch import nn

import torchprobe as tp
from torchprobe.errors import EmptyStateError

X = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(40) % 3


@pytest.fixture
def history():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    analyzers = ["class_selectivity", "activation_sample"]
    probe = tp.Probe(model, ["1", "2"], analyzers)
    with tp.callbacks.Loop(probe, [(X, Y)], every=1) as loop:
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(X), Y).backward()
            optimizer.step()
            loop.step()
    return loop.history


def page(history, tmp_path, **options):
    return Page(history.report(tmp_path / "out" / "report.html", **options).read_text("utf-8"))


def test_curves_and_drift_come_before_the_newest_results(history, tmp_path):
    shown = page(history, tmp_path, title="Three steps", intro="a small net")
    headings = [text for tag, text in shown.texts if tag in {"h1", "h2"}]
    assert headings[0] == "Three steps"
    told = ["Over training", "Class selectivity by label over training"]
    told += ["Drift", "Class selectivity"]
    assert [text for text in headings if text in told] == told
    assert "probed 4 times, from step 0 to step 3" in shown.text
    assert any("step of the training" in image["alt"] for image in shown.all("img"))


def test_steps_that_miss_something_are_listed_with_the_reason(history, tmp_path):
    probe = tp.Probe(nn.Sequential(nn.ReLU()), ["0"], ["activation_sample"])
    with probe:
        probe.model(X)
    probe.coverage.notes.append("training ended with KeyboardInterrupt in step 4")
    history.append(4, probe.results())
    shown = page(history, tmp_path)
    assert "Steps whose results miss something" in shown.text
    assert "training ended with KeyboardInterrupt in step 4" in shown.text


def test_a_history_without_samples_has_no_drift(history, tmp_path):
    made = tp.History()
    for step, results in history.items():
        only = {"class_selectivity": results["class_selectivity"]}
        made.append(step, tp.Results(only, results.provenance))
    assert "Drift" not in page(made, tmp_path).text


def test_an_empty_history_says_so(tmp_path):
    with pytest.raises(EmptyStateError, match="no results yet"):
        tp.History().report(tmp_path / "report.html")
