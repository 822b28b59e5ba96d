"""Trainers with DistributedDataParallel in two processes, whose group is made after the probes."""

import functools

import numpy as np
import pytest
import torch
from callbacks.ddp import LAYERS, train
from callbacks.training import PROBED, STEPS, Average, X, net
from processes import Processes, free_port, succeed

import torchprobe as tp

TRAINERS = ["lightning", "transformers"]


def trained(processes, trainer, **how):
    """What came of a training in each process; errors outside of it are raised."""
    return succeed(processes.run(functools.partial(train, **how), trainer, free_port()))


@pytest.fixture(scope="module", params=TRAINERS)
def trainer(request):
    pytest.importorskip(request.param, exc_type=ImportError)
    return request.param


@pytest.fixture(scope="module")
def plain(two, trainer):
    return trained(two, trainer, probed=False)


@pytest.fixture(scope="module")
def probed(two, trainer):
    return trained(two, trainer, probed=True)


def equal(one, two):
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_training_is_bit_for_bit_what_it_would_be(plain, probed):
    for without, having in zip(plain, probed, strict=True):
        assert equal(without.state, having.state)
        assert not having.error


def test_no_hooks_are_left(probed):
    assert [each.hooks for each in probed] == [{}, {}]


def test_both_processes_have_the_same_histories(probed):
    first, second = probed
    assert first.histories == second.histories
    assert first.histories["loader"].steps == (0, 2, 4, STEPS)
    assert first.histories["steps"].steps == (1, 2, 3, 4, 5, STEPS)
    assert first.histories["epochs"].steps == (3, STEPS)
    assert all(each.complete for each in first.histories.values())


def test_a_step_has_the_samples_of_both_processes_once(probed):
    for at, (step, results) in enumerate(probed[0].histories["steps"].items()):
        assert step == at + 1
        for layer in LAYERS:
            rows = torch.cat([each.seen[layer][at] for each in probed]).double()
            for name in ("average", "by_label"):
                result = results[name][layer]
                assert result.provenance["samples"] == len(rows) == 16
                np.testing.assert_allclose(result.mean, rows.mean(0), rtol=1e-9, atol=1e-12)


def test_a_sample_of_an_epoch_has_the_rows_of_both_processes(probed):
    """Samples must not have the same numbers in both, though no group was there at first."""
    for epoch, results in enumerate(probed[0].histories["epochs"].values()):
        for layer in LAYERS:
            rows = torch.cat([torch.cat(each.seen[layer][3 * epoch :][:3]) for each in probed])
            result = results["activation_sample"][layer]
            assert result.provenance["samples"] == len(rows) == len(X)
            found = np.sort(result.rows, axis=0)
            np.testing.assert_array_equal(found, np.sort(rows.double().numpy(), axis=0))


@pytest.mark.parametrize("step", [0, STEPS])
def test_a_loader_gives_what_it_gives_one_process(probed, step):
    model = torch.nn.ModuleDict({"net": net()})
    if step:
        model.load_state_dict(dict(zip(model.state_dict(), probed[0].state, strict=False)))
    model.forward = model.net.forward
    expected = tp.Probe(model, LAYERS, [Average(), "lda"]).run(PROBED)
    found = probed[0].histories["loader"][step]
    for analyzer, layers in expected.items():
        for layer, result in layers.items():
            assert found[analyzer][layer].provenance["samples"] == len(X)
            for name, field in result.fields.items():
                values = found[analyzer][layer].fields[name].values
                np.testing.assert_allclose(values, field.values, rtol=1e-9, atol=1e-12)


def test_an_error_while_one_process_loads_reaches_both(two, trainer):
    first, second = trained(two, trainer, probed=True, fails="loading")
    assert second.error == "Stopped: no more data"
    assert first.error.startswith("DistributedError: process 1 failed: Stopped: no more data")
    assert [first.hooks, second.hooks] == [{}, {}]
    assert first.histories["loader"].steps == (0, 2)


def test_a_topographic_callback_trains_as_the_term_in_the_loss_does(two, trainer, plain):
    by_hand, found = (trained(two, trainer, topographic=how) for how in ("term", "callback"))
    assert not any(each.error for each in (*by_hand, *found))
    for term, callback, without in zip(by_hand, found, plain, strict=True):
        assert not torch.allclose(term.state[0], without.state[0])
        for name, one, other in zip(net().state_dict(), term.state, callback.state, strict=False):
            if name not in (
                "0.bias",
                "1.running_mean",
            ):  # batch norm leaves its gradient to rounding
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert torch.equal(found[0].state[0], found[1].state[0])


def test_a_process_that_ends_in_a_training_step_ends_the_other(trainer):
    processes = Processes(2)
    try:
        how = functools.partial(train, probed=True, fails="alone")
        first, second = processes.run(how, trainer, free_port())
    finally:
        processes.close()
    assert second is None
    assert not isinstance(first, BaseException), first
    assert first.error
    assert first.hooks == {}
    assert first.histories["steps"].steps == (1, 2, 3)
