import math

import pytest

from torchprobe.errors import InsufficientDataError, LayerNotFoundError
from torchprobe.plotting import by_layer, compare, quantity
from torchprobe.results import Field, LayerResults, Result, Results


def layers(*numbers, grouping=None, names=None, analyzer="lda"):
    names = names or [f"hidden.{n}" for n in range(len(numbers))]
    return [
        Result(analyzer, name, grouping, fields={"accuracy": Field("", number)})
        for name, number in zip(names, numbers, strict=True)
    ]


def points(figure):
    return [list(zip(*line.get_data(), strict=True)) for line in figure.axes[0].lines]


def test_lines_with_the_same_layers_share_their_names():
    figure = by_layer({"a": {"x": 1, "y": 2}, "b": {"y": 3}})
    assert points(figure) == [[(0, 1), (1, 2)], [(1, 3)]]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["x", "y"]


def test_models_with_other_layers_are_matched_by_depth():
    figure = by_layer({"a": {"x": 1, "y": 2}, "b": {"p": 3, "q": 4, "r": 5}})
    assert points(figure) == [[(0, 1), (1, 2)], [(0, 3), (1, 4), (2, 5)]]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["1", "2", "3"]


def test_all_lines_can_be_told_apart_and_are_named(drawn):
    figure = by_layer({f"model {n}": {"x": n, "y": 2 * n} for n in range(40)})
    looks = {(line.get_color(), line.get_marker()) for line in figure.axes[0].lines}
    assert len(looks) == 40
    assert len(figure.legends[0].get_texts()) == 40
    drawn(figure)


def test_hostile_names_are_shown_as_text(drawn, hostile):
    series = {name: {layer: float(n) for layer in hostile} for n, name in enumerate(hostile)}
    figure = by_layer(series, title=hostile[2], ylabel=hostile[3], subtitle=hostile[4])
    texts = drawn(figure)
    assert r"\$\frac{\$" in texts
    assert len(figure.legends[0].get_texts()) == len(hostile)


@pytest.mark.parametrize("n", [1, 2, 120])
def test_any_number_of_layers_can_be_drawn(drawn, n):
    figure = by_layer({"": {f"encoder.layers.{i}.mlp": float(i) for i in range(n)}})
    assert len(figure.axes[0].get_xticklabels()) <= 40
    drawn(figure)


def test_nan_leaves_a_gap(drawn):
    drawn(by_layer({"": {"a": 1.0, "b": math.nan, "c": 2.0}}, from_zero=True))
    drawn(by_layer({"": {"a": math.nan}}, from_zero=True))


def test_counts_begin_at_0_and_are_whole():
    axes = by_layer({"": {"a": 15, "b": 22}}, from_zero=True).axes[0]
    assert axes.get_ylim()[0] == 0
    assert axes.get_ylim()[1] > 22
    assert all(tick % 1 == 0 for tick in axes.get_yticks())


def test_nothing_to_draw_is_an_error():
    with pytest.raises(InsufficientDataError, match="no layer"):
        by_layer({})


def test_a_quantity_has_a_line_for_each_grouping():
    results = LayerResults([*layers(0.1, 0.2, grouping="a"), *layers(0.3, 0.4, grouping="b")])
    figure = quantity(results, "accuracy")
    assert points(figure) == [[(0, 0.1), (1, 0.2)], [(0, 0.3), (1, 0.4)]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_an_unknown_quantity_lists_those_there_are():
    with pytest.raises(LayerNotFoundError, match="did you mean 'accuracy'"):
        quantity(LayerResults(layers(0.1)), "acuracy")


def test_models_are_compared_by_one_number():
    models = {
        "small": Results({"lda": LayerResults(layers(0.1, 0.2))}),
        "large": Results({"lda": LayerResults(layers(0.3, 0.4, 0.5, names=["a", "b", "c"]))}),
    }
    figure = compare(models, "lda")
    assert points(figure) == [[(0, 0.1), (1, 0.2)], [(0, 0.3), (1, 0.4), (2, 0.5)]]
    assert figure.axes[0].get_ylabel() == "accuracy"


def test_comparing_asks_which_of_several_groupings():
    both = [*layers(0.1, grouping="a"), *layers(0.3, grouping="b")]
    models = {"m": Results({"lda": LayerResults(both)})}
    with pytest.raises(LayerNotFoundError, match="several groupings"):
        compare(models, "lda")
    assert points(compare(models, "lda", grouping="b")) == [[(0, 0.3)]]
