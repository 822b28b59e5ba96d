"""The hook manager alone: what fires, when, and that the model never notices."""

import copy
import gc
import io
import pickle
import threading
import weakref

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from torchprobe.errors import AttachError, IncompleteWarning
from torchprobe.hooks import HookManager


class Recorder:
    """A listener that writes down what it is told."""

    follows_inputs = True

    def __init__(self):
        self.committed, self.failures, self.skips, self.entries = [], [], [], []

    def opened(self, call):
        call.data = []

    def entered(self, call, name, module, inputs):
        self.entries.append(name)

    def returned(self, call, name, module, inputs, output, index):
        call.data.append((name, index))

    def recomputed(self, name, module, output):
        self.recomputations = True

    def closed(self, call, output):
        self.committed.append(call.data)

    def failed(self, call, reason):
        self.failures.append(reason)

    def skipped(self, name, reason):
        self.skips.append((name, reason))


def listening(model, listener=None, names=None):
    modules = {name or "model": module for name, module in model.named_modules()}
    if names:
        modules = {name: module for name, module in modules.items() if name in names}
    return HookManager(modules, listener or Recorder())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act, self.last = nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 3)

    def forward(self, x, fail=None):
        x = self.act(self.first(x))
        if fail is not None:
            raise fail
        return self.last(x)


def hook_counts(model):
    dicts = [name for name in vars(nn.Module()) if "_hooks" in name and "state_dict" not in name]
    return [len(getattr(module, name)) for module in model.modules() for name in dicts]


def test_modules_are_reported_once_each_in_order_of_execution():
    recorder = Recorder()
    model = Net()
    manager = listening(model, recorder).attach()
    model(torch.ones(2, 4))
    assert recorder.committed == [[("first", 0), ("act", 0), ("last", 0), ("model", 0)]]
    assert recorder.entries == ["model", "first", "act", "last"]
    manager.detach()


def test_nothing_is_left_on_the_model_after_detaching():
    model = Net()
    before = hook_counts(model), set(vars(model)), list(model.state_dict())
    manager = listening(model).attach()
    model(torch.ones(2, 4))
    manager.detach()
    assert (hook_counts(model), set(vars(model)), list(model.state_dict())) == before


def test_attaching_twice_is_refused_and_detaching_twice_is_harmless():
    manager = listening(Net()).attach()
    with pytest.raises(AttachError, match="attached already"):
        manager.attach()
    manager.detach()
    manager.detach()


def test_a_shared_module_is_numbered_call_by_call():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.Linear(3, 3)

        def forward(self, x):
            return self.cell(self.cell(self.cell(x)))

    recorder = Recorder()
    model = Shared()
    with_hooks = listening(model, recorder, {"cell"}).attach()
    model(torch.ones(1, 3))
    model(torch.ones(1, 3))
    # without the root, each call of the submodule is an outermost call of its own
    assert recorder.committed == [[("cell", 0)]] * 6
    with_hooks.detach()
    recorder = Recorder()
    listening_to_all = listening(model, recorder).attach()
    model(torch.ones(1, 3))
    assert recorder.committed == [[("cell", 0), ("cell", 1), ("cell", 2), ("model", 0)]]
    listening_to_all.detach()


def test_a_submodule_called_by_itself_is_a_transaction_of_its_own():
    recorder = Recorder()
    model = Net()
    manager = listening(model, recorder).attach()
    model.first(torch.ones(2, 4))
    assert recorder.committed == [[("first", 0)]]
    manager.detach()


@pytest.mark.parametrize("error", [ValueError("bad"), MemoryError(), StopIteration()])
def test_a_forward_that_raises_is_forgotten_and_the_next_one_counts(error):
    recorder = Recorder()
    model = Net()
    manager = listening(model, recorder).attach()
    with pytest.raises((ValueError, MemoryError, StopIteration)):
        model(torch.ones(2, 4), fail=error)
    model(torch.ones(2, 4))
    assert len(recorder.committed) == 1
    assert recorder.failures == ["exception in the forward pass"]
    manager.detach()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()])
def test_an_interrupt_that_hooks_never_hear_of_is_found_at_the_next_call(error):
    recorder = Recorder()
    model = Net()
    manager = listening(model, recorder).attach()
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        model(torch.ones(2, 4), fail=error)
    model(torch.ones(2, 4))
    assert recorder.committed == [[("first", 0), ("act", 0), ("last", 0), ("model", 0)]]
    assert recorder.failures == ["interrupted"]
    manager.detach()


def test_a_failure_inside_an_except_block_of_the_user_is_not_mistaken_for_one():
    class ReturnsNone(nn.Module):
        def forward(self, x):
            return None

    recorder = Recorder()
    model = ReturnsNone()
    manager = listening(model, recorder).attach()
    try:
        int("not a number")
    except ValueError:
        model(1)
    assert recorder.committed == [[("model", 0)]]
    manager.detach()


def test_an_error_that_the_model_itself_handles_keeps_the_rest():
    class Fallback(nn.Module):
        def __init__(self):
            super().__init__()
            self.fragile, self.sturdy = Net(), nn.Linear(4, 3)

        def forward(self, x):
            try:
                return self.fragile(x, fail=ValueError("always"))
            except ValueError:
                return self.sturdy(x)

    recorder = Recorder()
    model = Fallback()
    manager = listening(model, recorder).attach()
    model(torch.ones(2, 4))
    names = [name for name, _ in recorder.committed[0]]
    assert names == ["fragile.first", "fragile.act", "sturdy", "model"]
    assert not recorder.failures
    manager.detach()


def test_a_recursive_root_is_one_transaction():
    class Recursive(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = nn.Linear(2, 2)

        def forward(self, x, depth=2):
            return self.lin(x) if depth == 0 else self(x, depth - 1)

    recorder = Recorder()
    model = Recursive()
    manager = listening(model, recorder).attach()
    model(torch.ones(1, 2))
    assert recorder.committed == [[("lin", 0), ("model", 0), ("model", 1), ("model", 2)]]
    assert not recorder.failures
    manager.detach()


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpointed_segments_are_recorded_once(use_reentrant):
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = Net()

        def forward(self, x):
            return checkpoint(self.body, x, use_reentrant=use_reentrant)

    recorder = Recorder()
    model = Checkpointed()
    manager = listening(model, recorder).attach()
    x = torch.ones(2, 4, requires_grad=True)
    model(x).sum().backward()
    names = [name for call in recorder.committed for name, _ in call]
    assert sorted(names) == sorted(["body.first", "body.act", "body.last", "body", "model"])
    manager.detach()


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_detaching_between_forward_and_checkpointed_backward_is_harmless(use_reentrant):
    model = Net()
    manager = listening(model).attach()
    loss = checkpoint(
        model, torch.ones(2, 4, requires_grad=True), use_reentrant=use_reentrant
    ).sum()
    manager.detach()
    loss.backward()
    assert model.first.weight.grad is not None


def test_contexts_without_values_are_skipped_and_counted():
    recorder = Recorder()
    model = nn.Sequential(nn.Linear(3, 2))
    manager = listening(model, recorder).attach()
    torch.func.vmap(model)(torch.ones(4, 3))
    torch.func.jacrev(lambda x: model(x).sum())(torch.ones(3))
    assert {reason for _, reason in recorder.skips} == {"torch.func transform"}
    assert all(not call for call in recorder.committed)
    manager.detach()


def test_tracing_records_nothing():
    import warnings

    recorder = Recorder()
    model = nn.Sequential(nn.Linear(3, 2))
    manager = listening(model, recorder).attach()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.trace is deprecated, users still call it
        torch.jit.trace(model, torch.ones(4, 3), check_trace=False)
    assert {reason for _, reason in recorder.skips} == {"torch.jit.trace"}
    manager.detach()


def test_copies_and_pickles_of_a_probed_model_are_silent_and_free_of_the_probe():
    recorder = Recorder()
    model = Net()
    manager = listening(model, recorder).attach()
    twin = copy.deepcopy(model)
    loaded = pickle.loads(pickle.dumps(model))
    file = io.BytesIO()
    torch.save(model, file)
    assert b"Recorder" not in file.getvalue()
    twin(torch.ones(1, 4))
    loaded(torch.ones(1, 4))
    assert not recorder.committed
    model(torch.ones(1, 4))
    assert len(recorder.committed) == 1
    manager.detach()


def test_a_manager_that_is_dropped_takes_its_hooks_with_it():
    model = Net()
    before = hook_counts(model)
    manager = listening(model).attach()
    dead = weakref.ref(manager)
    del manager
    gc.collect()
    assert dead() is None
    assert hook_counts(model) == before


def test_calls_made_by_the_listener_are_not_recorded():
    model = Net()

    class Curious(Recorder):
        def returned(self, call, name, module, inputs, output, index):
            super().returned(call, name, module, inputs, output, index)
            if name == "first":
                model(torch.ones(1, 4))

    recorder = Curious()
    manager = listening(model, recorder).attach()
    model(torch.ones(2, 4))
    assert len(recorder.committed) == 1
    assert len(recorder.committed[0]) == 4
    manager.detach()


def test_threads_have_transactions_of_their_own():
    recorder = Recorder()
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    manager = listening(model, recorder).attach()
    work = [
        threading.Thread(target=lambda: [model(torch.ones(2, 8)) for _ in range(50)])
        for _ in range(4)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert len(recorder.committed) == 200
    assert {len(call) for call in recorder.committed} == {4}
    manager.detach()


def test_the_listener_cannot_change_what_the_model_computes():
    class Meddler(Recorder):
        def returned(self, *args):
            return torch.zeros(1)

        def entered(self, *args):
            return torch.zeros(1)

    model, x = Net(), torch.randn(5, 4)
    expected = model(x)
    manager = listening(model, Meddler()).attach()
    assert torch.equal(model(x), expected)
    manager.detach()


def test_a_forked_process_says_that_it_is_not_heard():
    recorder = Recorder()
    model = Net()
    manager = listening(model, recorder).attach()
    manager._process = -1  # as if the hooks had been attached in another process
    with pytest.warns(IncompleteWarning, match="forked"):
        model(torch.ones(1, 4))
    assert not recorder.committed
    manager.detach()


def test_an_error_of_the_listener_reaches_the_user_and_ends_the_call():
    class Angry(Recorder):
        def closed(self, call, output):
            raise ValueError("no")

    model = Net()
    manager = listening(model, Angry()).attach()
    with pytest.raises(ValueError, match="no"):
        model(torch.ones(1, 4))
    manager.listener = Recorder()
    model(torch.ones(1, 4))
    assert len(manager.listener.committed) == 1
    manager.detach()


def test_narrowing_keeps_only_the_named_hooks():
    recorder = Recorder()
    model = Net()
    manager = listening(model, recorder).attach()
    manager.narrow({"model", "last"})
    model(torch.ones(1, 4))
    assert recorder.committed == [[("last", 0), ("model", 0)]]
    manager.detach()
    assert sum(hook_counts(model)) == 0


# -- modules that hold no other are only heard when they return


class Hasty(Recorder):
    """A listener that asks for no inputs but the outermost module's."""

    follows_inputs = False


def test_modules_that_hold_no_other_have_one_hook_and_tell_the_same():
    heard = []
    for recorder in (Recorder(), Hasty()):
        model = Net()
        manager = listening(model, recorder).attach()
        model(torch.ones(2, 4))
        model.first(torch.ones(2, 4))
        with pytest.raises(ValueError, match="bad"):
            model(torch.ones(2, 4), fail=ValueError("bad"))
        heard.append((recorder.committed, recorder.failures))
        first_hooks = [len(each._forward_pre_hooks) for each in model.modules()]
        assert first_hooks == ([1] * 4 if recorder.follows_inputs else [1, 0, 0, 0])
        assert [len(each._forward_hooks) for each in model.modules()] == [1] * 4
        manager.detach()
        assert sum(hook_counts(model)) == 0
    assert heard[0] == heard[1]


def test_a_leaf_that_raises_is_forgotten_and_one_that_is_caught_costs_only_itself():
    class Careful(Net):
        def forward(self, x, fail=None):
            try:
                self.first(x[:, :1])  # of a wrong width
            except RuntimeError:
                x = self.act(self.first(x))
            return self.last(x)

    recorder = Hasty()
    model = Careful()
    manager = listening(model, recorder).attach()
    with pytest.raises(RuntimeError):
        model.first(torch.ones(2, 1))
    model(torch.ones(2, 4))
    assert recorder.committed == [[("first", 0), ("act", 0), ("last", 0), ("model", 0)]]
    manager.detach()


def test_a_leaf_that_is_not_admitted_is_not_heard():
    recorder = Hasty()
    model = Net()
    modules = {name or "model": module for name, module in model.named_modules()}
    manager = HookManager(modules, recorder, lambda: False).attach()
    model.first(torch.ones(2, 4))
    model(torch.ones(2, 4))
    assert recorder.committed == recorder.failures == []
    manager.detach()


def test_an_error_of_the_listener_at_a_leaf_reaches_the_user_and_ends_the_call():
    class Angry(Hasty):
        def returned(self, call, name, module, inputs, output, index):
            raise ValueError("no")

    model = Net()
    angry = Angry()
    manager = listening(model, angry).attach()
    for call in (model, model.first):
        with pytest.raises(ValueError, match="no"):
            call(torch.ones(1, 4))
    assert angry.committed == []
    assert len(angry.failures) == 2
    manager.detach()
