"""How far layers move while a network trains."""

import pytest
import torch
from torch import nn
from torchprobe_drift import ActivationSample

import torchprobe as tp
from torchprobe.errors import InsufficientDataError, LayerNotFoundError, SettingError
from torchprobe.numerics import linear_cka, procrustes_distance

X = torch.randn(60, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6)).double()


def history(moves=("none", "noise", "rotation"), n=40, batches=20, **options):
    """The network after one move and another."""
    model, made = net(), tp.History()
    for step, move in enumerate(moves):
        with torch.no_grad():
            if move == "noise":
                model[0].weight += 0.5 * torch.randn_like(model[0].weight)
            elif move == "rotation":
                rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
                model[2].weight.copy_(rotation @ model[2].weight)
                model[2].bias.copy_(rotation @ model[2].bias)
        probe = tp.Probe(model, ["0", "2"], [ActivationSample(n)], **options)
        made.append(step, probe.run(X.split(batches), progress=False))
    return made


def test_a_rotation_is_no_drift_and_noise_is():
    made = history()
    for measure in ("cka", "procrustes"):
        found = made.drift(measure)
        assert found["2"][2] == pytest.approx(0, abs=1e-6)
        assert found["0"][2] == pytest.approx(0, abs=1e-6)
        assert found["0"][1] > 0.01


def test_drift_is_that_of_the_same_rows_in_the_papers_measures():
    made = history()
    first, second = (made[step]["activation_sample"]["0"] for step in (0, 1))
    assert list(first.ids) == list(second.ids)
    rows = first.rows.astype(float), second.rows.astype(float)
    cka = 1 - linear_cka(*rows, debiased=True)
    assert made.drift("cka", "first")["0"][1] == pytest.approx(cka, abs=1e-12)
    expected = procrustes_distance(*rows)
    assert made.drift("procrustes")["0"][1] == pytest.approx(expected, abs=1e-12)


def test_the_origin_is_the_previous_step_the_first_or_any():
    made = history(("none", "noise", "noise"))
    assert set(made.drift()["0"]) == set(made.drift(to="first")["0"]) == {1, 2}
    assert set(made.drift(to=1)["0"]) == {0, 2}
    assert made.drift(to="first")["0"][1] == made.drift()["0"][1]
    assert made.drift(to=1)["0"][0] == pytest.approx(made.drift(to=0)["0"][1])


def test_the_sample_is_the_same_however_the_loader_is_cut():
    one, two = history(batches=20), history(batches=7)
    for step in one:
        first, second = (each[step]["activation_sample"]["0"] for each in (one, two))
        assert list(first.ids) == list(second.ids)
        assert torch.allclose(torch.tensor(first.rows), torch.tensor(second.rows), atol=1e-7)


def test_the_norm_is_the_spread_of_the_sample():
    result = history(n=60)[0]["activation_sample"]["0"]
    rows = net()[0](X)
    expected = (rows - rows.mean(0)).square().sum(1).mean().sqrt()
    assert result.norm == pytest.approx(float(expected.detach()))


def test_what_cannot_be_measured_says_why():
    made = history()
    with pytest.raises(SettingError, match="measure"):
        made.drift("cca")
    with pytest.raises(SettingError, match="'9' not found"):
        made.drift(to=9)
    with pytest.raises(LayerNotFoundError, match="activation_sample"):
        tp.History().drift()
    with pytest.raises(SettingError, match="at least 4"):
        ActivationSample(3)
    other = tp.History()
    probe = tp.Probe(net(), ["0"], [ActivationSample(20)])
    for step in (0, 1):  # rows with other ids, as those of a training stream are
        with probe, probe.batch(ids=torch.arange(30) + 1000 * step):
            probe.model(X[:30])
        other.append(step, probe.results())
        probe.reset()
    with pytest.raises(InsufficientDataError, match="the same at every step"):
        other.drift()


def test_a_dead_layer_has_not_moved_anywhere():
    class Dead(nn.Module):
        def forward(self, x):
            return x * 0

    model = nn.Sequential(Dead())
    made = tp.History()
    for step in (0, 1):
        made.append(step, tp.Probe(model, ["0"], [ActivationSample(20)]).run([X], progress=False))
    assert made.drift()["0"][1] != made.drift()["0"][1]  # NaN
