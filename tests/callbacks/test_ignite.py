"""A probe while an Ignite engine trains."""

import pytest
import torch
from callbacks.training import BATCHES, PROBED, STEPS, Average, ByLabel, X, hooks, net, state
from torch import nn

import torchprobe as tp
from torchprobe.callbacks.ignite import ProbeCallback

ignite = pytest.importorskip("ignite.engine")


class BoomError(Exception):
    pass


def engine_of(model, fail_at=None):
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)

    def step(engine, batch):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        if engine.state.iteration == fail_at:
            raise BoomError
        loss.backward()
        optimizer.step()

    return ignite.Engine(step)


def probe_of(model, analyzer=Average):
    return tp.Probe(model, ["0", "2"], [analyzer()])


@pytest.mark.parametrize("loader", [PROBED, None])
def test_training_is_bit_for_bit_what_it_would_be(loader):
    plain, model = net(), net()
    torch.manual_seed(2)
    engine_of(plain).run(BATCHES, max_epochs=1)
    expected = state(plain)
    callback, engine = ProbeCallback(probe_of(model, ByLabel), loader, every=2), engine_of(model)
    torch.manual_seed(2)
    callback.attach(engine)
    engine.run(BATCHES, max_epochs=1)
    assert all(torch.equal(a, b) for a, b in zip(state(model), expected, strict=True))
    assert callback.history.steps == ((0,) if loader else ()) + (2, 4, 6)
    assert not hooks(model)


def test_evaluations_between_steps_are_not_listened_to():
    model = net()
    engine = engine_of(model)
    callback = ProbeCallback(probe_of(model, ByLabel)).attach(engine)
    engine.add_event_handler(ignite.Events.ITERATION_COMPLETED, lambda _: model(X))
    engine.run(BATCHES, max_epochs=2)
    assert callback.history.steps == (STEPS, 2 * STEPS)
    for results in callback.history.values():
        assert results["by_label"]["0"].provenance["samples"] == len(X)


def test_an_engine_that_fails_is_cleaned_up_and_its_error_goes_on():
    model = net()
    engine = engine_of(model, fail_at=3)
    callback = ProbeCallback(probe_of(model, ByLabel), every=6, window=6).attach(engine)
    with pytest.raises(BoomError), callback:
        engine.run(BATCHES, max_epochs=1)
    assert not hooks(model)
    assert not callback.history.last.complete
    assert callback.history.last["by_label"]["0"].provenance["samples"] == 24


def test_without_the_context_manager_the_next_call_of_the_model_cleans_up():
    model = net()
    engine = engine_of(model, fail_at=3)
    callback = ProbeCallback(probe_of(model, ByLabel), every=6, window=6).attach(engine)
    with pytest.raises(BoomError):
        engine.run(BATCHES, max_epochs=1)
    model(X)
    assert not hooks(model)
    assert callback.history.last["by_label"]["0"].provenance["samples"] == 24


def test_an_engine_that_is_terminated_has_ended():
    model = net()
    engine = engine_of(model)
    callback = ProbeCallback(probe_of(model), PROBED, every=4).attach(engine)
    engine.add_event_handler(
        ignite.Events.ITERATION_COMPLETED(once=3), lambda engine: engine.terminate()
    )
    engine.run(BATCHES, max_epochs=1)
    assert callback.history.steps == (0, 3)
    assert not hooks(model)
