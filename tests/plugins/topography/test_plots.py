import subprocess

import numpy as np
import pytest
import torch
from matplotlib.animation import FFMpegWriter
from PIL import Image
from torch import nn
from torchprobe_topography import (
    Grid,
    Region,
    animate,
    arrange,
    arrangement_of,
    draw_filters,
    draw_inputs,
    draw_scatter,
    region_inputs,
)

from torchprobe import plotting
from torchprobe.errors import LayerNotFoundError, MissingExtraError, SettingError, ShapeError
from torchprobe.results import LayerResults, Results


def shown(axes):
    return np.asarray(axes.images[0].get_array())


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def test_neighbours_by_layer_are_drawn_unasked(results):
    layers = results()
    axes = Results({"topography": layers}).plot("topography").axes[0]
    expected = [
        [each[name].item for each in layers.values()]
        for name in ("neighbour_cosine", "random_cosine")
    ]
    assert [line.get_ydata().tolist() for line in axes.lines[:2]] == expected


@pytest.mark.parametrize("kind", ["grid", "smoothed", "interpolated"])
def test_every_class_has_its_map_in_one_range_of_colours(results, kind):
    layers = results()
    figure = plotting.plot(layers, view="maps", layer="b", kind=kind)
    maps = [axes for axes in figure.axes if axes.get_title()]
    assert titles(figure) == list(layers["b"].coords["class"])
    assert len({axes.images[0].get_clim() for axes in maps}) == 1
    low, high = maps[0].images[0].get_clim()
    assert low == -high
    if kind != "interpolated":
        drawn = layers["b"]["maps" if kind == "grid" else "smoothed"].values
        assert np.allclose([shown(axes) for axes in maps], drawn)
    assert all(len(axes.patches) == 2 for axes in maps)


def test_classes_can_be_chosen_and_only_those_that_are_there(results):
    layers = results()
    assert titles(plotting.plot(layers, view="maps", groups=["2", "0"])) == ["2", "0"]
    with pytest.raises(SettingError, match="class '9' not found"):
        plotting.plot(layers, view="maps", groups=["9"])
    with pytest.raises(SettingError, match="names no class"):
        plotting.plot(layers, view="maps", groups=[])
    with pytest.raises(SettingError, match="kind"):
        plotting.plot(layers, view="maps", kind="round")
    with pytest.raises(LayerNotFoundError):
        plotting.plot(layers, view="maps", layer="c")


def test_of_very_many_classes_the_largest_are_drawn(results):
    assert len(titles(plotting.plot(results(("a",), classes=45), view="maps"))) == 40


def test_stages_lead_from_cells_to_a_map(results):
    layers = results()
    figure = plotting.plot(layers, view="stages", groups=["1"])
    assert np.allclose(shown(figure.axes[0]), layers["b"].maps[1])
    assert [axes.get_ylabel() for axes in figure.axes if axes.images] == [
        "on grid",
        "smoothed",
        "interpolated",
    ]


@pytest.mark.parametrize("units", [1, 3, 5, 7, 11])
@pytest.mark.parametrize("view", ["maps", "stages"])
def test_layers_of_any_width_are_drawn(results, units, view):
    assert plotting.png(plotting.plot(results(("a",), units=units), view=view))


def test_other_checkpoints_are_drawn_on_a_given_arrangement(results):
    layers = results(arrange="pca")
    arrangement = arrangement_of(layers["a"])
    figure = plotting.plot(layers, view="maps", layer="b", kind="grid", arrangement=arrangement)
    assert np.allclose(shown(figure.axes[0]), arrangement.lay(layers["b"].responses)[0])
    assert not figure.axes[0].patches


def test_scattered_units_are_drawn_with_what_lies_between(results):
    responses = results()["b"].responses
    arrangement = arrange(responses.T, "pca")
    figure = draw_scatter(responses, arrangement, [*"wxyz"])
    assert titles(figure) == [*"wxyz"]
    assert np.allclose(figure.axes[0].collections[-1].get_offsets(), arrangement.points)
    assert draw_scatter(responses[0], np.stack([np.arange(64), np.zeros(64)], 1))
    with pytest.raises(SettingError, match="no points"):
        draw_scatter(responses, arrangement_of(results()["b"]))


def test_filters_lie_on_the_grid_with_neighbourhoods_close_up():
    filters = np.random.default_rng(0).normal(size=(12, 3, 2))
    figure = draw_filters(filters, centres=[0, 4])
    whole, corner, inside = figure.axes[:3]
    assert shown(whole).shape == (4 * 4 - 1, 3 * 3 - 1)
    assert shown(corner).shape == (2 * 4 - 1, 2 * 3 - 1)
    assert shown(inside).shape == (3 * 4 - 1, 3 * 3 - 1)
    assert np.allclose(shown(corner)[:3, :2] / filters[0], shown(corner)[0, 0] / filters[0, 0, 0])
    assert len(draw_filters(filters).axes) == 4
    with pytest.raises(ShapeError, match="fit"):
        draw_filters(filters, Grid(2, 2))
    with pytest.raises(ShapeError, match="unit, height, width"):
        draw_filters(filters[0])
    with pytest.raises(SettingError, match="centre 12"):
        draw_filters(filters, centres=[12])


def test_optimal_inputs_of_a_region_are_those_of_its_units_and_a_joint_one(results):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 64), nn.ReLU())
    arrangement = arrangement_of(results()["a"])
    region = Region(2, 3, 3, 0.0)
    found = region_inputs(model, "0", region, (5,), arrangement, l1=0.0, l2=0.5, steps=400)
    weight = model[0].weight.detach()
    units = region.units(Grid(8, 8))
    assert found.inputs.shape == (10, 5)
    expected = torch.cat([weight[units], weight[units].sum(0, keepdim=True)])  # w / (2 · l2)
    assert torch.allclose(found.inputs.float(), expected, atol=0.05)
    with pytest.raises(SettingError, match="arrangement"):
        region_inputs(model, "0", region, (5,))
    figure = draw_inputs(found.inputs.reshape(10, 1, 5, 1), [str(unit) for unit in units])
    assert titles(figure)[-1] == "all of them together"
    assert draw_inputs(found.inputs)
    with pytest.raises(SettingError):
        draw_inputs(np.zeros(3))


def test_checkpoints_become_a_moving_picture(results, tmp_path):
    first, second = results(), results(arrange="pca")
    path = animate(
        {"epoch 1": first, "epoch 2": second}, tmp_path / "new" / "maps.gif", groups=["1"]
    )
    with Image.open(path) as picture:
        assert picture.n_frames == 2
    assert [each.name for each in path.parent.iterdir()] == ["maps.gif"]
    with pytest.raises(SettingError, match="no checkpoint"):
        animate({}, path)
    with pytest.raises(SettingError, match=r"choose \.gif or \.mp4"):
        animate({"a": first}, "maps.png")


@pytest.mark.skipif(not FFMpegWriter.isAvailable(), reason="ffmpeg is not installed")
def test_a_film_has_the_frames_of_the_moving_picture(results, tmp_path):
    checkpoints = {"epoch 1": results(), "epoch 2": results(arrange="pca")}
    film, picture = (
        animate(checkpoints, tmp_path / f"maps.{ending}", groups=["1"]) for ending in ("mp4", "gif")
    )
    frames = _frames_of_film(film, tmp_path)
    with Image.open(picture) as drawn:
        assert len(frames) == drawn.n_frames == 2
        for number in range(2):
            drawn.seek(number)
            away = [_difference(drawn.convert("RGB"), other) for other in frames]
            assert away[number] == min(away) < 4  # of 255: what compression loses
    assert _difference(*frames) > 8


def _frames_of_film(film, folder):
    ffmpeg = FFMpegWriter.bin_path()
    subprocess.run([ffmpeg, "-v", "error", "-i", film, folder / "%d.png"], check=True)
    return [Image.open(path).convert("RGB") for path in sorted(folder.glob("*.png"))]


def _difference(one, other):
    """Of grey levels, where the pictures' even and odd sizes overlap."""
    size = np.minimum(one.size, other.size)
    pixels = [np.asarray(each.crop((0, 0, *size)), dtype=float) for each in (one, other)]
    return np.abs(pixels[0] - pixels[1]).mean()


def test_a_film_without_ffmpeg_names_the_way_out(results, tmp_path, monkeypatch):
    monkeypatch.setattr(FFMpegWriter, "isAvailable", lambda: False)
    with pytest.raises(MissingExtraError, match=r"write a GIF: maps\.gif"):
        animate({"a": results()}, tmp_path / "maps.mp4")


def test_a_picture_that_fails_leaves_no_file(results, tmp_path):
    with pytest.raises(LayerNotFoundError):
        animate({"a": results(), "b": LayerResults([])}, tmp_path / "maps.gif")
    assert not list(tmp_path.iterdir())


def test_the_report_tells_how_far_layers_are_maps(results):
    from torchprobe_topography.section import describe

    section = describe(results())
    assert section.analyzers == ("topography",)
    assert list(section.tables[0].columns[3:]) == [
        "cosine of neighbours",
        "of any two",
        "Moran's I",
        "smoothness",
        "maxima of a map",
    ]
    assert len(section.figures) == 3
    assert "box is the 3 × 3" in section.figures[1].caption
    assert "box" not in section.figures[2].caption
    assert not section.more
    arranged = describe(results(("a",), arrange="pca"))
    assert "`pca` puts them" in arranged.text
    assert len(arranged.figures) == 1
    many = describe(results(tuple("abcdefg"), units=16, classes=2))
    assert [each.caption.split("`")[1] for each in many.figures[1:]] == ["a", "d", "g"]
    assert [each.caption.split("`")[1] for each in many.more] == ["c", "e"]
