import numpy as np
import pytest
import torch
from references.projection import encoded
from torch import nn
from torchprobe_projection import Autoencoder, Pca, PlaneNetwork, encoder, streamed_procrustes

import torchprobe as tp
from torchprobe.errors import EmptyStateError, LayerNotFoundError, SettingError, ShapeError
from torchprobe.numerics import procrustes_distance
from torchprobe.results import LayerResults, Results

METHODS = ("pca", "autoencoder")


@pytest.fixture
def result(feed, rows):
    values, _ = rows(300)
    options = {"autoencoder": {"epochs": 3, "hidden": (6, 4)}}
    splits = {"fit": values[:200], "score": values[200:]}
    return feed(splits, methods=METHODS, options=options).compute()


def linears(network):
    return [each for each in network.encode_layers if isinstance(each, nn.Linear)]


def test_the_paper_s_network_has_203262_parameters():
    network = PlaneNetwork.of_width(1000, (100, 10))
    assert sum(each.numel() for each in network.parameters()) == 203_262
    assert network.widths == (1000, 100, 10, 2, 10, 100, 1000)
    assert Autoencoder().hidden == (100, 10)


def test_bottleneck_and_output_are_linear_and_all_else_is_rectified():
    network = PlaneNetwork.of_width(5, (4, 3))
    kinds = [type(each) for each in (*network.encode_layers, *network.decode_layers)]
    linear, relu = nn.Linear, nn.ReLU
    assert kinds == [linear, relu, linear, relu, linear, linear, relu, linear, relu, linear]


def test_encoding_equals_the_formula():
    rng = np.random.default_rng(0)
    mean, scale = rng.normal(size=5), rng.uniform(0.5, 2, 5)
    network = PlaneNetwork(mean, scale, (5, 4, 3, 2, 3, 4, 5)).draw(0).kept()
    rows = rng.normal(size=(7, 5))
    layers = [(each.weight.tolist(), each.bias.tolist()) for each in linears(network)]
    expected = [encoded(row, mean, scale, layers) for row in rows]
    assert np.allclose(network(rows), expected, rtol=1e-12, atol=1e-12)
    assert np.allclose(network.transform(rows), expected, rtol=1e-12, atol=1e-12)


def test_decoding_undoes_what_a_linear_map_keeps():
    rows = np.random.default_rng(0).normal(size=(20, 2)) @ np.array([[1.0, 2, 3], [0, 1, -1]]) + 4
    network = Pca().fit(rows, 0).network
    assert np.allclose(network.decode(network(rows)), rows)


@pytest.mark.parametrize("method", ["autoencoder", "pca"])
def test_a_point_stays_where_it_is_in_any_company(result, rows, method):
    values = rows(200, seed=3)[0]
    keep = encoder(result, method)
    together = keep(values)
    for company in (1, 2, 3, 5, 64):
        parts = torch.from_numpy(values).split(company)
        alone = torch.cat([keep(part) for part in parts])
        assert float((alone - together).abs().max()) < 1e-12
        alone = np.concatenate([keep.transform(part) for part in parts])
        assert np.abs(alone - together.numpy()).max() < 1e-12


@pytest.mark.parametrize("method", ["autoencoder", "pca"])
def test_a_loaded_result_encodes_as_the_fresh_one_did(result, rows, tmp_path, method):
    values = rows(50, seed=3)[0]
    Results({"projection": LayerResults([result])}).save(tmp_path / "out")
    loaded = tp.load(tmp_path / "out")["projection"]["hidden.1"]
    assert torch.equal(encoder(loaded, method)(values), encoder(result, method)(values))
    places = encoder(loaded, method).transform(torch.from_numpy(values))
    assert np.array_equal(places, encoder(result, method).transform(values))
    assert np.allclose(places, encoder(result, method)(values), atol=1e-12)


@pytest.mark.parametrize("method", ["autoencoder", "pca"])
def test_the_encoder_puts_the_points_where_the_picture_has_them(feed, rows, method):
    values, _ = rows(300)
    options = {"autoencoder": {"epochs": 2}}
    splits = {"fit": values[:200], "score": values[200:]}
    result = feed(splits, methods=METHODS, options=options, keep_rows=True).compute()
    place = result.coords["method"].index(method)
    assert np.allclose(encoder(result, method)(result.rows), result.coordinates[place], atol=1e-12)


def test_loading_an_encoder_draws_no_random_number(result):
    before = torch.get_rng_state()
    encoder(result)
    assert torch.equal(before, torch.get_rng_state())


def test_an_encoder_is_fixed(result):
    network = encoder(result)
    assert not network.training
    assert not any(each.requires_grad for each in network.parameters())
    assert network(np.ones((1, 8), np.float32)).dtype == torch.float64


def test_gradients_flow_through_an_encoder_to_its_input(result):
    row = torch.ones(1, 8, requires_grad=True)
    encoder(result)(row).sum().backward()
    assert row.grad.abs().sum() > 0


@pytest.mark.parametrize("method", ["tsne", "random", "nonsense"])
def test_a_method_without_a_kept_map_is_told(result, method):
    with pytest.raises(LayerNotFoundError, match="it holds 'pca', 'autoencoder'"):
        encoder(result, method)


@pytest.mark.parametrize("shape", [(2, 7), (8,), (2, 8, 1)])
def test_rows_of_another_width_are_refused(result, shape):
    with pytest.raises(ShapeError, match=r"takes rows \[row, 8\]"):
        encoder(result)(np.ones(shape))


@pytest.mark.parametrize("widths", [(3, 2), (3, 3, 3), (3, 2, 4), (4, 2, 4), (3, 4, 2, 2, 4, 3)])
def test_widths_that_do_not_lead_to_the_plane_and_back_are_refused(widths):
    with pytest.raises(SettingError, match="2 units and back"):
        PlaneNetwork(np.zeros(3), np.ones(3), widths)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_streamed_procrustes_distance_is_that_of_all_rows_at_once(result, rows, size):
    values = torch.from_numpy(rows(100, seed=5)[0])
    network = encoder(result)
    whole = procrustes_distance(values.numpy(), network(values).numpy())
    assert abs(streamed_procrustes(network, values.split(size)) - whole) < 1e-12


def test_streaming_nothing_is_told(result):
    with pytest.raises(EmptyStateError):
        streamed_procrustes(encoder(result), [])
