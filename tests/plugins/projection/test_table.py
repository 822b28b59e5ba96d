import numpy as np
import pytest
from torchprobe_projection import table

from torchprobe.errors import SettingError
from torchprobe.results import Field, LayerResults, Result

METHODS = ("tsne", "umap", "autoencoder", "random")
PD = {"a": [0.9, 0.8, 0.8, 0.1], "b": [0.7, np.nan, 0.9, 0.95]}
HIT = {"a": [[0.5, 0.6, 0.4, 0.9], [0.2, 0.1, 0.1, 0.0]], "b": [[0.3] * 4, [np.nan] * 4]}


def result(layer, *, labelled=True):
    fields = {"pd": Field("method", PD[layer]), "pca_bound": Field("", 0.25)}
    coords = {"method": METHODS}
    if labelled:
        fields |= {
            "hit": Field("grouping method", HIT[layer]),
            "layer_hit": Field("grouping", [0.75, 0.5]),
        }
        coords["grouping"] = ("phone", "speaker")
    return Result("projection", layer, fields=fields, coords=coords)


@pytest.fixture
def layers():
    return LayerResults([result("a"), result("b")])


def test_rows_are_layers_by_measures_by_groupings(layers):
    keys = [(row.layer, row.measure, row.grouping) for row in table(layers).rows]
    own = [("pd", None), ("hit", "phone"), ("hit", "speaker")]
    assert keys == [(layer, *each) for layer in "ab" for each in own]


def test_the_best_is_the_least_distance_and_the_greatest_of_all_else(layers):
    best = {(row.layer, row.measure, row.grouping): row.best for row in table(layers).rows}
    assert best["a", "pd", None] == ("umap", "autoencoder")  # both, and never the random one
    assert best["b", "pd", None] == ("tsne",)
    assert best["a", "hit", "phone"] == ("umap",)
    assert best["b", "hit", "speaker"] == ()


def test_the_reference_is_the_bound_or_the_layer_itself(layers):
    found = [row.reference for row in table(layers).rows]
    assert found == [0.25, 0.75, 0.5] * 2


def test_as_a_frame(layers):
    frame = table(layers).to_frame()
    assert list(frame) == ["layer", "measure", "grouping", *METHODS, "reference", "best"]
    assert frame.loc[0, "umap"] == 0.8
    assert frame.loc[0, "best"] == "umap autoencoder"
    assert len(frame) == 6


def test_as_text_the_best_of_each_row_has_a_star(layers):
    lines = str(table(layers)).splitlines()
    assert lines[0].split() == [
        "layer",
        "measure",
        "t-SNE",
        "UMAP",
        "autoencoder",
        "random",
        "reference",
    ]
    assert lines[1].split() == ["a", "pd", "↓", "0.900", "0.800*", "0.800*", "0.100", "0.250"]
    assert lines[2].split()[:4] == ["hit", "(phone)", "↑", "0.500"]
    assert lines[4].split()[:6] == ["b", "pd", "↓", "0.700*", "–", "0.900"]
    assert len({line.index("0.") for line in lines[1:3]}) == 1


def test_as_a_table_of_a_report_numbers_stay_numbers(layers):
    report = table(layers).to_report("caption")
    assert report.numeric == (False, False, True, True, True, True, True, False)
    assert [row[-1] for row in report.rows][:2] == ["UMAP, autoencoder", "UMAP"]
    assert report.caption == "caption"


def test_only_measures_asked_for_in_the_order_asked(layers):
    rows = table(layers, ("hit", "pd")).rows
    assert [row.measure for row in rows] == ["hit", "hit", "pd"] * 2
    assert {row.measure for row in table(layers, "pd").rows} == {"pd"}


def test_a_measure_that_is_not_there_is_told(layers):
    with pytest.raises(SettingError, match="'mi' is in no layer; there are pd, hit"):
        table(layers, "mi")


def test_layers_without_labels_have_no_rows_about_them():
    layers = LayerResults([result("a"), result("b", labelled=False)])
    assert [row.measure for row in table(layers).rows] == ["pd", "hit", "hit", "pd"]
