"""Results over the time of a training."""

import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import torchprobe as tp
from torchprobe.errors import FileFormatError, LayerNotFoundError, SettingError
from torchprobe.results import Field, LayerResults, Result, Results
from torchprobe.storage import save_arrays


def found(value, grouping=None, layers=("a", "b"), *, complete=True):
    results = [
        Result(
            "lda",
            layer,
            grouping,
            fields={"accuracy": Field("", value + i), "size": Field("", 2)},
            provenance={"complete": complete},
        )
        for i, layer in enumerate(layers)
    ]
    return Results({"lda": LayerResults(results)}, {"complete": complete})


def history(*steps, directory=None):
    made = tp.History(directory)
    for number, step in enumerate(steps):
        made.append(step, found(step / 100), float(number))
    return made


def test_curves_are_by_layer_and_step():
    assert history(0, 10).curves("lda", "accuracy") == {
        "a": {0: 0.0, 10: 0.1},
        "b": {0: 1, 10: 1.1},
    }


def test_curves_of_a_layer_that_came_later_begin_later():
    made = history(0)
    made.append(5, found(0.5, layers=("a", "c")))
    assert made.curves("lda", "accuracy")["c"] == {5: 1.5}


def test_one_of_several_groupings_is_chosen():
    made = tp.History()
    both = [*found(1, "phoneme")["lda"].values(), *found(2, "speaker")["lda"].values()]
    made.append(1, Results({"lda": LayerResults(both)}))
    assert made.curves("lda", "accuracy", "speaker")["a"] == {1: 2.0}
    assert made.groupings("lda") == ("phoneme", "speaker")


@pytest.mark.parametrize("ask", [("ldb", "accuracy"), ("lda", "acuracy"), ("lda", "size", "x")])
def test_typos_are_told(ask):
    with pytest.raises(LayerNotFoundError, match="not found"):
        history(0).curves(*ask)
    with pytest.raises(LayerNotFoundError, match="'7' not found"):
        history(0)[7]
    with pytest.raises(LayerNotFoundError):
        tp.History().last  # noqa: B018


def test_the_table_has_a_row_for_every_number():
    table = history(0, 10).to_frame()
    assert list(table.columns) == [
        "step",
        "epoch",
        "analyzer",
        "layer",
        "grouping",
        "quantity",
        "value",
    ]
    assert len(table) == 2 * 2 * 2
    row = table[(table.step == 10) & (table.layer == "b") & (table.quantity == "accuracy")]
    assert row.value.item() == 1.1
    assert row.epoch.item() == 1.0


def test_a_history_grows_at_its_end():
    with pytest.raises(SettingError, match="comes after step 10"):
        history(0, 10).append(10, found(1))


def test_what_is_saved_as_it_comes_is_what_there_is(tmp_path):
    made = history(0, 10, 20, directory=tmp_path)
    assert tp.History.load(tmp_path) == made
    made.truncate(10)
    assert tp.History.load(tmp_path).steps == (0, 10)
    made.append(15, found(3))
    assert tp.History.load(tmp_path) == made


def test_a_loaded_history_goes_on_being_saved(tmp_path):
    history(0, 10).save(tmp_path / "there")
    loaded = tp.History.load(tmp_path / "there")
    loaded.append(30, found(1))
    assert tp.History.load(tmp_path / "there").steps == (0, 10, 30)


def test_a_crash_while_saving_loses_no_step_but_that_one(tmp_path, monkeypatch):
    made = history(0, 10, directory=tmp_path)
    monkeypatch.setattr("torchprobe.history.save_arrays", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made.append(20, found(1))
    assert made.steps == (0, 10)
    assert tp.History.load(tmp_path) == made
    monkeypatch.undo()
    made.append(20, found(2))
    assert tp.History.load(tmp_path) == made


def test_nothing_saved_is_overwritten_unasked(tmp_path):
    history(0, directory=tmp_path)
    with pytest.raises(SettingError, match=r"History\.load"):
        tp.History(tmp_path)
    found(1).save(tmp_path / "results")
    with pytest.raises(SettingError):
        history(0).save(tmp_path / "results")


def test_damaged_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        tp.History.load(tmp_path)
    save_arrays(tmp_path, {}, {"steps": [["../../etc", 0]]}, kind="history")
    with pytest.raises(FileFormatError, match="no numbers"):
        tp.History.load(tmp_path)
    save_arrays(tmp_path, {}, {"no": []}, kind="history")
    with pytest.raises(FileFormatError, match="does not list"):
        tp.History.load(tmp_path)
    history(3).save(tmp_path / "ok")
    shutil.rmtree(tmp_path / "ok" / "step-000000003")
    with pytest.raises(FileNotFoundError):
        tp.History.load(tmp_path / "ok")


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=5).map(sorted))
def test_a_state_is_tensors_and_text_and_comes_back(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("state") / "history.pt"
    made = history(*steps)
    torch.save(made.state_dict(), path)
    other = history(1, 2)
    other.load_state_dict(torch.load(path, weights_only=True))
    assert other == made


def test_the_same_view_is_drawn_at_several_steps():
    made = history(*range(0, 100, 10))
    figures = made.evolution("lda", view="numbers", name="accuracy")
    assert list(figures) == [0, 30, 60, 90]
    assert figures[30].axes[0].get_ylabel() == "accuracy"
    assert list(made.evolution("lda", "numbers", steps=[50], name="size")) == [50]
    with pytest.raises(LayerNotFoundError):
        made.evolution("lda", steps=[55])
    with pytest.raises(SettingError, match="view"):
        made.evolution("lda", "map")


def test_incomplete_results_are_marked():
    made = history(0)
    made.append(5, found(1, complete=False))
    assert not made.complete
    assert "step 5: lda INCOMPLETE" in repr(made)
    assert made.epoch(5) is None
    assert made != history(0)
    assert made.last is made[5]
