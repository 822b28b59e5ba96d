"""The pictures show what the numbers say, and the report explains them."""

import numpy as np
import pytest
import torch

import torchprobe as tp
from torchprobe.errors import SettingError
from torchprobe.optimal_input import most_responsive, optimal_inputs
from torchprobe.plotting import plot, views


def test_energy_falls_to_zero_away_from_the_time_of_alignment(results):
    for layer in ("input", "1", "3"):
        energy = results["gradnap"][layer].energy  # [group, time]
        middle = energy.shape[1] // 2
        assert (energy[:, [0, -1]].max(1) < 0.02 * energy.max(1)).all()
        assert (np.abs(energy.argmax(1) - middle) <= 3).all()
        assert (results["gradnap"][layer].spread <= 5).all()


def test_all_views_are_offered():
    assert set(views("gradnap")) == {
        "", "numbers", "images", "neurons", "clusters", "stages"
    }  # fmt: skip


def test_silhouettes_have_a_line_for_each_threshold_and_their_mean(results):
    figure = plot(results["gradnap"])
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [*(f"{p}th" for p in (75, 80, 85, 90, 95)), "mean"]
    assert figure.axes[0].lines[-1].get_ydata()[0] == results["gradnap"]["input"].mean_silhouette


def test_two_groupings_are_drawn_side_by_side_on_one_scale(trained):
    model, windows, labels = trained
    probe = tp.Probe(model, ["1", "3"], [tp.analyzer("gradnap", stages=True)])
    found = probe.run([tp.Batch(windows, labels={"fine": labels, "coarse": labels // 2})])
    figure = plot(found["gradnap"])
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "silhouette by fine", "silhouette by coarse", "mean over thresholds"
    ]  # fmt: skip
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert [len(axes.lines) for axes in figure.axes] == [5, 5, 2]
    for view in ("images", "neurons", "clusters", "stages"):  # of the first, unless said
        assert plot(found["gradnap"], view=view).axes
    title = plot(found["gradnap"], view="images", grouping="coarse")._suptitle.get_text()
    assert title == "1 by coarse"


def test_images_have_one_symmetric_range_a_row(results):
    figure = plot(results["gradnap"], view="images", groups=["aa", "t"])
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(images) >= 4
    low, high = images[0].get_clim()
    assert low == -high
    assert images[1].get_clim() == (low, high)
    shown = results["gradnap"]["input"].normalised[0]
    assert np.array_equal(images[0].get_array(), shown)


def test_neurons_are_lines_with_the_most_responsive_coloured(results, trained):
    result = results["gradnap"]["3"]
    weights = most_responsive(result.responsiveness)
    inputs = optimal_inputs(trained[0], "2", weights, (10, 9), progress=False).inputs
    optimal = dict(zip(result.coords["group"], inputs.numpy(), strict=True))
    figure = plot(results["gradnap"], view="neurons", layer="3", groups=["aa"], optimal=optimal)
    lines = figure.axes[0].lines
    assert len(lines) == 24 + 5 + 1
    assert len(figure.axes) == 2
    chosen = np.flatnonzero(weights[0])
    assert [int(each.get_label()) for each in lines[24:29]] == chosen.tolist()


def test_stages_and_clusters_are_drawn(results, trained):
    assert len([a for a in plot(results["gradnap"]["3"], view="stages").axes if a.images]) == 5
    assert plot(results["gradnap"]["3"], view="clusters").axes
    bare = tp.Probe(trained[0], ["3"], ["gradnap"]).run([(trained[1], trained[2])])
    with pytest.raises(SettingError, match="stages=True"):
        plot(bare, view="stages")
    with pytest.raises(SettingError, match="no group 'x'"):
        plot(results["gradnap"]["3"], view="neurons", groups=["x"])
    with pytest.raises(SettingError, match="no single axis"):
        plot(results["gradnap"]["6"], view="neurons")


def test_the_report_explains_the_profiles(results, tmp_path):
    page = results.report(tmp_path / "report.html").read_text()
    assert "Gradient-adjusted activation profiles" in page
    assert page.count("<img") + page.count("<svg") >= 3


def test_images_of_pixels_are_upright():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3), torch.nn.Flatten(), torch.nn.Linear(48, 2)
    )
    data = [(torch.randn(6, 1, 6, 6), torch.arange(6) % 2)]
    found = tp.Probe(model, ["input", "0"], ["gradnap"]).run(data)
    image = plot(found["gradnap"], view="images").axes[0].images[0].get_array()
    assert np.array_equal(image[::-1], found["gradnap"]["input"].gradnap[0, 0])
