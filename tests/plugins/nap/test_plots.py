import numpy as np
import pytest
from torchprobe_nap.matrices import draw_clusters
from torchprobe_nap.section import describe

from torchprobe import plotting
from torchprobe.errors import LayerNotFoundError, SettingError
from torchprobe.results import LayerResults


@pytest.fixture(scope="module")
def results(feed):
    """Profiles of several layers and groupings."""

    def results(layers=("a", "b"), groupings=("grapheme", "phoneme"), classes=6, **settings):
        rng = np.random.default_rng(0)
        found = []
        for grouping in groupings:
            for name in layers:
                maps = (
                    rng.normal(size=(5 * classes, 4, 7))
                    + 3 * (np.arange(5 * classes) % classes % 2)[:, None, None]
                )
                fork = feed(maps, np.arange(5 * classes) % classes, **settings)
                object.__setattr__(fork.layer, "name", name)
                fork.grouping = grouping
                found.append(fork.compute())
        return LayerResults(found)

    return results


def matrices(figure):
    return [axes for axes in figure.axes if axes.images]


def names(axes, n):
    """The texts beside the rows of a matrix."""
    return axes.texts[:n]


def test_matrices_stand_in_rows_of_layers_and_columns_of_groupings(results):
    layers = results()
    shown = matrices(plotting.plot(layers))
    titles = [axes.texts[-2].get_text() for axes in shown]
    assert titles == ["a · grapheme", "a · phoneme", "b · grapheme", "b · phoneme"]
    result = layers["a", "grapheme"]
    matrix = np.asarray(shown[0].images[0].get_array())
    assert np.array_equal(matrix, result.distances[np.ix_(result.order, result.order)])
    assert [text.get_text() for text in names(shown[0], 6)] == [
        f"{result.coords['group'][g]}*" for g in result.order
    ]  # all are rare


def test_groups_of_a_cluster_share_a_colour_and_a_frame(results):
    layers = results(("a",), ("grapheme",))
    result = layers["a"]
    (axes,) = matrices(draw_clusters(layers))
    colours = [text.get_color() for text in names(axes, 6)]
    clusters = result.cluster[result.order]
    for one, two in zip(range(5), range(1, 6), strict=True):
        assert (colours[one] == colours[two]) == (clusters[one] == clusters[two])
    assert len(axes.patches) == len(np.unique(clusters))


def test_the_colour_scale_is_shared_on_request(results):
    layers = results()
    apart = {axes.images[0].get_clim() for axes in matrices(draw_clusters(layers))}
    shared = {
        axes.images[0].get_clim() for axes in matrices(draw_clusters(layers, shared_scale=True))
    }
    largest = max(float(result.distances.max()) for result in layers.values())
    assert len(apart) == 4
    assert shared == {(0.0, largest)}


def test_layers_and_groupings_can_be_chosen(results):
    layers = results()
    assert len(matrices(draw_clusters(layers, "b", "phoneme"))) == 1
    assert len(matrices(draw_clusters(layers, ["b"]))) == 2
    with pytest.raises(LayerNotFoundError, match="conv9"):
        draw_clusters(layers, "conv9")


def test_one_group_is_drawn_too(results):
    figure = draw_clusters(results(("a",), ("grapheme",), classes=1))
    assert "nothing to cluster" in [text.get_text() for text in figure.axes[0].texts]


def test_stages_of_a_group_follow_each_other(results):
    layers = results(("input", "a"))
    figure = plotting.plot(layers, view="stages", group="3")
    images = [axes.images[0] for axes in figure.axes if axes.images and axes.get_ylabel()]
    result = layers["a", "grapheme"]
    shown = [layers["input", "grapheme"].mean, result.mean, result.normalised, result.profile]
    for image, values in zip(images, shown, strict=True):
        assert np.array_equal(np.asarray(image.get_array()), values[3])


def test_profiles_have_a_line_for_each_neuron(results):
    figure = plotting.plot(results(), view="profiles", groups=["1", "2"], top=2)
    for axes in figure.axes:
        assert len(axes.collections[0].get_segments()) == 4
        assert len(axes.get_legend().get_texts()) == 2


def test_profiles_without_positions_are_one_line_over_neurons(feed):
    rows = np.random.default_rng(0).normal(size=(8, 5))
    layers = LayerResults([feed(rows, np.arange(8) % 2).compute()])
    figure = plotting.plot(layers, view="profiles")
    assert figure.axes[0].lines[1].get_ydata().shape == (5,)
    assert [
        figure.title for figure in describe(layers).figures if "largest" in figure.caption
    ] == []


def test_pictures_of_maps_need_them(results):
    layers = results(stages=False)
    for view in ("stages", "profiles"):
        with pytest.raises(SettingError, match="stages=True"):
            plotting.plot(layers, view=view)
    with pytest.raises(LayerNotFoundError, match="'z' not found"):
        plotting.plot(results(), view="stages", group="z")


def test_a_report_says_what_was_found(results):
    section = describe(results())
    assert len(section.figures) == 3
    assert "80th percentile" in section.text
    assert list(section.tables[0].columns[3:]) == [
        "clusters",
        "mean silhouette",
        "size and distance",
        "rare groups",
        "incomplete",
    ]
    assert len(describe(results(stages=False)).figures) == 2
