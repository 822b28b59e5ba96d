"""The training loss's own gradients, read off the backward pass that training runs anyway."""

import gc
import weakref

import pytest
import torch
from gradients import Keep, X, Y, kept, net
from torch import nn
from torch.utils.checkpoint import checkpoint

import torchprobe as tp
from torchprobe.backward import NEVER
from torchprobe.errors import SettingError
from torchprobe.training_loss import TrainingLoss

MEAN = TrainingLoss("mean")


def seen(probe):
    """Activations and gradients of the layers that the loss's gradient has reached."""
    return {layer: found for layer, found in kept(probe).items() if found}


def oracle(x=X, y=Y):
    """Values and gradients of every sample's own loss, out of place."""
    values = [x]
    for module in net(inplace=False):
        values.append(module(values[-1]))
    loss = nn.functional.cross_entropy(values[-1], y, reduction="sum")
    found = torch.autograd.grad(loss, values[1:])
    return {str(i): (values[i + 1].detach(), each) for i, each in enumerate(found)}


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, (values, gradients) in found.items():
        torch.testing.assert_close(values, expected[name][0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradients, expected[name][1], rtol=1e-12, atol=1e-12)


def train(model, probe, batches, loss_of=nn.functional.cross_entropy):
    with probe:
        for x, y in batches:
            with probe.batch(labels=y):
                loss_of(model(x), y).backward()


def probed(model, objective=MEAN, layers=None, **options):
    return tp.Probe(model, layers, [Keep()], on_error="raise", objective=objective, **options)


def test_every_layer_gets_the_gradient_of_each_samples_own_loss():
    model = net()
    probe = probed(model)
    train(model, probe, [(X[:4], Y[:4]), (X[4:], Y[4:])])
    assert_same(seen(probe), oracle())
    provenance = probe.results()["keep"]["0"].provenance
    assert provenance["gradients_of"] == "the training loss"
    assert provenance["gradient_scale"] == "of each sample's own loss"
    assert provenance["complete"]


def test_training_is_bit_for_bit_what_it_would_be():
    plain, model = net(), net()
    nn.functional.cross_entropy(plain(X), Y).backward()
    train(model, probed(model), [(X, Y)])
    for one, two in zip(plain.parameters(), model.parameters(), strict=True):
        assert torch.equal(one.grad, two.grad)


def test_scaling_by_a_scaler_and_accumulation_is_undone():
    model, scaler = net(), torch.amp.GradScaler("cpu", init_scale=1024.0)
    probe = probed(model, TrainingLoss("mean", divided_by=2, scaler=scaler))
    with probe, probe.batch(labels=Y):
        scaler.scale(nn.functional.cross_entropy(model(X), Y) / 2).backward()
    assert_same(seen(probe), oracle())


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("training", "unknown: reduction of the loss"),
        (TrainingLoss("mean", scaler="unknown"), "unknown: GradScaler"),
    ],
)
def test_an_unknown_scale_says_so(loss, words):
    model = net()
    probe = probed(model, loss)
    train(model, probe, [(X, Y)])
    assert probe.results()["keep"]["0"].provenance["gradient_scale"] == words


def test_ignored_labels_have_no_part_in_the_mean():
    labels = torch.tensor([0, 1, -100, 3, 1, -100])
    model = net()
    probe = probed(model)
    train(model, probe, [(X, labels)])
    _, gradients = seen(probe)["5"]
    kept = labels >= 0
    assert torch.allclose(gradients[kept], oracle()["5"][1][kept], atol=1e-12)
    assert gradients[~kept].abs().sum() == 0


def test_two_forward_passes_and_one_backward():
    model = net()
    probe = probed(model, TrainingLoss("sum"))
    with probe, probe.batch(labels=Y):
        (nn.functional.cross_entropy(model(X), Y, reduction="sum") + model(2 * X).sum()).backward()
    values, gradients = seen(probe)["0"]
    assert len(values) == 12
    assert_same({"0": (values[:6], gradients[:6])}, {"0": oracle()["0"]})


def test_of_several_backward_passes_the_first_counts_and_the_others_are_told():
    model = net()
    probe = probed(model)
    with probe, probe.batch(labels=Y):
        loss = nn.functional.cross_entropy(model(X), Y)
        loss.backward(retain_graph=True)
        (5 * loss).backward()
    assert_same(seen(probe), oracle())
    assert "further backward pass" in str(probe.coverage)


def test_a_forward_pass_without_backward_is_forgotten_and_told():
    model = net()
    probe = probed(model)
    with probe:
        with probe.batch(labels=Y):
            model(X)
        with probe.batch(labels=Y):
            nn.functional.cross_entropy(model(X), Y).backward()
    assert_same(seen(probe), oracle())
    assert probe.coverage.rolled_back == {NEVER: 1}
    assert not probe.results().complete


def test_a_loop_without_backward_passes_does_not_fill_memory():
    model = net()
    probe = probed(model)
    with probe:
        for _ in range(80):
            model(X)
        assert len(probe._record.stream.backward._passes) <= 65
    assert probe.coverage.rolled_back == {NEVER: 80}


def test_nothing_is_awaited_of_a_forward_pass_that_fails():
    class Failing(nn.Linear):
        def forward(self, x):
            raise MemoryError

    model = net()
    model[5] = Failing(6, 4)
    probe = probed(model)
    with probe:
        for _ in range(3):
            with pytest.raises(MemoryError):
                model(X)
        assert not probe._record.stream.backward._items
    assert probe.coverage.rolled_back == {"exception in the forward pass": 3}


def test_a_batch_is_delivered_when_the_next_begins_whatever_has_no_gradients():
    model = net()
    model[0].requires_grad_(False)
    probe = probed(model)
    with probe:
        for _ in range(3):
            nn.functional.cross_entropy(model(X), Y).backward()
            assert len(probe._record.stream.backward._passes) == 1


def test_frozen_layers_have_none_and_say_so():
    model = net()
    model[0].requires_grad_(False)
    probe = probed(model)
    train(model, probe, [(X, Y)])
    assert set(seen(probe)) == {"3", "4", "5"}
    assert "no gradients" in str(probe.coverage)


def test_a_layer_the_loss_does_not_depend_on_has_zero_gradients():
    class Aside(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(3, 4), nn.Linear(3, 4)

        def forward(self, x):
            self.unused(x)
            return self.used(x)

    model = Aside()
    probe = probed(model)
    train(model, probe, [(torch.ones(6, 3), Y)])
    assert seen(probe)["unused"][1].abs().sum() == 0
    assert "does not depend on it" in str(probe.coverage)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_layers_get_theirs_exactly_once(reentrant):
    class Segments(nn.Module):
        def __init__(self):
            super().__init__()
            whole = net()
            self.first, self.inner = whole[:3], whole[3:]

        def forward(self, x):
            return checkpoint(self.inner, self.first(x), use_reentrant=reentrant)

    model = Segments()
    probe = probed(model, layers=["first.0", "inner.3", "inner.5"])
    train(model, probe, [(X, Y), (X, Y)])
    expected = oracle(X.repeat(2, 1, 1), Y.repeat(2))
    names = {"first.0": "0", "inner.3": "3", "inner.5": "5"}
    assert_same(seen(probe), {name: expected[old] for name, old in names.items()})


def test_a_module_recomputed_twice_by_reentrant_checkpointing_is_left_out_and_told():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.inner = nn.Linear(3, 4), nn.Linear(4, 4)

        def forward(self, x):
            x = checkpoint(self.inner, self.first(x), use_reentrant=True)
            return checkpoint(self.inner, x, use_reentrant=True)

    model = Shared()
    probe = probed(model, calls="separate")
    train(model, probe, [(torch.ones(6, 3), Y)])
    assert set(seen(probe)) == {"first"}
    assert "cannot be told apart" in str(probe.coverage)


def test_autocast_and_half_precision_do_not_underflow():
    model = net().float()
    probe = probed(model, TrainingLoss("mean", divided_by=1e-6))
    with probe, probe.batch(labels=Y), torch.autocast("cpu", torch.bfloat16):
        loss = nn.functional.cross_entropy(model(X.float()), Y)
        loss.backward()
    values, gradients = seen(probe)["3"]
    assert values.dtype == torch.bfloat16
    assert gradients.dtype == torch.float32
    assert gradients.abs().max() > 0


def test_overflown_gradients_are_left_out_and_told():
    model = net()
    probe = probed(model)
    with probe:
        for scale in (float("inf"), 1.0):
            with probe.batch(labels=Y):
                (nn.functional.cross_entropy(model(X), Y) * scale).backward()
    assert len(seen(probe)["5"][0]) == 6
    assert "NaN or infinity left out" in str(probe.coverage)


def test_packed_sequences():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 4)

        def forward(self, x):
            packed = nn.utils.rnn.pack_padded_sequence(x, [5, 4, 3, 2, 2, 1], batch_first=True)
            padded, _ = nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
            return self.head(padded.sum(1))

    model = Tagger()
    probe = probed(model, layers=["rnn[0]"])
    train(model, probe, [(X.mT.float(), Y)])
    _, gradients = seen(probe)["rnn[0]"]
    assert gradients.shape == (6, 4, 5)
    assert gradients[5, :, 0].abs().sum() > 0
    assert gradients[5, :, 1:].abs().sum() == 0


def test_graphs_and_outputs_do_not_outlive_their_step():
    model = net()
    probe, refs = probed(model), []

    def keep_ref(module, inputs, output):
        refs.append(weakref.ref(output))

    model[3].register_forward_hook(keep_ref)
    gc.disable()
    try:
        train(model, probe, [(X, Y)] * 3)
        assert [ref() for ref in refs] == [None] * 3
    finally:
        gc.enable()


def test_an_analyzer_that_raises_leaves_no_half_gradients():
    class Broken(Keep):
        def update(self, batch):
            raise ValueError("broken")

    plain, model = net(), net()
    nn.functional.cross_entropy(plain(X), Y).backward()
    probe = tp.Probe(model, None, [Broken()], on_error="raise", objective=MEAN)
    with pytest.raises(ValueError, match="broken"):
        train(model, probe, [(X, Y)])
    assert not any(module._forward_hooks for module in model.modules())
    for one, two in zip(plain.parameters(), model.parameters(), strict=True):
        assert torch.equal(one.grad, two.grad)


def test_runs_over_loaders_train_nothing():
    with pytest.raises(SettingError, match="trains nothing"):
        probed(net()).run([(X, Y)])
    probe = tp.Probe(net(), ["0"], ["activation_sample"], objective=MEAN)
    assert probe.run([(X, Y)]).complete, "analyzers that read no gradients do not care"


@pytest.mark.parametrize("wrong", [{"reduction": "max"}, {"divided_by": 0}, {"scaler": 3}])
def test_settings_are_checked(wrong):
    with pytest.raises(SettingError):
        TrainingLoss(**wrong)


def test_renewing_forgets_what_was_seen_and_keeps_what_was_learned():
    model = net()
    probe = probed(model)
    train(model, probe, [(X, Y)])
    first = probe.results()
    probe.renew()
    assert not seen(probe)
    assert not probe._record.stream.discovering
    train(model, probe, [(X, Y)])
    assert_same(seen(probe), oracle())
    assert probe.results()["keep"]["0"] == first["keep"]["0"]
