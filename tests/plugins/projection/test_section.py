import pytest
import torch
from torchprobe_projection import section, torchprobe_report_sections
from torchprobe_projection.section import describe

from torchprobe import plotting, report
from torchprobe.results import LayerResults, Results


@pytest.fixture
def layers(feed, rows):
    """Results of two layers, quickly made."""

    def layers(labelled=True, **settings):
        values, labels = rows(90)
        given = {"phone": {"fit": torch.from_numpy(labels)}} if labelled else None
        return LayerResults(
            feed({"fit": values}, given, name=name, neighbours=4, **settings).compute()
            for name in ("a", "b")
        )

    return layers


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr(section, "plot", lambda *_, **__: plotting.figure(1, 1))


def test_it_shows_the_table_the_pictures_and_the_measures(layers, undrawn):
    described = describe(layers(methods="pca"))
    assert described.title == "Projection"
    assert described.analyzers == ("projection",)
    assert described.tables[0].columns[:3] == ("layer", "measure", "PCA")
    assert len(described.figures) == 2
    assert "45 rows of each" in described.text
    assert "4 neighbours" in described.text


def test_losses_are_shown_where_something_learnt(layers, undrawn):
    options = {"autoencoder": {"epochs": 1}}
    assert len(describe(layers(methods="autoencoder", options=options)).figures) == 3


def test_labels_are_explained_only_where_there_are_some(layers, undrawn):
    assert "label" not in describe(layers(labelled=False, methods="pca")).text


def test_it_speaks_for_its_own_results_only(layers, undrawn):
    results = Results({"mine": layers(methods="pca")})
    assert len(torchprobe_report_sections(results=results)) == 1
    assert torchprobe_report_sections(results=Results({})) == []


def test_a_report_holds_it(layers, tmp_path):
    page = report.write(Results({"projection": layers(methods="pca")}), tmp_path / "r.html")
    text = page.read_text()
    assert "Every measure of every picture." in text
    assert "data:image" in text
