import numpy as np
import pytest

from torchprobe.errors import InsufficientDataError, ShapeError
from torchprobe.plotting import Tree, clustergram


def matrix(rows=6, columns=9, seed=0):
    return np.random.default_rng(seed).gamma(1.0, size=(rows, columns))


def image(figure):
    (shown,) = figure.axes[0].images
    return np.asarray(shown.get_array()), shown


def test_rows_and_columns_stand_in_the_order_of_their_trees(tree):
    values = matrix()
    rows, columns = tree(values), tree(values.T)
    shown, _ = image(clustergram(values, rows=rows, columns=columns))
    assert np.array_equal(shown, values[rows.order][:, columns.order])


def test_items_outside_the_trees_are_not_shown(tree):
    values = matrix()
    some = Tree(tree(values[:, :4].T).linkage, np.array([8, 1, 5, 3]))
    shown, _ = image(clustergram(values, columns=some))
    assert np.array_equal(shown, values[:, [8, 1, 5, 3]])


def test_names_follow_their_rows(tree):
    values = matrix()
    rows = tree(values)
    figure = clustergram(values, rows=rows, row_names=list("abcdef"))
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == [list("abcdef")[row] for row in rows.order]


def test_leaves_of_both_trees_meet_their_rows_and_columns(tree):
    values = matrix()
    figure = clustergram(values, rows=tree(values), columns=tree(values.T))
    middle, left, above = figure.axes[:3]
    assert left.get_position().y0 == pytest.approx(middle.get_position().y0)
    assert left.get_ylim() == middle.get_ylim()
    assert above.get_position().x1 == pytest.approx(middle.get_position().x1)
    assert above.get_xlim() == middle.get_xlim()


def test_the_tree_of_the_columns_ends_at_the_cutoff(tree):
    values = matrix()
    figure = clustergram(values, columns=tree(values.T), cutoff=0.5)
    above = figure.axes[2]
    assert above.get_ylim()[0] == 0.5
    heights = np.concatenate([path.vertices[:, 1] for path in above.collections[0].get_paths()])
    assert heights.min() >= 0.5


def test_the_strip_changes_where_a_cluster_ends():
    clusters = [0, 1, 1, 2, 0, 1, 2, 2, 0]
    order = np.argsort(clusters, kind="stable")
    flat = Tree(np.empty((0, 4)), order)
    figure = clustergram(matrix(), columns=flat, clusters=clusters)
    strip = np.asarray(figure.axes[3].images[0].get_array())[0]
    assert strip.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0]


def test_colours_are_centred_at_0_where_values_are_signed():
    _, signed = image(clustergram(matrix() - 1))
    low, high = signed.get_clim()
    assert low == -high
    _, positive = image(clustergram(matrix()))
    assert positive.get_clim()[0] == 0
    assert clustergram(matrix(), symmetric=True).axes[0].images[0].get_clim()[0] < 0


def test_one_glaring_unit_does_not_pale_the_others(drawn):
    values = matrix(20, 200)
    values[3, 7] = 1e6
    figure = clustergram(values)
    _, shown = image(figure)
    assert shown.get_clim()[1] < 20
    drawn(figure)


def test_more_columns_than_dots_are_shown_by_their_means():
    values = matrix(3, 5000)
    shown, artist = image(clustergram(values))
    assert shown.shape[1] < 2000
    assert shown.mean() == pytest.approx(values.mean(), rel=0.01)
    assert artist.get_extent()[:2] == [-0.5, 4999.5]


def test_a_sparse_matrix_has_colours():
    values = np.zeros((20, 400))
    values[3, 7] = 2.0
    assert image(clustergram(values))[1].get_clim()[1] == 2.0


def test_hostile_names_are_shown_as_text(drawn, tree, hostile):
    values = matrix(len(hostile))
    categories = dict(zip(hostile, reversed(hostile), strict=True))
    figure = clustergram(
        values,
        rows=tree(values),
        row_names=hostile,
        categories=categories,
        title=hostile[2],
        subtitle=hostile[5],
        value_label=hostile[4],
        column_label=hostile[0],
        height_label=hostile[3],
    )
    texts = drawn(figure)
    assert r"\$\frac{\$" in texts
    assert r"\x1b[31mred\x1b[0m\x00" in texts
    assert all(len(text) < 200 for text in texts)


def test_categories_are_explained_in_a_legend(drawn):
    figure = clustergram(matrix(3), row_names=list("abc"), categories={"a": "vowel", "c": "stop"})
    legend = figure.axes[0].get_legend()
    assert [text.get_text().strip() for text in legend.get_texts()] == ["vowel", "stop"]
    drawn(figure)


@pytest.mark.parametrize("shape", [(40, 2048), (300, 12), (1, 1), (1, 50), (50, 1), (3, 3)])
def test_any_shape_can_be_drawn(drawn, shape):
    names = [f"class {n}" for n in range(shape[0])]
    drawn(
        clustergram(matrix(*shape), row_names=names, cutoff=0.5, clusters=np.zeros(shape[1], int))
    )


def test_rows_thinner_than_letters_get_every_nth_name():
    figure = clustergram(matrix(300, 4), row_names=[str(n) for n in range(300)])
    names = figure.axes[0].get_yticklabels()
    assert 50 < len(names) < 150


@pytest.mark.parametrize(
    "values", [np.full((3, 4), np.nan), np.zeros((3, 4)), np.full((3, 4), np.inf)]
)
def test_values_without_a_range_can_be_drawn(drawn, values):
    drawn(clustergram(values))


def test_names_and_clusters_must_fit():
    with pytest.raises(ShapeError, match="2 row names"):
        clustergram(matrix(), row_names=["a", "b"])
    with pytest.raises(ShapeError, match="3 clusters"):
        clustergram(matrix(), clusters=[0, 0, 1])
    with pytest.raises(ShapeError, match="matrix"):
        clustergram([1.0, 2.0])
    with pytest.raises(InsufficientDataError, match="nothing to show"):
        clustergram(matrix(3, 0))
