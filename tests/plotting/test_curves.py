"""Numbers over the time of a training."""

import numpy as np
import pytest

import torchprobe as tp
from torchprobe.errors import InsufficientDataError, LayerNotFoundError
from torchprobe.plotting import over_steps, over_training
from torchprobe.results import Field, LayerResults, Result, Results


def line(steps):
    return {step: step / 7 for step in steps}


def history(names=("accuracy", "auc"), groupings=(None,)):
    made = tp.History()
    for step in (0, 5, 10):
        results = [
            Result("lda", layer, grouping, fields={name: Field("", step / 10) for name in names})
            for layer in ("h.0", "h.1")
            for grouping in groupings
        ]
        made.append(step, Results({"lda": LayerResults(results)}))
    return made


def test_a_line_for_each_layer_and_a_panel_for_each_number(drawn):
    figure = over_training(history(), "lda", ["accuracy", "auc"])
    texts = drawn(figure)
    assert {"h.0", "h.1", "accuracy", "auc", "lda", "step"} <= set(texts)
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]
    assert list(figure.axes[0].lines[0].get_ydata()) == [0.0, 0.5, 1.0]


def test_steps_spread_like_a_logarithmic_schedule_get_a_logarithmic_axis():
    crowded, even = line([0, 1, 3, 10, 32, 100, 316, 1000]), line(range(0, 1001, 100))
    assert over_steps({"n": {"a": crowded}}).axes[0].get_xscale() == "symlog"
    assert over_steps({"n": {"a": even}}).axes[0].get_xscale() == "linear"
    assert over_steps({"n": {"a": even}}, logarithmic=True).axes[0].get_xscale() == "symlog"
    assert over_steps({"n": {"a": crowded}}, logarithmic=False).axes[0].get_xscale() == "linear"


def test_lines_of_different_steps_are_drawn_where_they_have_numbers(drawn):
    figure = over_steps({"n": {"a": line([0, 10]), "b": line([10]), "c": {}}})
    drawn(figure)
    known = [np.isfinite(each.get_ydata()).sum() for each in figure.axes[0].lines]
    assert known == [2, 1, 0]


def test_forty_layers_stay_readable(drawn):
    figure = over_steps({"n": {f"layer.{i}": line(range(50)) for i in range(40)}})
    assert len({text for text in drawn(figure) if text.startswith("layer.")}) <= 16


def test_hostile_names_are_text(drawn, hostile):
    drawn(over_steps({name: {name: line([1, 2])} for name in hostile}, title=hostile[0]))


def test_one_grouping_is_drawn_and_named(drawn):
    made = history(groupings=("phoneme", "speaker"))
    assert "by phoneme" in drawn(over_training(made, "lda"))
    assert "by speaker" in drawn(made.plot("lda", "auc", grouping="speaker"))


def test_nothing_to_draw_says_so():
    with pytest.raises(InsufficientDataError, match="no curve"):
        over_steps({"n": {}})
    with pytest.raises(LayerNotFoundError, match="acuracy"):
        history().plot("lda", "acuracy")
