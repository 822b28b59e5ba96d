import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import repeatable, seeds
from torchprobe_projection.colouring import UNLABELLED, Colouring
from torchprobe_projection.scatter import spread_out, styles

from torchprobe import plotting
from torchprobe.errors import InsufficientDataError, LayerNotFoundError, SettingError
from torchprobe.results import Field, LayerResults, Result

CLASSES = ("sil", "aa", "t", "d", "m")
CATEGORY = {"sil": "silence", "aa": "vowel", "t": "stop", "d": "stop", "m": "nasal"}
METHODS = ("pca", "autoencoder", "random")


def result(layer="a", n=60, classes=CLASSES, labelled=True, loss=True):
    rng = np.random.default_rng(0)
    own = {
        "coordinates": Field("method point axis", rng.normal(size=(3, n, 2))),
        "ids": Field("point", np.arange(n)),
        "n_points": Field("", n),
        "pd": Field("method", [0.4, 0.5, 0.99]),
        "dc": Field("method", [0.9, 0.8, 0.1]),
        "pca_bound": Field("", 0.39),
    }
    coords = {"method": METHODS}
    if labelled:
        labels = np.arange(n) % (len(classes) + 1)
        own["labels"] = Field("grouping point", [np.where(labels < len(classes), labels, -1)] * 2)
        own["class_grouping"] = Field("class", [0] * len(classes))
        own["hit"] = Field("grouping method", [[0.5, 0.6, 0.1], [0.4, 0.5, 0.2]])
        own["layer_hit"] = Field("grouping", [0.7, 0.6])
        coords |= {"class": classes, "grouping": ("phone", "speaker")}
    if loss:
        own["autoencoder_loss"] = Field("epoch part", [[1.0, 0.9], [0.6, 0.7]])
    return Result("projection", layer, fields=own, coords=coords)


def drawn(*layers, view="", **options):
    return plotting.plot(LayerResults(layers or [result()]), view=view, **options)


def legend(figure):
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


def visible(figure):
    return [axes for axes in figure.axes if axes.get_visible() and axes.axison]


# -- pictures


def test_there_is_a_picture_for_each_layer_and_method_but_the_random_one():
    figure = drawn(result("a"), result("b"))
    assert len(figure.axes) == 4
    assert [axes.get_title() for axes in figure.axes[:2]] == ["PCA", "autoencoder"]
    assert [axes.get_ylabel() for axes in figure.axes[::2]] == ["a", "b"]
    assert figure.axes[0].get_xlabel() == "PD 0.40  DC 0.90"


def test_of_many_layers_four_from_the_first_to_the_last_are_drawn():
    figure = drawn(*(result(str(layer)) for layer in range(10)), methods="pca")
    assert [axes.get_ylabel() for axes in figure.axes] == ["0", "3", "6", "9"]


def test_layers_and_methods_can_be_chosen():
    figure = drawn(result("a"), result("b"), layers="b", methods=("random", "pca"))
    assert [axes.get_title() for axes in figure.axes] == ["random", "PCA"]


def test_classes_are_explained_and_points_without_label_are_grey():
    figure = drawn()
    assert legend(figure) == [*CLASSES, UNLABELLED]
    assert figure.legends[0].legend_handles[-1].get_color() == "#c7ccd3"


def test_categories_replace_classes():
    assert legend(drawn(categories=CATEGORY)) == ["silence", "vowel", "stop", "nasal", UNLABELLED]


def test_a_filter_shows_some_classes_or_categories_only():
    assert legend(drawn(only=["aa", "m"])) == ["aa", "m"]
    assert legend(drawn(categories=CATEGORY, only="stop")) == ["stop"]
    points = drawn(categories=CATEGORY, only="stop").axes[0].collections[0].get_offsets()
    assert len(points) == 20


def test_a_picture_without_labels_needs_no_legend():
    figure = drawn(result(labelled=False))
    assert legend(figure) == []
    assert len(figure.axes[0].collections[0].get_offsets()) > 50


def test_forty_classes_differ_and_their_legend_fits_the_figure():
    classes = tuple(f"class {number}" for number in range(40))
    figure = drawn(result(classes=classes, n=400))
    assert len(set(styles(classes).values())) == 41
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert 0 <= box.y0 < box.y1 <= figure.bbox.y1
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert box.x0 > figure.axes[-1].get_window_extent().x1


def test_names_that_look_like_formulas_or_escapes_are_drawn_as_they_are():
    assert plotting.png(drawn(result("$\\frac{$\x1b[2J", classes=("$a_{", "<b>", "\n", "d", "e"))))


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"layers": "c"}, LayerNotFoundError, "layer 'c' not found"),
        ({"methods": "umap"}, SettingError, "method 'umap' not found"),
        ({"grouping": "sex"}, SettingError, "grouping 'sex' not found"),
        ({"only": "vowel"}, SettingError, "class or category 'vowel' not found"),
        ({"shape": 3}, SettingError, "options of this drawing: layers, methods, grouping"),
    ],
)
def test_what_is_not_there_is_told(options, error, said):
    with pytest.raises(error, match=said):
        drawn(**options)


def test_a_filter_that_leaves_no_point_is_told():
    classes = (*CLASSES, "zh")
    some = result(classes=classes)
    labels = np.minimum(some.labels, 3)
    changed = {**some.fields, "labels": Field("grouping point", labels)}
    none = Result("projection", "a", fields=changed, coords=some.coords)
    with pytest.raises(InsufficientDataError, match="no point is of 'zh'"):
        drawn(none, only="zh")


@pytest.mark.parametrize("options", [{"grouping": "phone"}, {"only": "aa"}])
def test_points_without_labels_cannot_be_told_apart(options):
    with pytest.raises(SettingError, match="no labels to be told apart by"):
        Colouring.of(result(labelled=False), **options)


# -- no point hides another


@repeatable
@given(seeds, st.integers(1, 300), st.sampled_from([0.01, 0.1, 0.5]))
def test_what_is_drawn_lies_in_cells_of_its_own_and_every_cell_has_its_first(seed, n, diameter):
    places = np.random.default_rng(seed).normal(size=(n, 2))
    kept = spread_out(places, diameter)
    side = np.ptp(places, axis=0).max() * diameter
    cells = [tuple(cell) for cell in np.floor((places - places.min(0)) / max(side, 1e-300))]
    first = {}
    for point, cell in enumerate(cells):
        first.setdefault(cell, point)
    assert kept.tolist() == sorted(first.values())


def test_points_at_one_place_are_drawn_once():
    assert spread_out(np.ones((50, 2)), 0.02).tolist() == [0]


def test_a_crowd_is_thinned_and_marks_shrink():
    few, many = (drawn(result(n=n, labelled=False)).axes[0].collections[0] for n in (60, 40_000))
    assert many.get_sizes()[0] < few.get_sizes()[0]
    assert len(many.get_offsets()) < 20_000


# -- measures and losses


def test_each_measure_has_a_picture_with_a_line_for_each_method_and_the_reference():
    figure = drawn(result("a"), result("b"), view="measures")
    titles = [axes.get_title("left") for axes in visible(figure)]
    assert titles == [
        "Procrustes distance",
        "distance correlation",
        "neighbourhood hit (phone)",
        "neighbourhood hit (speaker)",
    ]
    assert legend(figure) == ["PCA", "autoencoder", "random", "reference"]
    lines = visible(figure)[0].lines
    assert np.array_equal(lines[1].get_ydata(), [0.5, 0.5])
    assert np.array_equal(lines[-1].get_ydata(), [0.39, 0.39])


def test_measures_can_be_chosen():
    assert len(visible(drawn(view="measures", measures="dc"))) == 1


def test_losses_of_every_layer_are_drawn_twice():
    axes = drawn(result("a"), result("b"), view="losses").axes[0]
    assert len(axes.lines) == 4
    assert np.array_equal(axes.lines[0].get_ydata(), [1.0, 0.6])
    assert np.array_equal(axes.lines[1].get_ydata(), [0.9, 0.7])


def test_a_method_without_loss_is_told():
    with pytest.raises(InsufficientDataError, match="no layer has a field 'autoencoder_loss'"):
        drawn(result(loss=False), view="losses")
