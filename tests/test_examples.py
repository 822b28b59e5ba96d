"""The examples do what they say."""

import importlib.util
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def loaded(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_digits_end_in_a_report_of_every_layer(tmp_path, capsys):
    results = loaded("digits").main(tmp_path)
    assert list(results["class_selectivity"]) == ["input", "1", "3"]
    assert "1797 samples" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    assert "A digit classifier" in page
    assert "Class selectivity" in page


def test_training_is_watched_epoch_by_epoch(capsys):
    history = loaded("while_training").main(epochs=4, every=2)
    assert len(history) == 2
    assert all(results["class_selectivity"]["1"].counts.sum() == 1797 for results in history)
    assert "epoch   4" in capsys.readouterr().out
