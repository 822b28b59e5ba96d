"""Drawings and report sections of transforms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torchprobe_slt import against, draw_against
from torchprobe_slt.pictures import largest, shaped

import torchprobe as tp
from torchprobe import plotting
from torchprobe.errors import (
    InsufficientDataError,
    LayerNotFoundError,
    NothingToDrawError,
    SettingError,
)

from .test_classes import trained


@pytest.fixture(scope="module")
def results():
    model, x, y = trained()
    probe = tp.Probe(model, ["1", "4", "6"], ["slt", "slt_classes", "lda"], class_names=list("abc"))
    return probe.run(fit=[(x, y)], score=[(x, y)], progress=False)


VIEWS = ["", "spectra", "transform", "templates", "pairs", "clusters", "map", "cluster_means"]


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_of_classes_draws(results, view):
    assert plotting.png(results.plot("slt_classes", view=view)).startswith(b"\x89PNG")


@pytest.mark.parametrize("view", ["", "spectra"])
def test_every_view_of_spectra_draws(results, view):
    assert plotting.png(results.plot("slt", view=view)).startswith(b"\x89PNG")


def test_node_spectra_of_a_first_layer_are_left_out(results):
    figure = results.plot("slt", view="spectra")
    names = [text.get_text() for text in figure.axes[1].get_yticklabels()]
    assert names == ["4", "6"]
    inputs = [text.get_text() for text in figure.axes[3].get_yticklabels()]
    assert inputs == ["1", "4", "6"]


def test_a_network_of_one_layer_has_nothing_to_draw_but_inputs():
    model = nn.Sequential(nn.Linear(3, 1))
    found = tp.Probe(model, "0", ["slt"]).run([torch.randn(9, 3)], progress=False)
    with pytest.raises(NothingToDrawError, match="rank one"):
        found.plot("slt", view="spectra")


def test_templates_are_drawn_in_the_shape_asked_for(results):
    figure = results.plot(
        "slt_classes", view="templates", classes=["b"], image=(2, 3), transpose=True
    )
    drawn = figure.axes[1].get_images()[0].get_array()
    expected = results["slt_classes"]["6"].template[1].reshape(2, 3).T
    np.testing.assert_allclose(drawn, expected)


def test_pictures_follow_the_image_that_the_analyzer_knows(results):
    found = results["slt_classes"]["6"]
    told = replace(found, settings={**found.settings, "image": (2, 3)})
    figure = plotting.plot(told, view="templates", classes=["b"])
    drawn = figure.axes[1].get_images()[0].get_array()
    np.testing.assert_allclose(drawn, found.template[1].reshape(2, 3).T)


def test_clusters_are_parted_by_lines(results):
    found = results["slt_classes"]["6"]
    which = np.bincount(found.point_class).argmax()
    lines = results.plot("slt_classes", view="clusters").axes[0].get_lines()
    assert len(lines) == (found.cluster_size[which] > 0).sum() - 1


def test_what_is_not_there_is_refused(results):
    with pytest.raises(SettingError, match="image="):
        results.plot("slt_classes", view="templates", image=(5, 5))
    with pytest.raises(LayerNotFoundError, match="class"):
        results.plot("slt_classes", view="map", category="z")
    with pytest.raises(InsufficientDataError, match="points that the network gets right"):
        results.plot("slt_classes", view="transform", category="a", point=999)


def test_activations_stand_against_transforms(results):
    pairs = against(results)
    assert list(pairs) == ["1", "4", "6"]
    assert pairs["4"][1] == results["slt_classes"]["4"].class_spectrum_auc
    assert pairs["4"][0] == results["lda"]["4"].class_spectrum_auc
    assert plotting.png(draw_against(results)).startswith(b"\x89PNG")


def test_comparing_without_the_other_analysis_says_what_is_missing():
    model, x, y = trained(60)
    alone = tp.Probe(model, analyzers=["slt_classes"]).run([(x, y)], progress=False)
    with pytest.raises(LayerNotFoundError, match="'slt_classes', 'lda'"):
        against(alone)


def test_the_report_speaks_of_transforms_and_of_classes(results, tmp_path):
    page = results.report(tmp_path / "report.html")
    text = (page if hasattr(page, "read_text") else tmp_path / "report.html").read_text()
    assert "Sample-dependent transforms" in text
    assert "Transforms of classes" in text
    assert "ΔAUC" in text


def test_images_average_channels_and_curves_stay_curves():
    assert shaped(np.arange(8.0), (2, 2, 2), transpose=False).tolist() == [[2, 3], [4, 5]]
    assert shaped(np.arange(3.0), (1, 3), transpose=False).tolist() == [0, 1, 2]
    assert largest(np.zeros(3)) == 1.0
