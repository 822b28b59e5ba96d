import pytest
from torchprobe_selectivity import section
from torchprobe_selectivity.section import describe

from torchprobe import plotting
from torchprobe.results import LayerResults


@pytest.fixture
def described(feed, monkeypatch):
    """The section about some layers, without the work of drawing them."""
    monkeypatch.setattr(section, "plot", lambda *_, **__: plotting.figure(1, 1))

    def described(*layers, groupings=("label",), **settings):
        found = []
        for grouping in groupings:
            for name in layers:
                fork = feed([[1.0, 2, 3], [3.0, 1, 2]], [0, 1], **settings)
                object.__setattr__(fork.layer, "name", name)
                fork.grouping = grouping
                found.append(fork.compute())
        return describe(LayerResults(found))

    return described


def test_few_layers_are_all_drawn(described):
    captions = [figure.caption for figure in described("a", "b").figures]
    assert captions[0].startswith("Clusters of units by layer")
    assert [caption.split("`")[1] for caption in captions[1:]] == ["a", "b"]
    assert ["Each column is a unit" in caption for caption in captions[1:]] == [True, False]


def test_of_many_layers_some_are_drawn_and_more_are_folded_away(described):
    section = described(*map(str, range(20)))
    shown = [figure.caption.split("`")[1] for figure in section.figures[1:]]
    folded = [figure.caption.split("`")[1] for figure in section.more]
    assert shown == ["0", "11", "19"]
    assert folded == ["3", "5", "8", "14", "16"]


def test_every_grouping_is_drawn(described):
    captions = [figure.caption for figure in described("a", groupings=("x", "y")).figures]
    assert ["by `x`" in caption for caption in captions] == [True, False]


def test_the_index_is_explained_where_it_was_asked_for(described):
    assert "Morcos" not in described("a").text
    asked = described("a", indices="morcos")
    assert "Morcos" in asked.text
    assert asked.tables[0].columns[-1] == "mean Morcos index"


def test_it_speaks_for_its_analyzer(described):
    assert described("a").analyzers == ("class_selectivity",)
