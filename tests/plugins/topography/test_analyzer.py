import numpy as np
import pytest
import torch
from references import topography as reference
from torch import nn
from torchprobe_topography import (
    Arrangement,
    Grid,
    TopographicLoss,
    Topography,
    arrange,
    arrangement_of,
    cells_of,
    region,
    response_maps,
)

import torchprobe as tp
from torchprobe.errors import SettingError
from torchprobe.results import LayerResults, Result
from torchprobe.testing import check_analyzer


@pytest.mark.parametrize("arrange", ["order", "pca", "graph"])
def test_it_keeps_the_contract(arrange):
    check_analyzer(Topography(arrange))


def drawn(units, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(classes * 7, units, generator=generator, dtype=torch.float64)
    return rows, torch.arange(len(rows)) % classes


def test_responses_are_class_means_less_the_mean_of_all_rows(feed):
    rows, labels = drawn(16)
    labels = labels.masked_fill(torch.arange(len(labels)) % 5 == 1, -1)
    found = feed(rows, labels)
    counted = labels >= 0
    overall = rows[counted].mean(0)
    for group in range(3):
        expected = rows[labels == group].mean(0) - overall
        assert np.allclose(found.responses[group], expected, atol=1e-14)
    assert np.array_equal(found.maps.reshape(3, 16), found.responses)
    assert found.counts.sum() == counted.sum()


def test_maps_and_measures_equal_the_formulas(feed):
    found = feed(*drawn(20))
    weights = reference.neighbours(5, 4, 20)
    for group, grid_map in enumerate(found.maps):
        assert np.allclose(found.smoothed[group], reference.smoothed(grid_map))
        assert found.moran[group] == pytest.approx(
            reference.morans_i(found.responses[group], weights)
        )
        assert found.smoothness[group] == pytest.approx(
            1 - reference.gearys_c(found.responses[group], weights)
        )
        best = region(grid_map)
        assert (found.region_row[group], found.region_column[group]) == (best.row, best.column)
        assert found.region_value[group] == pytest.approx(best.value)
    units = found.responses.T
    alike = reference.loss(units, 5, 4, literal=True) / 20
    assert found.neighbour_cosine == pytest.approx(alike)
    assert found.random_cosine == pytest.approx(reference.mean_of_all_pairs(units))
    assert found.excess_cosine == pytest.approx(found.neighbour_cosine - found.random_cosine)
    assert found.mean_moran == pytest.approx(found.moran.mean())


@pytest.mark.parametrize("units", [1, 2, 3, 4, 5, 7, 11, 29, 253])
@pytest.mark.parametrize("arrange", ["order", "pca"])
def test_it_works_on_layers_of_any_width(feed, units, arrange):
    found = feed(*drawn(units), arrange=arrange)
    assert found.maps.shape[0] == 3
    assert np.isfinite(found.maps).sum() == 3 * units
    assert np.isfinite(found.mean_moran) == (units >= 4)


def test_one_class_or_dead_units_are_not_compared(feed):
    rows, labels = drawn(16)
    one = feed(rows, torch.zeros_like(labels))
    assert np.isnan([one.neighbour_cosine, one.mean_moran, one.mean_smoothness]).all()
    assert any("not measured" in note for note in one.provenance["notes"])
    dead = feed(torch.full_like(rows, 0.1), labels)
    assert not dead.responses.any()
    assert np.isnan([dead.neighbour_cosine, dead.mean_moran]).all()
    assert dead.mean_maxima == 0


def test_arranged_units_lie_near_those_that_answer_alike(feed):
    rows, labels = drawn(64, classes=6)
    angle = torch.rand(64, generator=torch.Generator().manual_seed(1)) * 6
    rows = 0.1 * rows + torch.cos(angle + labels[:, None])
    plain, arranged = (feed(rows, labels, arrange=how) for how in ("order", "pca"))
    assert plain.excess_cosine < 0.1
    assert arranged.excess_cosine > 0.5
    assert arranged.mean_moran > plain.mean_moran + 0.3
    assert 0.7 < arranged.trust_cells <= 1
    assert "trust_cells" not in plain
    assert np.allclose(arrangement_of(arranged).lay(arranged.responses), arranged.maps)


def test_two_checkpoints_can_have_one_layout(feed):
    first = feed(*drawn(16), arrange="pca")
    cells = cells_of(LayerResults([first]))
    later = feed(*drawn(16, seed=1), arrange="pca", cells=cells)
    assert np.array_equal(later.cell, first.cell)
    assert np.allclose(arrangement_of(first).lay(later.responses), later.maps)


def test_settings_are_checked_at_the_door():
    for wrong in ({"arrange": "som"}, {"region_by": "x"}, {"size": 2}, {"border": "x"}):
        with pytest.raises(SettingError):
            Topography(**wrong)


def test_grids_can_be_given_by_layer(feed):
    assert feed(*drawn(16), grids={"hidden.1": (2, 8)}).maps.shape == (3, 2, 8)
    assert feed(*drawn(16), border="wrap").mean_moran != feed(*drawn(16)).mean_moran


def test_other_profiles_are_drawn_averaged_over_time():
    values = np.arange(24.0).reshape(2, 4, 3)
    result = Result(
        "gradnap", "h", fields={"gradnap": tp.Field(("group", "channel", "time"), values)}
    )
    maps = response_maps(result, "gradnap", Arrangement.in_order(Grid(2, 2)))
    assert np.allclose(maps, values.mean(2).reshape(2, 2, 2))
    with pytest.raises(SettingError, match="group, channel"):
        response_maps(
            Result("x", "h", fields={"n": tp.Field(("channel",), np.zeros(4))}),
            "n",
            Arrangement.in_order(Grid(2, 2)),
        )


def test_training_with_the_loss_shows_in_the_maps():
    torch.manual_seed(0)
    x, y = torch.randn(300, 12), torch.arange(300) % 5
    model = nn.Sequential(nn.Linear(12, 36), nn.ReLU(), nn.Linear(36, 5))
    loss, sgd = TopographicLoss("0", 0.01), torch.optim.SGD(model.parameters(), 0.5)
    for _ in range(60):
        sgd.zero_grad()
        (nn.functional.cross_entropy(model(x), y) + loss(model)).backward()
        sgd.step()
    found = tp.Probe(model, "0", ["topography"]).run([(x, y)])["topography"]["0"]
    assert found.neighbour_cosine > found.random_cosine + 0.3
    assert found.moran_z.mean() > 3


# -- arrangements


@pytest.mark.parametrize("method", ["pca", "graph", "tsne"])
def test_layouts_keep_neighbours_and_repeat(method):
    angles = np.random.default_rng(0).uniform(0, 6, 49)
    profiles = np.stack([np.cos(angles + shift) for shift in range(5)], 1)
    first, again = arrange(profiles, method), arrange(profiles, method)
    assert np.array_equal(first.cells, again.cells)
    assert sorted(first.cells.tolist()) == list(range(49))
    assert min(first.trust) > 0.8
    assert first.grid == Grid(7, 7)


def test_umap_lays_out_too():
    pytest.importorskip("umap")
    angles = np.random.default_rng(0).uniform(0, 6, 30)
    profiles = np.stack([np.cos(angles + shift) for shift in range(5)], 1)
    found = arrange(profiles, "umap", n_epochs=50)
    assert found.points.shape == (30, 2)
    assert min(found.trust) > 0.7


def test_units_that_are_all_alike_are_arranged_all_the_same():
    for method in ("pca", "graph"):
        found = arrange(np.ones((9, 3)), method)
        assert sorted(found.cells.tolist()) == list(range(9))


def test_what_cannot_be_arranged_is_refused():
    good = np.random.default_rng(0).normal(size=(9, 3))
    for wrong, options in (
        (good[:, :1], {}),
        (good, {"method": "som"}),
        (good, {"grid": Grid(2, 4)}),
        (good[:3], {}),
        (good * np.nan, {}),
        (good, {"method": "pca", "perplexity": 3}),
    ):
        with pytest.raises((ValueError, FloatingPointError)):
            arrange(wrong, **options)
    with pytest.raises(ValueError, match="put each of 4 units"):
        Arrangement(Grid(2, 2), [0, 1, 1, 2])
