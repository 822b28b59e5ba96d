"""A probe while Lightning trains, under both of its names."""

import importlib
import sys
import warnings

import pytest
import torch
from callbacks.training import PROBED, STEPS, Average, ByLabel, Gradient, X, Y, hooks, net, state
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import torchprobe as tp
from torchprobe.callbacks import lightning as module
from torchprobe.errors import (
    AttachError,
    CompileError,
    IncompleteWarning,
    MissingExtraError,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*Lightning.*"),
    pytest.mark.filterwarnings("ignore:.*num_workers.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
]
PACKAGES = ["lightning.pytorch", "pytorch_lightning"]


@pytest.fixture(params=PACKAGES)
def pl(request):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(request.param)


@pytest.fixture
def one():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(PACKAGES[0])


def loaders():
    data = TensorDataset(X, Y)
    return DataLoader(data, 8), DataLoader(data, 8)


def lit(pl, **events):
    """A LightningModule around the small network; ``events`` replace its methods."""

    class Lit(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, index):
            x, y = batch
            return nn.functional.cross_entropy(self(x), y)

        def validation_step(self, batch, index):
            self(batch[0])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-2)

    for name, event in events.items():
        setattr(Lit, name, event)
    return Lit()


def trainer_of(pl, tmp_path, callbacks, **options):
    settings = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": tmp_path,
    }
    return pl.Trainer(callbacks=callbacks, **{**settings, **options})


def probe_of(model, analyzer=Average, **options):
    return tp.Probe(model, ["net.0", "net.2"], [analyzer()], **options)


def test_the_callback_is_one_of_the_package_in_use(pl):
    callback = module.ProbeCallback(probe_of(lit(pl)), PROBED)
    assert isinstance(callback, pl.Callback)
    assert isinstance(callback, module.ProbeCallback)


def test_without_lightning_the_callback_says_how_to_get_it(monkeypatch):
    for name in ("lightning", "pytorch_lightning", *PACKAGES):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"torchprobe\[lightning\]"):
        module.ProbeCallback  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'Callback'"):
        module.Callback  # noqa: B018


@pytest.mark.parametrize("loader", [PROBED, None])
@pytest.mark.parametrize("analyzer", [ByLabel, Gradient])
def test_training_is_bit_for_bit_what_it_would_be(pl, tmp_path, loader, analyzer):
    torch.manual_seed(4)
    plain, model = lit(pl), lit(pl)
    torch.manual_seed(4)
    trainer_of(pl, tmp_path, []).fit(plain, *loaders())
    expected = state(plain)
    objective = tp.TrainingLoss("mean") if loader is None else "label"
    callback = module.ProbeCallback(probe_of(model, analyzer, objective=objective), loader, every=2)
    torch.manual_seed(4)
    trainer_of(pl, tmp_path, [callback]).fit(model, *loaders())
    assert all(torch.equal(a, b) for a, b in zip(state(model), expected, strict=True))
    assert not hooks(model)
    assert callback.history.steps == ((0,) if loader else ()) + (2, 4, 6)
    assert callback.history.complete


def test_only_training_is_listened_to(one, tmp_path):
    """Not sanity checks, validation in mid-epoch, summaries of example inputs, or tests."""
    model = lit(one)
    model.example_input_array = X[:3]
    callback = module.ProbeCallback(probe_of(model, ByLabel), log=False)
    trainer = trainer_of(
        one,
        tmp_path,
        [callback],
        val_check_interval=2,
        num_sanity_val_steps=2,
        enable_model_summary=True,
        max_epochs=2,
    )
    trainer.fit(model, *loaders())
    trainer.validate(model, loaders()[1], verbose=False)
    assert callback.history.steps == (STEPS, 2 * STEPS)
    for results in callback.history.values():
        assert results["by_label"]["net.0"].provenance["samples"] == len(X)
        assert results["by_label"]["net.0"].provenance["calls"] == STEPS


def test_accumulated_gradients_count_as_one_step_and_are_unscaled(one, tmp_path):
    model = lit(one)
    probe = probe_of(model, Gradient, objective=tp.TrainingLoss("mean"))
    callback = module.ProbeCallback(probe, every=1)
    trainer_of(one, tmp_path, [callback], accumulate_grad_batches=2).fit(model, loaders()[0])
    assert callback.history.steps == (1, 2, 3)
    assert probe.objective.divided_by == 2
    provenance = callback.history[1]["gradient"]["net.0"].provenance
    assert provenance["calls"] == 2
    assert provenance["gradient_scale"] == "of each sample's own loss"

    def mean_gradient(model):
        found = []
        model.net[0].register_forward_hook(lambda _m, _i, o: o.register_hook(found.append) and None)
        for x, y in zip(X[:16].split(8), Y[:16].split(8), strict=True):
            nn.functional.cross_entropy(model(x), y, reduction="sum").backward()
        return torch.cat(found).double().mean(0)

    torch.manual_seed(0)
    twin = lit(one)
    for dropout in twin.modules():  # dropout draws: compare where it cannot matter
        if isinstance(dropout, nn.Dropout):
            dropout.p = 0.0
    for dropout in model.modules():
        if isinstance(dropout, nn.Dropout):
            dropout.p = 0.0
    fresh = lit(one)
    fresh.net[3].p = 0.0
    probe = probe_of(fresh, Gradient, objective=tp.TrainingLoss("mean"))
    callback = module.ProbeCallback(probe, every=1)
    trainer_of(one, tmp_path, [callback], accumulate_grad_batches=2).fit(fresh, loaders()[0])
    found = torch.from_numpy(callback.history[1]["gradient"]["net.0"].mean.copy())
    torch.testing.assert_close(found, mean_gradient(twin), rtol=1e-5, atol=1e-8)


def test_numbers_reach_the_trainers_loggers(one, tmp_path):
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    model = lit(one)
    callback = module.ProbeCallback(probe_of(model), PROBED, every=3)
    loggers = [CSVLogger(tmp_path / "csv"), TensorBoardLogger(tmp_path / "tb")]
    trainer_of(one, tmp_path, [callback], logger=loggers).fit(model, loaders()[0])
    lines = next((tmp_path / "csv").rglob("metrics.csv")).read_text().splitlines()
    header = lines[0].split(",")
    assert "average/net.0/level" in header
    assert len(lines) == 1 + 3
    assert list((tmp_path / "tb").rglob("events*"))


def test_a_checkpoint_holds_the_history_and_training_goes_on_with_it(pl, tmp_path):
    model = lit(pl)
    callback = module.ProbeCallback(probe_of(model), PROBED, every=2)
    trainer = trainer_of(pl, tmp_path, [callback])
    trainer.fit(model, loaders()[0])
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert "torchprobe:probe" in saved["callbacks"]

    other = lit(pl)
    resumed = module.ProbeCallback(probe_of(other), PROBED, every=2)
    trainer = trainer_of(pl, tmp_path, [resumed], max_epochs=2)
    trainer.fit(other, loaders()[0], ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert resumed.history.steps == (0, 2, 4, 6, 8, 10, 12)
    assert resumed.history.until(6) == callback.history

    whole = lit(pl)
    callback = module.ProbeCallback(probe_of(whole), PROBED, every=2)
    trainer_of(pl, tmp_path, [callback], max_epochs=2).fit(whole, loaders()[0])
    assert callback.history.until(6) == resumed.history.until(6)


# -- endings


class BoomError(Exception):
    pass


def raising(kind=BoomError, when=3):
    """A method that raises when it is called for the n-th time."""
    calls = []

    def method(*_args, **_kwargs):
        calls.append(1)
        if len(calls) == when:
            raise kind

    return method


def step_that(act):
    def training_step(self, batch, index):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        return act(loss, index)

    return training_step


def fail_in_backward(loss, index):
    if index == 2:
        loss.register_hook(raising(when=1))
    return loss


def fail_in_forward(kind):
    def act(loss, index):
        if index == 2:
            raise kind
        return loss

    return act


def other_callback(pl, **events):
    return type("Other", (pl.Callback,), events)()


class BrokenData(TensorDataset):
    def __getitem__(self, index):
        if index == 20:
            raise BoomError
        return super().__getitem__(index)


FAILING = {
    "forward": lambda pl: (lit(pl, training_step=step_that(fail_in_forward(BoomError))), [], []),
    "Ctrl-C": lambda pl: (
        lit(pl, training_step=step_that(fail_in_forward(KeyboardInterrupt))),
        [],
        [],
    ),
    "backward": lambda pl: (lit(pl, training_step=step_that(fail_in_backward)), [], []),
    "optimizer": lambda pl: (lit(pl, on_before_optimizer_step=raising()), [], []),
    "data": lambda pl: (lit(pl), [], []),
    "validation": lambda pl: (lit(pl, validation_step=raising(when=3)), [], []),
    "callback before": lambda pl: (
        lit(pl),
        [other_callback(pl, on_train_batch_end=raising())],
        [],
    ),
    "callback after": lambda pl: (
        lit(pl),
        [],
        [other_callback(pl, on_train_batch_start=raising())],
    ),
}


@pytest.mark.parametrize("ending", FAILING)
def test_every_failing_path_leaves_no_hooks_and_keeps_what_was_seen(pl, tmp_path, ending):
    model, before, after = FAILING[ending](pl)
    callback = module.ProbeCallback(probe_of(model, ByLabel), every=6, window=6)
    options = {"val_check_interval": 3, "num_sanity_val_steps": 1}
    trainer = trainer_of(pl, tmp_path, [*before, callback, *after], **options)
    train, validate = loaders()
    if ending == "data":
        train = DataLoader(BrokenData(X, Y), 8)
    expected = SystemExit if ending == "Ctrl-C" else BoomError
    with pytest.raises(expected):
        trainer.fit(model, train, validate)
    assert not hooks(model)
    assert len(callback.history) == 1
    results = callback.history.last
    assert not results.complete
    assert results["by_label"]["net.0"].provenance["samples"] in (16, 24)
    assert "training ended with" in str(results.provenance["notes"])


def test_another_callback_that_raises_in_on_exception_leaves_hooks_that_do_nothing(pl, tmp_path):
    """Lightning then does not tell anybody else: the eighth failing path."""
    model = lit(pl, training_step=step_that(fail_in_forward(BoomError)))
    rude = other_callback(pl, on_exception=raising(ZeroDivisionError, when=1))
    callback = module.ProbeCallback(probe_of(model, ByLabel), every=6, window=6)
    with pytest.raises(ZeroDivisionError):
        trainer_of(pl, tmp_path, [rude, callback]).fit(model, loaders()[0])
    seen = callback.recorder.probe.coverage.forwards
    model(X)
    assert not hooks(model), "the first call outside of the training takes them off"
    assert callback.recorder.probe.coverage.forwards == seen
    assert len(callback.history) == 1
    assert not callback.history.last.complete


def test_the_context_manager_cleans_up_whatever_happens(pl, tmp_path):
    model = lit(pl, training_step=step_that(fail_in_forward(BoomError)))
    rude = other_callback(pl, on_exception=raising(ZeroDivisionError, when=1))
    callback = module.ProbeCallback(probe_of(model, ByLabel), every=6, window=6)
    with pytest.raises(ZeroDivisionError):
        with callback:
            trainer_of(pl, tmp_path, [rude, callback]).fit(model, loaders()[0])
    assert not hooks(model)
    assert "ZeroDivisionError" in str(callback.history.last.provenance["notes"])


@pytest.mark.parametrize("event", ["on_train_end", "on_fit_end", "teardown"])
def test_another_callback_that_raises_at_the_end_costs_nothing(one, tmp_path, event):
    model = lit(one)
    rude = other_callback(one, **{event: raising(when=1)})
    callback = module.ProbeCallback(probe_of(model, ByLabel), every=4, window=4)
    with pytest.raises(BoomError):
        trainer_of(one, tmp_path, [rude, callback]).fit(model, loaders()[0])
    assert not hooks(model)
    assert callback.history[4].complete
    assert len(callback.history) == 2


def test_a_training_that_follows_a_failed_one_begins_anew(one, tmp_path):
    model = lit(one, training_step=step_that(fail_in_forward(BoomError)))
    callback = module.ProbeCallback(probe_of(model, ByLabel), every=2)
    with pytest.raises(BoomError):
        trainer_of(one, tmp_path, [callback]).fit(model, loaders()[0])
    first = callback.history
    type(model).training_step = step_that(lambda loss, index: loss)
    trainer_of(one, tmp_path, [callback]).fit(model, loaders()[0])
    assert callback.history.steps == (2, 4, 6)
    assert first.steps[0] == 2


def test_a_copy_of_the_model_is_refused(one, tmp_path):
    callback = module.ProbeCallback(probe_of(lit(one)), PROBED)
    with pytest.raises(AttachError, match="not of a copy"):
        trainer_of(one, tmp_path, [callback]).fit(lit(one), loaders()[0])


def test_a_compiled_module_is_refused_handled_or_probed_on_a_loader(one, tmp_path):
    def compiled(**options):
        model = lit(one)
        return torch.compile(model, backend="eager"), probe_of(model, ByLabel, **options)

    model, probe = compiled()
    callback = module.ProbeCallback(probe, every=2)
    with pytest.raises(CompileError, match="compile='eager'"):
        trainer_of(one, tmp_path, [callback]).fit(model, loaders()[0])
    torch._dynamo.reset()
    for options, loader in [({"compile": "eager"}, None), ({}, PROBED)]:
        model, probe = compiled(**options)
        callback = module.ProbeCallback(probe, loader, every=2)
        trainer_of(one, tmp_path, [callback]).fit(model, loaders()[0])
        assert callback.history.steps[-3:] == (2, 4, 6)
        samples = len(X) if loader else 8
        for results in callback.history.values():
            assert results["by_label"]["net.0"].provenance["samples"] == samples
        torch._dynamo.reset()


def test_checkpointed_activations_are_counted_once(one, tmp_path):
    from torch.utils.checkpoint import checkpoint

    model = lit(one, forward=lambda self, x: checkpoint(self.net, x, use_reentrant=False))
    probe = probe_of(model, Gradient, objective=tp.TrainingLoss("mean"))
    callback = module.ProbeCallback(probe, every=2)
    trainer_of(one, tmp_path, [callback]).fit(model, loaders()[0])
    for results in callback.history.values():
        assert results["gradient"]["net.0"].provenance["samples"] == 8


def test_bfloat16_training_is_probed_in_the_precision_that_it_runs_in(one, tmp_path):
    model = lit(one)
    callback = module.ProbeCallback(probe_of(model), every=2)
    trainer_of(one, tmp_path, [callback], precision="bf16-mixed").fit(model, loaders()[0])
    assert callback.history[2]["average"]["net.0"].provenance["dtype"] == "bfloat16"


def test_a_callback_that_is_forgotten_takes_its_hooks_along(one):
    import gc

    model = lit(one)
    callback = module.ProbeCallback(probe_of(model), every=1)
    callback.recorder.hear(tp.Batch(None))
    assert hooks(model)
    del callback
    gc.collect()
    assert not hooks(model)


def test_what_could_not_be_kept_at_a_failure_does_not_hide_the_failure(one, tmp_path):
    model = lit(one, training_step=step_that(fail_in_forward(BoomError)))
    callback = module.ProbeCallback(probe_of(model, ByLabel), every=6, window=6)
    callback.recorder._keep = raising(OSError, when=1)
    with warnings.catch_warnings(record=True) as told, pytest.raises(BoomError):
        warnings.simplefilter("always")
        trainer_of(one, tmp_path, [callback]).fit(model, loaders()[0])
    assert any(
        "is lost" in str(each.message) for each in told if each.category is IncompleteWarning
    )
    assert not hooks(model)
