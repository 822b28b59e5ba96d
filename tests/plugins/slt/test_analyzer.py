"""Spectra of transforms: the worked numbers, the contract, both ways of feeding, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from references.transforms import jacobian
from torch import nn
from torchprobe_slt import SLT

import torchprobe as tp
from torchprobe.errors import EmptyStateError, MemoryBudgetError, SettingError, ShapeError
from torchprobe.testing import check_analyzer

from .conftest import Recurrent, Residual, Tokens, mlp

EVERY = {"nodes": None, "inputs": None}


def run(model, data, layers=None, **settings):
    probe = tp.Probe(model, layers, [SLT(**settings)], on_error="raise")
    return probe.run(data, progress=False)["slt"]


def worked():
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False))
    model[0].weight.data = torch.tensor([[1.0, 0], [0, 1], [1, -1]])
    model[2].weight.data = torch.tensor([[1.0, 2, 1]])
    return model, [torch.tensor([[1.0, 0], [0, 1], [2, 1]])]


@pytest.mark.parametrize("samples", [500, None])
def test_the_worked_example(samples):
    found = run(*worked(), samples=samples, d=2, **EVERY)
    np.testing.assert_allclose(found["2"].node_sigma, [[2.828427, 2.449490]], atol=5e-7)
    np.testing.assert_allclose(found["2"].node_auc, [0.933013], atol=5e-7)
    first = found["1"]
    np.testing.assert_allclose(first.node_sigma, [[1.414214, 0], [1.414214, 0], [2, 0]], atol=5e-7)
    np.testing.assert_allclose(first.input_sigma, [[2, 0, 0], [1.732051, 1, 0]], atol=5e-7)
    assert first.node_auc.tolist() == [0.5] * 3


@pytest.mark.parametrize("samples", [500, None])
@pytest.mark.parametrize("make", [Residual, Recurrent])
def test_spectra_are_those_of_the_derivatives(make, samples):
    model = make().double().eval()
    x = torch.randn(*((7, 5) if make is Residual else (7, 4, 3)), dtype=torch.float64)
    last = list(dict(model.named_modules()))[-1]
    found = run(model, list(x.split(3)), last, samples=samples, window="input", **EVERY)[last]
    caught = []
    model.get_submodule(last).register_forward_hook(lambda _m, _i, out: caught.append(out))

    def layer(one):
        model(one)
        return caught[-1]

    expected = jacobian(layer, x).numpy()  # [sample, node, input]
    nodes = np.linalg.svd(expected.transpose(1, 0, 2), compute_uv=False)
    inputs = np.linalg.svd(expected.transpose(2, 0, 1), compute_uv=False)
    shared = nodes.shape[1], inputs.shape[1]
    np.testing.assert_allclose(found.node_sigma[:, : shared[0]], nodes, atol=1e-7)
    np.testing.assert_allclose(found.input_sigma[:, : shared[1]], inputs, atol=1e-7)


def test_kept_and_streamed_samples_give_the_same():
    model, data = mlp([6, 9, 8, 4]), [torch.randn(20, 6, dtype=torch.float64) for _ in range(3)]
    kept, streamed = (run(model, data, samples=n, nodes=3, inputs=2) for n in (60, None))
    for name, each in kept.items():
        for field in ("node_spectrum", "input_spectrum", "node_auc", "input_auc"):
            np.testing.assert_allclose(each[field].values, streamed[name][field].values, rtol=1e-6)


def test_layer_one_has_rank_one_and_deeper_layers_more():
    model, data = mlp([20, 30, 30, 30, 5]), [torch.randn(200, 20, dtype=torch.float64)]
    found = run(model, data, nodes=None)
    areas = [found[name].mean_node_auc for name in ("1", "4", "7")]
    assert areas[0] == pytest.approx(0.5, abs=1e-6)
    assert areas == sorted(areas)


def test_dead_nodes_are_counted_not_averaged():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    nn.init.constant_(model[0].bias, -100.0)
    model[0].bias.data[2] = 100
    found = run(model, [torch.randn(9, 3)], "1", **EVERY)["1"]
    assert found.n_zero_nodes == 3
    assert np.isnan(found.node_auc).tolist() == [True, True, False, True]
    assert np.isfinite(found.node_spectrum).all()


def test_only_so_many_samples_are_looked_at_whatever_the_batches():
    model = mlp([4, 5, 3])
    x = torch.randn(50, 4, dtype=torch.float64)
    one, other = (run(model, list(x.split(size)), samples=10) for size in (50, 7))
    assert one["3"].n_samples == 10
    np.testing.assert_allclose(one["3"].node_sigma, other["3"].node_sigma, rtol=1e-9)


@pytest.mark.parametrize("samples", [500, None])
def test_tokens_are_looked_at_where_they_are_embedded(samples):
    model = Tokens().eval()
    data = [torch.randint(0, 11, (6, 5)) for _ in range(2)]
    found = run(model, data, "out", samples=samples)["out"]
    assert found.n_samples == 12
    assert any("output of 'embed'" in note for note in found.provenance["notes"])


def test_sequences_of_other_lengths_are_streamed_and_refused_where_inputs_are_kept():
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Conv1d(3, 2, 3))
    data = [torch.randn(4, 2, n) for n in (9, 14)]
    assert run(model, data, "2", samples=None)["2"].n_samples == 8
    with pytest.raises(ShapeError, match="samples=None"):
        run(model, data, "2")


def test_the_middle_is_that_of_what_counts():
    model = nn.Sequential(nn.Conv1d(1, 2, 1, bias=False), nn.Softplus())
    x = torch.zeros(2, 1, 9)
    x[0, 0, 4], x[1, 0, 2] = 1.5, 1.5  # the middles of 9 and of 5 positions
    batch = tp.Batch(x, lengths=torch.tensor([9, 5]))
    found = run(model, [batch], "1", samples=None, **EVERY)["1"]
    alike = run(model, [torch.full((2, 1, 9), 1.5)], "1", samples=None, **EVERY)["1"]
    np.testing.assert_allclose(found.node_sigma, alike.node_sigma)


def test_how_transforms_were_found_is_said():
    model, data = worked()
    (note,) = run(model, data, "2")["2"].provenance["notes"]
    assert note == "transforms were found in closed form"
    notes = run(Residual(), [torch.randn(5, 5)], "last", inputs=0)["last"].provenance["notes"]
    assert notes == ("transforms were found by reverse differentiation",)


def test_memory_does_not_grow_with_samples():
    model = mlp([6, 8, 4])
    network_state = []
    for n in (1, 5):
        probe = tp.Probe(model, "0", [SLT(samples=None)])
        probe.run([torch.randn(40, 6, dtype=torch.float64)] * n, progress=False)
        (fork,) = probe._record.stream.forks.forks.values()
        network_state.append(sum(each.nbytes for _, each in fork.accumulators()))
    assert network_state[0] == network_state[1]


def test_gram_matrices_beyond_the_budget_are_refused_before_any_data():
    probe = tp.Probe(mlp([60, 80, 4]), analyzers=[SLT(samples=None)], memory_budget=10_000)
    with pytest.raises(MemoryBudgetError, match="bytes of state"):
        probe.run([torch.randn(4, 60, dtype=torch.float64)])


def test_samples_that_do_not_come_first_are_refused():
    with pytest.raises(ShapeError, match="first axis"):
        run(nn.GRU(3, 4), [torch.randn(6, 2, 3)], "model[0]")


def test_nothing_seen_is_said():
    model = mlp([6, 8, 4])
    with tp.Probe(model, analyzers=[SLT]) as probe, pytest.raises(EmptyStateError):
        probe.results()


@pytest.mark.parametrize(
    "settings",
    [
        {"samples": 0},
        {"nodes": 0},
        {"inputs": -1},
        {"d": 1},
        {"position": "centre"},
        {"window": "all"},
        {"route": "best"},
    ],
)
def test_settings_that_are_not_allowed_are_refused(settings):
    with pytest.raises(SettingError, match=f"{next(iter(settings))}="):
        SLT(**settings)


def test_the_contract_holds_for_kept_and_streamed_samples():
    check_analyzer(SLT(samples=20))
    check_analyzer(SLT(samples=None, nodes=3, inputs=2), positions=((),))


@pytest.mark.parametrize("name", ["slt", "slt_classes"])
def test_the_models_input_alone_has_no_transforms(name):
    probe = tp.Probe(nn.Linear(3, 2), "input", [name], on_error="raise")
    with pytest.raises(SettingError, match="choose other layers"):
        probe.run([(torch.randn(9, 3), torch.arange(9) % 2)], progress=False)
