"""The demo's profiles are of the letters that the recogniser writes, where it writes them."""

import pytest
import torch
from torchprobe_speech import GraphemeNet, LayerShape, SpectrogramDataset
from torchprobe_speech.gradnap_demo import run_gradnap_demo

import torchprobe as tp
from torchprobe import report

SHAPES = [LayerShape(8, 5, 2), LayerShape(6, 3), LayerShape(9, 3)]  # field 13


def dataset(n=4):
    generator = torch.Generator().manual_seed(0)
    lengths = [40, 36, 44, 12][:n]
    return SpectrogramDataset(
        [torch.randn(length, 5, generator=generator) for length in lengths],
        ["a"] * n,
        [torch.randint(0, 40, (length,), generator=generator) for length in lengths],
        range(n),
    )


@pytest.fixture(scope="module")
def net():
    return GraphemeNet(SHAPES, bands=5, batch_norm=True, seed=1).eval()


@pytest.fixture(scope="module")
def demo(net):
    return run_gradnap_demo(net, dataset(), layer="layers.1.relu", progress=False)


def test_without_padding_a_window_gives_the_frame_in_its_middle(net):
    utterance = torch.randn(1, 5, 41)
    bare = net.without_padding()
    windows = torch.cat([utterance[:, :, start : start + 13] for start in range(0, 29, 2)])
    assert bare(windows).shape[2] == 1
    torch.testing.assert_close(bare(windows)[:, :, 0], net(utterance)[0, :, 3:18].T)
    assert not bare.training


def test_profiles_are_of_letters_and_phonemes_where_letters_are_written(net, demo):
    found = demo.results["grapheme_gradnap"]
    assert found.groupings == ("grapheme", "phoneme")
    assert found.layers == ("input", *(f"layers.{n}.relu" for n in range(3)), "output")
    data = dataset()
    written = 0
    for utterance in data.spectrograms:
        frames = net(utterance.T[None]).argmax(1)[0]
        whole = [i for i in range(len(frames)) if 2 * i >= 6 and 2 * i + 6 < len(utterance)]
        written += int((frames[whole] > 0).sum())
    for grouping in found.groupings:
        assert found.grouping(grouping)["output"].counts.sum() == written
    assert f"{written:,} windows of 4 sentences" in demo.text


def test_the_letter_of_a_window_is_what_the_bare_net_writes_there(net, demo):
    result = demo.results["grapheme_gradnap"].grouping("grapheme")["output"]
    names = ["_", *"abcdefghijklmnopqrstuvwxyz' "]
    letters = [names.index(name) for name in result.coords["group"]]
    top = result.activation[:, :, 0].argmax(1)  # [group]: the class that is highest on average
    assert (top == letters).mean() > 0.7


def test_optimal_inputs_are_as_long_as_what_neurons_see(demo):
    for grouping, inputs in demo.optimal.items():
        groups = demo.results["grapheme_gradnap"].grouping(grouping)["layers.1.relu"]
        assert list(inputs) == list(groups.coords["group"])
        assert {tuple(each.shape) for each in inputs.values()} == {(5, 9)}


def test_pictures_and_a_section_are_offered(demo, tmp_path):
    figures = dict(demo.figures())
    assert "silhouettes" in figures
    views = ("stages", "images", "neurons", "clusters")
    assert {f"{view}-{by}" for view in views for by in ("grapheme", "phoneme")} < set(figures)
    page = report.write(demo.results, tmp_path / "report.html", extra=[demo.section()])
    text = page.read_text("utf-8")
    assert "What a grapheme recogniser looks for" in text
    assert "Gradient-adjusted activation profiles" in text


def test_windows_of_the_padded_net_itself_give_the_same_outputs():
    shapes = [LayerShape(8, 7, 2), LayerShape(6, 3)]  # field 11, 5 on either side: not on the grid
    net = GraphemeNet(shapes, bands=5, seed=1).eval()
    x, frames = torch.randn(1, 5, 40), torch.arange(20)[None]
    own = tp.Windows([(x, frames)], net)
    [wide] = own
    [tight] = tp.Windows([(x, frames)], tp.layers(net, x)["model"].positions.maps[0])
    assert (own.position, own.width, tight.inputs.shape[2]) == (3, 12, 11)
    same = torch.isin(tight.labels["label"], wide.labels["label"])
    torch.testing.assert_close(
        net(wide.inputs)[:, :, 3], net.without_padding()(tight.inputs)[same][:, :, 0]
    )
