import numpy as np
import pytest
import torch
from torchprobe_projection import Autoencoder, Pca

from torchprobe.errors import InsufficientDataError, SettingError
from torchprobe.numerics import pca_bound, procrustes_distance


def losses(fitted):
    return fitted.fields["loss"].values


def test_it_is_the_same_for_the_same_seed_and_another_for_another(rows):
    values, _ = rows()
    first, again, other = (Autoencoder(epochs=3).fit(values, seed) for seed in (4, 4, 5))
    assert np.array_equal(first.transform(values), again.transform(values))
    assert not np.allclose(first.transform(values), other.transform(values))


def test_it_neither_draws_from_torch_s_generator_nor_minds_it(rows):
    values, _ = rows()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = Autoencoder(epochs=2).fit(values, 0)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    again = Autoencoder(epochs=2).fit(values, 0)
    assert np.array_equal(first.transform(values), again.transform(values))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_learns_where_gradients_are_off(rows, mode):
    with mode():
        found = Autoencoder(epochs=4).fit(rows()[0], 0)
    assert losses(found)[-1, 0] < losses(found)[0, 0]


def test_a_default_of_another_precision_changes_nothing(rows):
    values, _ = rows()
    expected = Autoencoder(epochs=2).fit(values, 0).transform(values)
    torch.set_default_dtype(torch.float64)
    try:
        assert np.array_equal(Autoencoder(epochs=2).fit(values, 0).transform(values), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_loss_is_the_share_of_the_standardised_variance_that_is_lost(rows):
    values = rows(200)[0] * np.array([1, 100, 0.01, 1, 1, 1, 1, 1], np.float32) + 7
    fitted = Autoencoder(epochs=6, held_out=0.25).fit(values, 0)
    standard = (values - values.mean(0)) / values.std(0)
    network = fitted.network
    back = (network.decode(network(values)).numpy() - values.mean(0)) / values.std(0)
    best = losses(fitted)[:, 1].min()
    assert np.isclose(((back - standard)[-50:] ** 2).mean(), best, rtol=1e-3)


def test_training_ends_when_the_rows_held_out_gain_no_more(rows):
    values = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    found = losses(Autoencoder(epochs=500, patience=3, rate=0.01).fit(values, 0))
    assert 4 <= len(found) < 500
    assert found[-3:, 1].min() >= 0.999 * found[:-3, 1].min()


def test_the_best_weights_are_kept_not_the_last(rows):
    values = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    fitted = Autoencoder(epochs=500, patience=10, rate=0.02).fit(values, 0)
    standard = (values - values.mean(0)) / values.std(0)
    back = fitted.network.decode(fitted.network(values)).numpy()
    held = (((back - values.mean(0)) / values.std(0) - standard)[-6:] ** 2).mean()
    assert losses(fitted)[-1, 1] > losses(fitted)[:, 1].min()
    assert np.isclose(held, losses(fitted)[:, 1].min(), rtol=1e-3)


def test_it_keeps_more_of_a_plane_than_chance_and_not_more_than_pca():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(400, 6))
    places = Autoencoder(epochs=60, hidden=(20,)).fit(rows[:300], 0).transform(rows[300:])
    distance = procrustes_distance(rows[300:], places)
    assert pca_bound(rows[300:]) < distance < 0.2


def test_constant_channels_and_duplicates_do_no_harm(rows):
    values, _ = rows()
    values[:, 2], values[10:40] = 3.0, values[10]
    fitted = Autoencoder(epochs=2).fit(values, 0)
    assert fitted.network.scale[2] == 1
    places = fitted.transform(values)
    assert np.isfinite(places).all()
    assert np.array_equal(places[10], places[30])


def test_a_constant_that_rounding_makes_vary_counts_as_constant():
    values = np.random.default_rng(0).normal(size=(40, 3))
    values[:, 1] = 0.1 + 1e-17 * values[:, 0]
    values[:, 2] = 1e6 + 1e-9 * values[:, 0]
    assert Autoencoder(epochs=1).fit(values, 0).network.scale[1:].tolist() == [1, 1]


def test_rows_that_are_all_equal_are_learnt_from():
    assert np.isfinite(Autoencoder(epochs=2).fit(np.ones((20, 3)), 0).transform(np.eye(3))).all()


def test_one_number_for_all_channels_keeps_the_geometry(rows):
    values = rows()[0] * np.array([9, 1, 1, 1, 1, 1, 1, 1], np.float32)
    scale = Autoencoder(epochs=1, standardise=False).fit(values, 0).network.scale
    assert torch.allclose(scale, torch.tensor(values.var(0).mean() ** 0.5).double())


def test_a_linear_autoencoder_approaches_pca():
    rows = np.random.default_rng(0).normal(size=(600, 4)) * [4, 2, 0.3, 0.2]
    fitted = Autoencoder(hidden=(), epochs=60, rate=0.02, standardise=False).fit(rows, 0)
    best = procrustes_distance(rows, Pca().fit(rows, 0).transform(rows))
    back = fitted.network.decode(fitted.network(rows)).numpy()
    assert ((rows - back) ** 2).sum() / ((rows - rows.mean(0)) ** 2).sum() < best + 0.01


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch": 0},
        {"patience": 0},
        {"hidden": (10, 0)},
        {"held_out": 0},
        {"held_out": 1},
        {"rate": 0},
    ],
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(SettingError, match="autoencoder"):
        Autoencoder(**wrong)


@pytest.mark.parametrize("n", [1, 9])
def test_too_few_rows_are_refused(n):
    with pytest.raises(InsufficientDataError, match="at least 10 rows"):
        Autoencoder().fit(np.ones((n, 3)), 0)
