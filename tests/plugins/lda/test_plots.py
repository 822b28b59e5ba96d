"""What the drawings of LDA show, read off the drawn artists."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from torch import nn
from torchprobe_lda import LDA, LinearProbe, compare, expansion, study
from torchprobe_lda.geometry import aggregated, centroids
from torchprobe_lda.plots import numbers
from torchprobe_lda.points import points

import torchprobe as tp
from torchprobe import plotting
from torchprobe.errors import InsufficientDataError, LayerNotFoundError, SettingError
from torchprobe.results import LayerResults, Results

LAYERS = ("input", "far", "output")


@pytest.fixture(scope="module")
def studied(batches, trio):
    """A study of three layers and three classes."""
    model, rows, labels = trio()
    loaders = {"fit": batches(rows, labels, 128), "score": batches(rows, labels, 100)}
    return study(model, LAYERS[1:], **loaders, progress=False)


@pytest.fixture(scope="module")
def layers(studied):
    return studied["lda"]


@pytest.fixture(scope="module")
def forty(batches):
    """One layer of forty classes, some of which are often confused."""
    rng = np.random.default_rng(0)
    labels = np.arange(4000) % 40
    rows = rng.normal(size=(4000, 12)) + 1.5 * rng.normal(size=(40, 12))[labels]
    said = np.array([f"ph{k:02}" for k in range(40)])[labels]
    loader = batches(rows, said, 500)
    probe = tp.Probe(nn.Identity(), "input", ["lda"])
    return probe.run(fit=loader, score=loader, progress=False)["lda"]


def legend(figure):
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


def lines(axes):
    return {line.get_label().strip(): list(line.get_ydata()) for line in axes.lines}


def words(axes):
    return [text.get_text() for text in axes.texts]


def overlaps(figure, axes):
    """Whether two names along an axis lie over one another."""
    figure.draw_without_rendering()
    for names in (axes.get_xticklabels(), axes.get_yticklabels()):
        boxes = [name.get_window_extent() for name in names]
        for a, b in pairwise(boxes):
            if a.overlaps(b) and a.width * a.height > 0:
                return True
    return False


# -- numbers by layer


def test_accuracy_stands_beside_the_fit_the_control_and_the_network(layers):
    figure = plotting.plot(layers)
    drawn = lines(figure.axes[0])
    assert legend(figure) == list(drawn)
    assert drawn == {
        "held-out rows": list(numbers(layers, "accuracy").values()),
        "rows of the fit": list(numbers(layers, "accuracy_fit").values()),
        "the network itself": list(numbers(layers, "network_accuracy").values()),
        "labels shuffled": list(numbers(layers, "control_accuracy").values()),
    }
    assert figure.axes[0].get_ylim()[0] == 0
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == list(LAYERS)
    assert "3 classes by 'label'" in words(figure.axes[0])


def test_an_untrained_network_stands_beside(layers, studied):
    other = Results({"lda": LayerResults([layers["input"], layers["output"]])})
    drawn = lines(plotting.plot(layers, untrained=other).axes[0])
    expected = [layers["input"].accuracy, layers["output"].accuracy]
    assert drawn["untrained, held-out rows"] == expected
    assert drawn == lines(studied.plot("lda", untrained=other["lda"]).axes[0])


def test_a_linear_probe_is_drawn_likewise(run, clouds):
    found = LayerResults([run(LinearProbe(), fit=clouds(), score=clouds(draw=1))])
    figure = plotting.plot(found)
    assert words(figure.axes[0])[0] == "Linear probe accuracy"
    assert lines(figure.axes[0])["held-out rows"] == [found["input"].accuracy]
    assert plotting.plot(found, view="confusion")


def test_areas_are_those_of_the_results(layers):
    axes = plotting.plot(layers, view="areas").axes
    for panel, name in zip(axes, ("evr_auc", "class_spectrum_auc"), strict=True):
        assert panel.lines[0].get_ydata() == pytest.approx(list(numbers(layers, name).values()))
    mean = plotting.plot(layers, view="areas", form="mean", values=5).axes[0].lines[0].get_ydata()
    assert (mean < 1).all()


def test_expansion_has_a_line_for_each_subset_and_a_panel_for_each_set(layers):
    figure = plotting.plot(layers, view="expansion")
    drawn = lines(figure.axes[0])
    assert list(drawn) == ["all rows", "separable", "inseparable"]
    assert drawn["inseparable"] == list(expansion(layers, subset="inseparable").values())
    assert [values[0] for values in drawn.values()] == [1, 1, 1]
    assert "that the network gets right" in words(figure.axes[0])[1]
    sets = [["0", "1"], ["0", "1", "2"]]
    panels = plotting.plot(layers, view="expansion", sets=sets).axes
    assert [axes.get_ylabel() for axes in panels] == ["/0, 1/: × distance", "/0, 1, 2/: × distance"]
    assert lines(panels[1])["all rows"] == list(expansion(layers, classes=sets[1]).values())


def test_a_subset_without_rows_leaves_its_line_empty(layers):
    """All rows of the reference are separable: the others are still drawn."""
    easy = []
    for layer in layers.values():
        counts, means = layer.subset_counts.copy(), layer.subset_centroids.copy()
        counts[1], means[1] = 0, np.nan
        fields = {
            "subset_counts": replace(layer["subset_counts"], values=counts),
            "subset_centroids": replace(layer["subset_centroids"], values=means),
        }
        easy.append(replace(layer, fields={**layer.fields, **fields}))
    drawn = lines(plotting.plot(LayerResults(easy), view="expansion").axes[0])
    assert np.isnan(drawn["inseparable"]).all()
    assert np.isfinite(drawn["separable"]).all()


# -- spectra


def test_explained_variance_is_drawn_over_the_first_on_a_logarithmic_axis(layers):
    axes = plotting.plot(layers, view="evr").axes[0]
    assert axes.get_yscale() == "log"
    for line, layer in zip(axes.lines, layers.values(), strict=True):
        assert line.get_ydata() == pytest.approx(layer.evr / layer.evr[0])
        assert line.get_xdata().tolist() == [1, 2]


def test_class_spectra_are_averaged(layers):
    axes = plotting.plot(layers, view="class_spectra").axes[0]
    for line, layer in zip(axes.lines, layers.values(), strict=True):
        assert line.get_ydata() == pytest.approx(layer.class_spectrum)
    axes = plotting.plot(layers, view="class_spectra", centered=True).axes[0]
    own = layers["input"].class_spectra_centered
    assert axes.lines[0].get_ydata() == pytest.approx((own / own[:, :1]).mean(axis=0))


# -- confusions


def test_confusions_are_shares_of_a_classs_rows(layers):
    figure = plotting.plot(layers, view="confusion", layer="far")
    counts = layers["far"].confusion
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert shown == pytest.approx(counts / counts.sum(axis=1, keepdims=True))
    assert f"{counts[1, 1] / counts[1].sum():.0%}" in words(figure.axes[0])
    assert "Confusions in far" in words(figure.axes[0])


@pytest.mark.parametrize(
    ("split", "name"),
    [(None, "confusion"), ("fit", "confusion_fit"), ("network", "network_confusion")],
)
def test_confusions_of_any_split_and_of_the_network(layers, split, name):
    figure = plotting.plot(layers, view="confusion", layer="output", split=split)
    counts = layers["output"][name].values
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert shown == pytest.approx(counts / counts.sum(axis=1, keepdims=True))


def test_some_classes_in_the_order_wanted(layers):
    figure = plotting.plot(layers, view="confusion", classes=["2", "0"])
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["2", "0"]
    counts = layers["input"].confusion
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert shown[0, 1] == pytest.approx(counts[2, 0] / counts[2].sum())


def test_forty_classes_are_named_and_their_names_do_not_touch(forty):
    figure = plotting.plot(forty, view="confusion")
    axes = figure.axes[0]
    assert len(axes.get_xticklabels()) == len(axes.get_yticklabels()) == 40
    assert not overlaps(figure, axes)
    assert words(axes) == ["Confusions in input", words(axes)[1]]  # no numbers in tiny cells


# -- maps


def test_bubbles_of_tsne_are_aggregates_with_areas_of_their_sizes(forty):
    figure = plotting.plot(forty, view="tsne", layers="input")
    groups = aggregated(points(forty, "input"))
    (cloud,) = figure.axes[0].collections
    assert len(cloud.get_offsets()) == len(groups)
    areas = np.sort(cloud.get_sizes())
    assert areas / areas[0] == pytest.approx(np.sort(groups.sizes) / groups.sizes.min())
    assert set(forty["input"].coords["class"]) <= set(words(figure.axes[0]))
    assert f"4,000 points in {len(groups)} groups" in words(figure.axes[0])


def test_categories_colour_tsne_and_are_explained(forty):
    names = forty["input"].coords["class"]
    categories = {name: ("vowel", "stop")[i % 2] for i, name in enumerate(names[:-1])}
    figure = plotting.plot(forty, view="tsne", layers=["input"], categories=categories)
    assert legend(figure) == ["vowel", "stop", "other"]
    shown = {tuple(colour) for colour in figure.axes[0].collections[0].get_facecolors()}
    assert len(shown) == 3


def test_the_middle_and_the_last_hidden_layer_are_mapped_by_default(layers):
    drawn = plotting.plot(layers, view="tsne").axes
    assert [words(axes)[-2] for axes in drawn] == ["far", "output"]


@pytest.mark.parametrize("method", ["classical", "smacof"])
def test_mds_panels_have_one_scale_and_triangles_of_the_centroids(layers, method):
    figure = plotting.plot(layers, view="mds", classes=["0", "1", "2"], method=method)
    *panels, overlay = figure.axes
    assert len(panels) == 3
    assert [words(axes)[-1] for axes in panels] == [f"all rows, {method} MDS", *LAYERS[1:]]
    widths = [np.ptp(axes.get_xlim()) for axes in panels]
    assert widths == pytest.approx([widths[0]] * 3)
    for axes, name in zip(panels, LAYERS, strict=True):
        groups = aggregated(points(layers, name))
        assert len(axes.collections[0].get_offsets()) == len(groups)
        corners = np.transpose(axes.lines[0].get_data())
        assert np.array_equal(corners[0], corners[-1])
        assert {"0", "1", "2"} <= set(words(axes))
    for line, name in zip(overlay.lines, LAYERS, strict=True):
        corners = np.transpose(line.get_data())
        sides = np.linalg.norm(np.diff(corners, axis=0), axis=1)
        own = centroids(layers, name)
        true = np.linalg.norm(np.diff(own[[0, 1, 2, 0]], axis=0), axis=1)
        assert sides == pytest.approx(true)


def test_maps_are_turned_alike_without_changing_a_distance(layers):
    """The corners of every panel lie as near to the last one's as turning can bring them."""
    figure = plotting.plot(layers, view="mds", classes=["0", "1", "2"])
    corners = [np.transpose(axes.lines[0].get_data())[:3] for axes in figure.axes[:3]]
    corners = [each - each.mean(axis=0) for each in corners]
    for each in corners:
        product = each.T @ corners[-1]
        assert product == pytest.approx(product.T, abs=1e-6 * np.abs(product).max())
        assert np.linalg.eigvalsh(product).min() > -1e-6


def test_the_names_of_the_overlaid_triangles_stand_clear_of_them(layers):
    overlay = plotting.plot(layers, view="mds", classes=["0", "1", "2"]).axes[-1]
    corners = np.array([np.transpose(line.get_data())[:3] for line in overlay.lines])
    farthest = np.linalg.norm(corners, axis=2).max(axis=0)  # [class]
    names = {text.get_text(): np.linalg.norm(text.xy) for text in overlay.texts}
    assert [names[n] for n in "012"] == pytest.approx(1.13 * farthest)


def test_the_three_most_confused_classes_are_mapped_unasked(forty):
    counts = forty["input"].confusion
    shares = counts / counts.sum(axis=1, keepdims=True)
    shares = (shares + shares.T) * (1 - np.eye(40))
    worst = {f"ph{k:02}" for k in np.unravel_index(shares.argmax(), shares.shape)}
    named = set(words(plotting.plot(forty, view="mds").axes[0]))
    assert worst < named


@pytest.mark.parametrize("mistaken", [None, (0, 1), (3, 1)])
def test_three_distinct_classes_are_mapped_where_hardly_anything_is_mistaken(run, mistaken):
    """Perfect classes, and ones of which two alone are mistaken, as a trained net's are."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    split = 20 * np.eye(4)[labels] + rng.normal(size=(200, 4)), labels
    result = run(LDA(), fit=split, score=split)
    counts = 50 * np.eye(4, dtype=int)
    assert np.array_equal(result.confusion, counts)
    if mistaken:
        counts[mistaken] = 1
    confusion = replace(result.fields["confusion"], values=counts)
    shown = LayerResults([replace(result, fields={**result.fields, "confusion": confusion})])
    overlay = plotting.plot(shown, view="mds").axes[-1]
    named = [word for word in words(overlay) if word in result.coords["class"]]
    assert len(set(named)) == len(named) == 3
    assert {str(k) for k in mistaken or ()} < set(named)


def test_one_class_alone_can_be_mapped(layers):
    assert plotting.png(plotting.plot(layers, view="mds", classes=["1"]))


def test_a_class_without_rows_in_a_subset_is_told(layers):
    counts, means = (layers["input"][f"subset_{n}"] for n in ("counts", "centroids"))
    gone = means.values.copy()
    gone[1, 2] = np.nan
    emptied = LayerResults(
        replace(each, fields={**each.fields, "subset_centroids": replace(means, values=gone)})
        for each in layers.values()
    )
    assert counts.values[1, 2] > 0
    with pytest.raises(InsufficientDataError, match="no inseparable row of '2' in 'input'"):
        plotting.plot(emptied, view="mds", classes=["0", "1", "2"], subset="inseparable")


# -- several models, several groupings, nothing to draw


def test_two_models_stand_in_one_table_and_one_figure(studied, layers):
    first = {"trained": studied, "untrained": studied}
    table, figure = compare(first)
    assert table.index.tolist() == list(LAYERS)
    for model in first:
        assert table[model, "accuracy"].tolist() == list(numbers(layers, "accuracy").values())
        expected = list(expansion(layers, subset="inseparable").values())
        assert table[model, "expansion_inseparable"].tolist() == expected
    assert legend(figure) == ["trained", "untrained"]
    assert [axes.get_ylabel() for axes in figure.axes][:2] == [
        "accuracy, rows of the fit",
        "accuracy, held-out rows",
    ]
    assert len(figure.axes) == 6


def test_models_are_compared_by_what_they_have(studied, run, clouds):
    shallow = Results({"lda": LayerResults([run(LDA(described=None), fit=clouds())])})
    table, figure = compare({"deep": studied, "shallow": shallow})
    assert np.isnan(table["shallow", "accuracy_fit"].tolist()[1:]).all()
    assert ("shallow", "expansion_separable") not in table
    assert ("deep", "expansion_separable") in table
    assert legend(figure) == ["deep", "shallow"]


def test_groupings_about_another_need_not_be_named(layers):
    about = [replace(each, grouping="correct") for each in layers.values()]
    both = LayerResults([*layers.values(), *about])
    assert lines(plotting.plot(both).axes[0]) == lines(plotting.plot(layers).axes[0])
    others = LayerResults([*layers.values(), *(replace(e, grouping="word") for e in about)])
    with pytest.raises(SettingError, match="say which of the groupings"):
        plotting.plot(others)
    assert plotting.plot(others, grouping="word")


@pytest.mark.parametrize("view", ["class_spectra", "areas", "tsne", "mds", "expansion"])
def test_what_needs_a_described_split_says_so(run, clouds, view):
    bare = LayerResults([run(LDA(), fit=clouds())])
    with pytest.raises(InsufficientDataError, match="split 'score' was seen"):
        plotting.plot(bare, view=view)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"view": "confusion", "split": "noisy"}, InsufficientDataError, "it has confusion_fit"),
        ({"view": "confusion", "classes": ["q"]}, LayerNotFoundError, "class 'q' not found"),
        ({"view": "mds", "layers": ["deep"]}, LayerNotFoundError, "deep"),
        ({"view": "tsne", "subset": "COR"}, SettingError, "'separable', 'inseparable'"),
    ],
)
def test_what_is_not_there_is_told(layers, options, error, said):
    with pytest.raises(error, match=said):
        plotting.plot(layers, **options)
