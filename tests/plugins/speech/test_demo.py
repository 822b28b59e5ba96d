"""The demo on a few sentences: everything that it promises lies in its folder."""

import argparse
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torchprobe_speech import (
    CorpusSettings,
    CtcTraining,
    FrameTraining,
    GraphemeNet,
    SpectrogramDataset,
)
from torchprobe_speech.demo import add_command, run_demo
from torchprobe_speech.grapheme_demo import probe_graphemes
from torchprobe_speech.phonetic_groups import phonetic_agreement, phonetic_section
from torchprobe_speech.recipes import DEMO, QUICK_DEMO, DemoRecipe

import torchprobe as tp
from torchprobe.results import LayerResults

STAGES = [
    "phonemes: corpus",
    "phonemes: training",
    "phonemes: probing",
    "graphemes: corpus",
    "graphemes: training",
    "graphemes: probing",
    "graphemes: windows",
    "saving",
    "report",
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    pytest.importorskip("espeakng_loader", reason="espeakng-loader is not installed")
    few = CorpusSettings(train=8, validation=2, test=4, voices=3, heldout_voices=2)
    two = CorpusSettings(train=8, validation=2, test=4, voices=2, heldout_voices=0)
    recipe = DemoRecipe(
        few,
        FrameTraining(epochs=1),
        two,
        CtcTraining(epochs=1),
        settings={"nap": {"percentile": 70}, "of_a_plugin_not_there": {"x": 1}},
    )
    stages = []

    @contextmanager
    def told(stage):
        yield
        stages.append(stage)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHPROBE_CACHE", str(tmp_path_factory.mktemp("cache")))
        out = tmp_path_factory.mktemp("demo")
        found = run_demo(out, recipe, ["class_selectivity", "nap"], progress=False, told=told)
    assert stages == STAGES
    return found


def test_both_networks_are_in_one_folder_of_results(demo):
    folder = demo.report.parent
    loaded = tp.load(folder / "results")
    assert loaded == demo.results
    assert list(loaded) == ["class_selectivity", "nap", "grapheme_nap", "grapheme_gradnap"]
    assert loaded["nap"].layers[0] == loaded["grapheme_nap"].layers[0] == "input"
    assert loaded["nap"]["output"].settings["percentile"] == 70
    drawn = {path.name[3:-7] for path in (folder / "figures").iterdir()}
    assert {"class-selectivity", "phonetic-groups", "what-a-grapheme-recogniser-looks-for"} <= drawn


def test_the_report_tells_of_both_networks_and_that_speech_is_synthetic(demo):
    page = demo.report.read_text("utf-8")
    for told in (
        demo.phonemes.intro,
        demo.graphemes.intro,
        "SYNTHETIC",
        "Phonetic groups",
        "looks for",
    ):
        assert told in page
    shown = [line for line in page.splitlines() if "Conv1d" in line or "Linear" in line]
    assert shown, "layers of one name in both networks are listed for both"


def test_the_account_of_each_run_is_kept(demo):
    for name, part in (("phoneme", demo.phonemes), ("grapheme", demo.graphemes)):
        kept = demo.results.provenance[f"{name} network"]
        assert kept["forwards"] == part.results.provenance["forwards"]
    assert demo.results.complete


def test_phonemes_of_the_input_meet_the_frames_of_the_output():
    """What core works out from the measured positions is what the net's own arithmetic says."""
    net = GraphemeNet.compact(4, 5, channels=6, top=7).eval()
    torch.manual_seed(0)
    lengths = [91, 120, 120, 87]
    phonemes = [torch.randint(-1, 3, (n,)) for n in lengths]
    data = SpectrogramDataset(
        [torch.randn(n, 4) for n in lengths], ["a"] * 4, phonemes, list(range(4))
    )
    found = probe_graphemes(net, data)["grapheme_nap"].grouping("phoneme")
    at_output = torch.cat([each[:: net.stride] for each in phonemes])
    counts = [int((at_output == label).sum()) for label in range(3)]
    assert found["output"].counts.tolist() == counts
    assert found["layers.5.relu"].counts.tolist() == counts
    assert found["layers.0.relu"].profile.shape[2] == 33  # of the 75 frames that an output sees
    for layer in found.layers:
        assert found[layer].counts.sum() + found[layer].left_out == sum(counts)


def test_agreement_with_phonetic_categories_is_that_of_the_distances():
    vowels, stops = ["aa", "iy", "uw"], ["p", "t", "k"]
    apart = np.kron([[0, 9], [9, 0]], np.ones((3, 3))) + 1 - np.eye(6)
    fields = {
        "distances": tp.Field("group other", apart),
        "cluster": tp.Field("group", np.array([0, 0, 0, 1, 1, 1])),
    }
    names = {"group": [*vowels, *stops]}
    layers = LayerResults([tp.Result("nap", "relu", "phoneme", fields=fields, coords=names)])
    found = phonetic_agreement(layers)
    assert list(found) == ["phonemes, category", "phonemes, manner"]
    assert found["phonemes, manner"]["relu"].rand == 1
    assert found["phonemes, category"]["relu"].silhouette == pytest.approx(0.9)
    section = phonetic_section(layers)
    assert section.tables[0].rows[0][0] == "relu"


@pytest.mark.parametrize(("arguments", "recipe"), [([], DEMO), (["--quick"], QUICK_DEMO)])
def test_the_command_takes_the_recipe_asked_for(arguments, recipe, monkeypatch, capsys):
    asked = {}

    class Stop(Exception):  # noqa: N818
        pass

    def instead(out, recipe, **options):
        asked.update(options, out=str(out), recipe=recipe)
        with options["told"]("a stage"):
            raise Stop

    monkeypatch.setattr("torchprobe_speech.demo.run_demo", instead)
    parser = argparse.ArgumentParser()
    add_command(parser.add_subparsers())
    options = parser.parse_args(["demo", "--seed", "3", "--out", "there", *arguments])
    with pytest.raises(Stop):
        options.run(options)
    assert (asked["recipe"], asked["seed"], asked["out"]) == (recipe, 3, "there")
