"""A probe in a training loop of one's own."""

import pytest
import torch
from callbacks.training import (
    BATCHES,
    PROBED,
    STEPS,
    Average,
    ByLabel,
    Gradient,
    X,
    Y,
    hooks,
    net,
    same,
    state,
)
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import torchprobe as tp
from torchprobe.errors import EmptyStateError, IncompleteWarning, SettingError


def optimizer_of(model):
    return torch.optim.Adam(model.parameters(), 1e-2)


def train(model, loop=None, *, batches=BATCHES, heard=True, epochs=1, validate=False):
    """The plain loop, with or without the three lines."""
    optimizer = optimizer_of(model)
    losses = []
    for _ in range(epochs):
        for x, y in batches:
            optimizer.zero_grad()
            if loop is not None and loop.recorder.on_training and heard:
                with loop.batch(labels=y):
                    loss = nn.functional.cross_entropy(model(x), y)
                    loss.backward()
            else:
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
            if validate:
                with torch.no_grad():
                    model.eval()(X)
                model.train()
            optimizer.step()
            losses.append(loss.detach())
            if loop is not None:
                loop.step()
        if loop is not None:
            loop.epoch()
    return losses


def probe_of(model, analyzer=Average, **options):
    return tp.Probe(model, ["0", "2"], [analyzer()], **options)


@pytest.mark.parametrize("loader", [PROBED, None])
@pytest.mark.parametrize("analyzer", [Average, Gradient, ByLabel])
def test_training_is_bit_for_bit_what_it_would_be(loader, analyzer):
    plain, model = net(), net()
    torch.manual_seed(5)
    losses = train(plain)
    expected = state(plain)
    objective = tp.TrainingLoss("mean") if loader is None else "label"
    probe = probe_of(model, analyzer, objective=objective)
    torch.manual_seed(5)
    with tp.callbacks.Loop(probe, loader, every=2) as loop:
        assert same(train(model, loop), losses)
    assert same(state(model), expected)
    assert not hooks(model)
    assert model.training
    assert len(loop.history) == 3 + (loader is not None)


def test_each_result_is_that_of_a_run_with_the_weights_of_its_step():
    model = net()
    found = {}

    def spy(step, results):
        found[step] = probe_of(model).run(PROBED)

    loop = tp.callbacks.Loop(probe_of(model), PROBED, every=3)
    loop.recorder._keep, keep = lambda *line: (spy(*line), keep(*line)), loop.recorder._keep
    with loop:
        train(model, loop)
    assert loop.history.steps == (0, 3, 6)
    assert dict(loop.history) == found
    assert loop.history[0] != loop.history[6]


def test_epochs_start_and_end():
    model = net()
    schedule = tp.callbacks.Schedule(epochs=2, start=False)
    with tp.callbacks.Loop(probe_of(model), PROBED, every=schedule) as loop:
        train(model, loop, epochs=3)
    assert loop.history.steps == (2 * STEPS, 3 * STEPS)
    assert [loop.history.epoch(step) for step in loop.history.steps] == [2, 3]


def test_the_training_stream_holds_the_step_that_is_due_and_nothing_else():
    model = net()
    with tp.callbacks.Loop(probe_of(model), every=3) as loop:
        train(model, loop, validate=True)
    assert loop.history.steps == (3, 6)
    for results in loop.history.values():
        assert results["average"]["0"].provenance["samples"] == 8
    first, _ = BATCHES[2]
    torch.manual_seed(0)
    twin = net()
    train(twin, batches=BATCHES[:2])
    expected = nn.functional.linear(first, twin[0].weight, twin[0].bias).double().mean(0)
    found = torch.from_numpy(loop.history[3]["average"]["0"].mean.copy())
    torch.testing.assert_close(found, expected.detach(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("window", "samples"), [(1, 8), (2, 16), (3, 24), (9, 24)])
def test_a_window_holds_so_many_steps(window, samples):
    model = net()
    with tp.callbacks.Loop(probe_of(model), every=3, window=window) as loop:
        train(model, loop)
    assert [each["average"]["0"].provenance["samples"] for each in loop.history.values()] == [
        samples
    ] * 2


def test_an_epoch_of_the_training_stream_holds_all_of_it():
    model = net()
    with tp.callbacks.Loop(probe_of(model, ByLabel)) as loop:
        train(model, loop, epochs=2)
    assert loop.history.steps == (6, 12)
    assert [each["by_label"]["0"].provenance["samples"] for each in loop.history.values()] == [
        48,
        48,
    ]


def test_accumulated_gradients_belong_to_one_step():
    model = net()
    optimizer = optimizer_of(model)
    loss_of = tp.TrainingLoss("mean", divided_by=2)
    with tp.callbacks.Loop(probe_of(model, Gradient, objective=loss_of), every=2) as loop:
        for number, (x, y) in enumerate(BATCHES):
            with loop.batch(labels=y):
                (nn.functional.cross_entropy(model(x), y) / 2).backward()
            if number % 2:
                optimizer.step()
                optimizer.zero_grad()
                loop.step()
    provenance = loop.history[2]["gradient"]["0"].provenance
    assert loop.history.steps == (2,)
    assert (provenance["samples"], provenance["calls"]) == (16, 2)
    assert provenance["gradient_scale"] == "of each sample's own loss"


def test_mixed_precision_trains_as_it_would():
    def run(model, loop=None):
        optimizer = optimizer_of(model)
        for x, y in BATCHES:
            with torch.autocast("cpu", torch.bfloat16):
                loss = nn.functional.cross_entropy(model(x), y)
                if loop is not None:
                    loop.recorder.record()  # inside autocast: its weights must not be used again
                    loop.recorder.step += 1
                second = nn.functional.cross_entropy(model(x), y)
            (loss + second).backward()
            optimizer.step()
            optimizer.zero_grad()

    plain, model = net(), net()
    torch.manual_seed(2)
    run(plain)
    expected = state(plain)
    torch.manual_seed(2)
    with tp.callbacks.Loop(probe_of(model), PROBED, every=[99]) as loop:
        run(model, loop)
    assert same(state(model), expected)


def test_the_generator_of_a_shared_loader_is_left_as_it_was():
    def loaders():
        data, generator = TensorDataset(X, Y), torch.Generator().manual_seed(7)
        return DataLoader(data, 8, shuffle=True, generator=generator)

    plain, model = net(), net()
    torch.manual_seed(1)
    train(plain, batches=loaders(), epochs=2)
    expected, shared = state(plain), loaders()
    torch.manual_seed(1)
    with tp.callbacks.Loop(probe_of(model), shared, every="epoch") as loop:
        train(model, loop, batches=shared, epochs=2)
    assert same(state(model), expected)


def test_a_step_that_is_tried_again_after_an_error_counts_once():
    model, failing = net(), [True, False] * 2

    class Tight(nn.Linear):
        def forward(self, x):
            if self.training and failing.pop(0):
                raise MemoryError
            return super().forward(x)

    model[4] = Tight(6, 3)
    optimizer = optimizer_of(model)
    with tp.callbacks.Loop(probe_of(model, ByLabel), every=2, window=2) as loop:
        for x, y in BATCHES[:2]:
            with pytest.raises(MemoryError), loop.batch(labels=y):
                model(x)
            assert not hooks(model), "nothing is listened to outside"
            model.eval()(X)
            model.train()
            with loop.batch(labels=y):
                nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            loop.step()
    assert loop.history[2]["by_label"]["0"].provenance["calls"] == 2


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
@pytest.mark.parametrize("where", ["forward", "backward", "step"])
def test_a_loop_that_fails_keeps_what_was_seen_and_leaves_no_hooks(kind, where):
    model = net()
    optimizer = optimizer_of(model)
    with pytest.raises(kind):
        with tp.callbacks.Loop(probe_of(model, ByLabel), every=4, window=4) as loop:
            for number, (x, y) in enumerate(BATCHES):
                with loop.batch(labels=y):
                    loss = nn.functional.cross_entropy(model(x), y)
                    if number == 2 and where == "forward":
                        raise kind
                    if number == 2 and where == "backward":
                        loss.register_hook(lambda grad: exec("raise kind", {"kind": kind}))
                    loss.backward()
                if number == 2 and where == "step":
                    raise kind
                optimizer.step()
                loop.step()
    assert not hooks(model)
    assert loop.history.steps == (3,)
    results = loop.history[3]
    assert not results.complete
    assert results["by_label"]["0"].provenance["samples"] == 24
    assert f"training ended with {kind.__name__} in step 3" in str(results.provenance["notes"])


def test_an_interrupted_pass_over_the_loader_is_kept_and_marked():
    def broken():
        yield PROBED[0]
        raise KeyboardInterrupt

    class Loader:
        calls = 0

        def __iter__(self):
            self.calls += 1
            return broken() if self.calls == 2 else iter(PROBED)

    model = net()
    with pytest.raises(KeyboardInterrupt):
        with tp.callbacks.Loop(probe_of(model), Loader(), every=2) as loop:
            train(model, loop)
    assert loop.history.steps == (0, 3)
    assert loop.history[0].complete
    assert not loop.history[3].complete
    assert not hooks(model)


def test_a_batch_that_was_not_told_of_is_an_error_at_first_and_a_warning_later():
    model = net()
    with pytest.raises(EmptyStateError, match=r"with loop\.batch"):
        with tp.callbacks.Loop(probe_of(model), every=2) as loop:
            train(model, loop, heard=False)
    with tp.callbacks.Loop(probe_of(model), every=2) as loop:
        train(model, loop, batches=BATCHES[:2])
        with pytest.warns(IncompleteWarning, match="step 4"):
            train(model, loop, batches=BATCHES[:2], heard=False)


def test_a_model_that_is_not_called_is_told():
    model, other = net(), net()
    with pytest.raises(EmptyStateError, match="no complete forward pass"):
        with tp.callbacks.Loop(probe_of(model), every=2) as loop:
            train(other, loop)


def test_a_compiled_model_is_refused_when_it_would_be_listened_to():
    model = net()
    model[0].compile(backend="eager")
    with pytest.raises(tp.errors.CompileError, match="compile='eager'"):
        with tp.callbacks.Loop(probe_of(model), every=1) as loop:
            train(model, loop)
    assert not hooks(model)


def test_a_compiled_model_can_run_uncompiled_while_it_is_listened_to():
    model = net()
    compiled = torch.compile(model, backend="eager")
    optimizer = optimizer_of(model)
    probe = tp.Probe(compiled, ["0"], [Average()], compile="eager")
    with tp.callbacks.Loop(probe, every=2) as loop:
        for x, y in BATCHES:
            with loop.batch(labels=y):
                nn.functional.cross_entropy(compiled(x), y).backward()
            optimizer.step()
            loop.step()
    assert [each["average"]["0"].provenance["samples"] for each in loop.history.values()] == [8] * 3


def test_numbers_go_to_loggers_of_any_kind(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    class Run:
        def __init__(self):
            self.lines = []

        def log(self, numbers, step):
            self.lines.append((step, numbers))

    model, run, called = net(), Run(), []
    with SummaryWriter(str(tmp_path)) as writer:
        options = {"log": [writer, run, lambda *line: called.append(line)], "prefix": "probe/"}
        with tp.callbacks.Loop(probe_of(model), PROBED, every=3, **options) as loop:
            train(model, loop)
    tags = {f"probe/{tag}" for tag in loop.history.last.scalars()}
    assert [step for step, _ in run.lines] == [step for _, step in called] == [0, 3, 6]
    assert all(set(numbers) == tags for _, numbers in run.lines)
    assert read_tensorboard(tmp_path) == {
        tag: [
            pytest.approx(results.scalars()[tag.removeprefix("probe/")])
            for results in loop.history.values()
        ]
        for tag in tags
    }


def read_tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {tag: [e.value for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"log": 3},
        {"every": 2, "window": 0},
        {"window": 2},
        {"loader": PROBED, "every": 2, "window": 2},
        {"history": tp.History(), "directory": "out"},
    ],
)
def test_options_that_contradict_each_other_are_refused(wrong):
    with pytest.raises(SettingError):
        tp.callbacks.Loop(probe_of(net()), **wrong)


def test_outside_of_its_block_a_loop_does_nothing_that_could_not_be_cleaned_up():
    loop = tp.callbacks.Loop(probe_of(net()), PROBED)
    for call in (loop.step, loop.epoch, loop.batch().__enter__):
        with pytest.raises(SettingError, match="with loop"):
            call()
    with loop, pytest.raises(SettingError, match="probes on its loader"):
        with loop.batch(labels=Y):
            pass


def test_results_are_saved_as_they_come_and_gone_on_with(tmp_path):
    model = net()
    with pytest.raises(RuntimeError, match="power cut"):
        with tp.callbacks.Loop(probe_of(model), PROBED, every=2, directory=tmp_path) as loop:
            train(model, loop)
            raise RuntimeError("power cut")
    assert tp.History.load(tmp_path) == loop.history
    again = tp.callbacks.Loop(probe_of(model), PROBED, every=2, directory=tmp_path, step=4)
    with again:
        assert again.history.steps == (0, 2, 4)
        train(model, again, batches=BATCHES[:2])
    assert tp.History.load(tmp_path).steps == (0, 2, 4, 6)
    with pytest.raises(SettingError, match="begins at step 0"):
        tp.callbacks.Loop(probe_of(model), PROBED, directory=tmp_path).__enter__()


def test_the_state_of_a_loop_survives_a_checkpoint(tmp_path):
    model = net()
    with tp.callbacks.Loop(probe_of(model), PROBED, every=2) as loop:
        train(model, loop, batches=BATCHES[:3])
        torch.save(loop.state_dict(), tmp_path / "loop.pt")
        resumed = tp.callbacks.Loop(probe_of(model), PROBED, every=2)
        resumed.load_state_dict(torch.load(tmp_path / "loop.pt", weights_only=True))
        assert resumed.history == loop.history
    with resumed:
        train(model, resumed, batches=BATCHES[3:4])
    assert resumed.history.steps == (0, 2, 4)


@pytest.mark.parametrize("analyzer", [ByLabel, Gradient])
def test_what_is_in_no_result_yet_survives_a_checkpoint_too(tmp_path, analyzer):
    """A window of four steps, interrupted in its middle."""

    def made(model):
        objective = tp.TrainingLoss("mean")
        return tp.callbacks.Loop(probe_of(model, analyzer, objective=objective), every=4, window=4)

    whole, model = net(), net()
    torch.manual_seed(3)
    with made(whole) as loop:
        train(whole, loop)
    torch.manual_seed(3)
    optimizer = optimizer_of(model)
    with made(model) as first:
        some(model, optimizer, first, BATCHES[:2])
        saved = {"loop": first.state_dict(), "rng": torch.get_rng_state()}
        torch.save(saved, tmp_path / "state.pt")
        some(model, optimizer, first, BATCHES[2:3])  # lost
    weights, adam = twin(tmp_path)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    second = made(weights)
    second.load_state_dict(state["loop"])
    torch.set_rng_state(state["rng"])
    with second:
        some(weights, adam, second, BATCHES[2:])
    assert second.history.steps == loop.history.steps == (4, 6)
    for step, results in loop.history.items():
        for layer, result in results[analyzer.name].items():
            found = second.history[step][analyzer.name][layer]
            assert found.mean == pytest.approx(result.mean, abs=1e-12)
            assert found.provenance["samples"] == result.provenance["samples"]


def some(model, optimizer, loop, batches):
    for x, y in batches:
        optimizer.zero_grad()
        with loop.batch(labels=y):
            nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        loop.step()


def twin(tmp_path):
    """The model and optimizer as they were after two steps."""
    torch.manual_seed(3)
    model = net()
    torch.manual_seed(3)
    optimizer = optimizer_of(model)
    for x, y in BATCHES[:2]:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model, optimizer


def test_a_compiled_training_step_that_leaves_no_mark_on_the_model_is_told():
    model = net()
    optimizer = optimizer_of(model)

    @torch.compile(backend="eager")
    def forward(x):
        return model(x)

    with pytest.raises(EmptyStateError, match=r"torch\.compile"):
        with tp.callbacks.Loop(probe_of(model), every=2) as loop:
            for x, y in BATCHES:
                with loop.batch(labels=y):
                    nn.functional.cross_entropy(forward(x), y).backward()
                optimizer.step()
                loop.step()
    assert not hooks(model)
    torch._dynamo.reset()


def test_several_splits_are_probed_each_time():
    class Scored(Average):
        splits = ("score",)

    model = net()
    loaders = {"fit": PROBED[:1], "score": PROBED}
    probe = tp.Probe(model, ["0"], {"fit": Average(), "score": Scored()})
    with tp.callbacks.Loop(probe, loaders, every=3) as loop:
        train(model, loop)
    for results in loop.history.values():
        assert results["fit"]["0"].provenance["samples"] == 20
        assert results["score"]["0"].provenance["samples"] == 48


def test_targets_of_a_regression_are_no_labels():
    model = net()
    optimizer = optimizer_of(model)
    with tp.callbacks.Loop(probe_of(model), every=2) as loop:
        for x, _ in BATCHES:
            with loop.batch(labels=torch.rand(8)):
                model(x).square().sum().backward()
            optimizer.step()
            loop.step()
    assert loop.history.steps == (2, 4, 6)


def test_the_first_step_of_a_listened_window_learns_the_axes_and_the_others_know_them():
    model = net()
    with tp.callbacks.Loop(probe_of(model), every=2) as loop:
        train(model, loop, batches=BATCHES[:3])
        assert not loop.recorder.probe._record.stream.discovering
        with loop.batch(labels=BATCHES[3][1]):
            attached = hooks(model)
            model(BATCHES[3][0])
        assert set(attached) == {"0", "2", ""}, "only what is probed, and the model itself"


def test_what_another_callback_runs_meanwhile_is_not_listened_to():
    """Trainers tell callbacks one after the other: one may probe while the next still listens."""
    model = net()
    hearing = tp.callbacks.Recorder(tp.Probe(model, ["0"], [Average()]), every=1)
    probing = tp.callbacks.Recorder(tp.Probe(model, ["0"], [Average()]), PROBED, every=1)
    with hearing.hear(tp.Batch(None, labels=Y[:8])):
        model(X[:8])
        probing.stepped()
    hearing.stepped()
    hearing.close()
    assert hearing.history[1]["average"]["0"].provenance["samples"] == 8
    assert probing.history[1]["average"]["0"].provenance["samples"] == len(X)
