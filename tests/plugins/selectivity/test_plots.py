import numpy as np
import pytest

from torchprobe import plotting
from torchprobe.errors import LayerNotFoundError
from torchprobe.results import LayerResults, Results


@pytest.fixture
def results(feed):
    """Class selectivity of several layers under one grouping or several."""

    def results(layers=("a", "b"), groupings=("label",), **settings):
        rng = np.random.default_rng(0)
        found = []
        for grouping in groupings:
            for name in layers:
                rows = np.maximum(rng.normal(size=(80, 9)), 0)
                fork = feed(rows, np.arange(80) % 4, **settings)
                object.__setattr__(fork.layer, "name", name)
                fork.grouping = grouping
                found.append(fork.compute())
        return LayerResults(found)

    return results


def test_clusters_by_layer_are_drawn_unasked(results):
    layers = results()
    axes = Results({"class_selectivity": layers}).plot("class_selectivity").axes[0]
    counts = [layers["a"].n_clusters, layers["b"].n_clusters]
    assert axes.lines[0].get_ydata().tolist() == counts
    assert axes.get_ylim()[0] == 0


def test_a_clustergram_shows_the_class_means_of_one_layer(results):
    layers = results()
    result = layers["a"]
    figure = plotting.plot(layers, view="clustergram", layer="a")
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert np.array_equal(shown, result.csv[result.class_order][:, result.node_order])
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == [result.coords["class"][row] for row in result.class_order]
    assert figure.axes[2].get_ylim()[0] == 0.5


def test_the_last_layer_is_shown_where_none_is_named(results):
    figure = plotting.plot(results(), view="clustergram")
    assert figure.axes[2].texts[0].get_text() == "b"


def test_one_of_several_groupings_must_be_named(results):
    layers = results(groupings=("phoneme", "speaker"))
    with pytest.raises(LayerNotFoundError, match="say which"):
        plotting.plot(layers, view="clustergram")
    assert plotting.plot(layers, view="clustergram", grouping="speaker")
    assert len(plotting.plot(layers).legends[0].get_texts()) == 2


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 0, 1, 1]])
def test_layers_without_clusters_are_drawn_as_they_stand(feed, labels):
    result = feed(np.ones((4, 3)), np.array(labels)).compute()
    figure = plotting.plot(result, view="clustergram")
    assert np.asarray(figure.axes[0].images[0].get_array()).shape == result.csv.shape
    assert plotting.png(figure)


def test_other_numbers_by_layer(results):
    figure = plotting.plot(results(indices="morcos"), name="mean_morcos")
    assert "Morcos" in figure.axes[0].texts[1].get_text()
