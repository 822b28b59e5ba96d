"""Reports read back as a browser would read them."""

import json
from html.parser import HTMLParser

import pytest
import torch
from torchprobe_selectivity import ClassSelectivity

from torchprobe import Axes, Layer
from torchprobe.labels import ClassNames
from torchprobe.report import write
from torchprobe.results import Field, LayerResults, Result, Results

VOID = {"meta", "img", "link", "br", "hr", "input"}
HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "{{7*7}}{% raw %}",
    r"$\frac{$",
    "\x1b[31mred\x00",
    "a\nb\u202ec",
    "javascript:alert(1)",
    "\" onmouseover='alert(1)",
    "x" * 300,
]


class Page(HTMLParser):
    """Elements, attributes and text of a page whose tags all match."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.source, self.open, self.elements, self.texts = source, [], [], []
        self.feed(source)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append((self.open[-1], data.strip()))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(text for tag, text in self.texts if tag != "script").split())

    @property
    def data(self):
        (script,) = [text for tag, text in self.texts if tag == "script"]
        return json.loads(script, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@pytest.fixture
def hostile():
    """Names that would break a page that trusts them."""
    return HOSTILE


@pytest.fixture
def page(tmp_path):
    """Write a report and read it."""

    def page(results, **options):
        path = write(results, tmp_path / "out" / "report.html", **options)
        return Page(path.read_text("utf-8"))

    return page


@pytest.fixture
def numbers():
    """Results of an analyzer that no plugin knows."""

    def numbers(layers=("fc.1", "fc.2"), analyzer="mine", **provenance):
        each = enumerate(layers)
        return LayerResults(
            Result(analyzer, name, fields={"size": Field("", n + 0.5)}, provenance=provenance)
            for n, name in each
        )

    return numbers


@pytest.fixture
def selective():
    """Class selectivity of made-up layers."""

    def selective(layers=("relu.1",), classes=("a", "b", "c"), grouping="label", **kept):
        results = []
        for name in layers:
            layer = Layer(name, Axes.parse("sample channel"), (60, 8))
            fork = ClassSelectivity(indices="morcos").fork(layer, grouping, ClassNames(classes))
            fork.means.update(torch.rand(60, 8), torch.arange(60) % len(classes))
            fork.provenance = {"rows": 60, "samples": 60, "module": "ReLU", **kept}
            results.append(fork.compute())
        return Results({"class_selectivity": LayerResults(results)})

    return selective
