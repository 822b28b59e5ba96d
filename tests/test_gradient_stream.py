"""Gradients arrive beside the activations, for any model, and leave nothing behind."""

import pytest
import torch
from gradients import Keep, X, Y, kept, net
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

import torchprobe as tp
from torchprobe.analyzer import check_analyzer_class
from torchprobe.errors import PluginError, SettingError
from torchprobe.objective import Objective


def run(model, loader, layers=None, **options):
    """Activations and gradients by layer, all batches joined."""
    probe = tp.Probe(model, layers, [Keep()], on_error="raise", **options)
    probe.run(loader, progress=False)
    return probe, kept(probe)


def oracle(model, x, objective):
    """Values and gradients of every layer, sample by sample, out of place."""
    rows = []
    for sample in x:
        values = [sample[None].clone().requires_grad_()]
        for module in model:
            values.append(module(values[-1]))
        rows.append((values, torch.autograd.grad(objective(values[-1]), values)))
    names = ["input", *map(str, range(len(model)))]
    return {
        name: tuple(torch.cat([row[part][i] for row in rows]).detach() for part in (0, 1))
        for i, name in enumerate(names)
    }


def assert_same(found, expected):
    for name, (values, gradients) in found.items():
        torch.testing.assert_close(values, expected[name][0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradients, expected[name][1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_at_every_layer_are_those_of_each_sample_alone(frozen):
    model = net().requires_grad_(not frozen)
    layers = ["input", *map(str, range(6))]
    _, found = run(model, [X[:4], X[4:]], layers)
    assert list(found) == layers
    assert_same(found, oracle(net(inplace=False), X, lambda scores: scores.max()))


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (2, lambda scores: scores[0, 2]),
        (Objective(probabilities=True), lambda scores: scores.softmax(1).max()),
        (lambda outputs, labels: outputs.square().sum(1), lambda scores: scores.square().sum()),
    ],
)
def test_any_objective_can_be_chosen(objective, expected):
    _, found = run(net(), [X], ["0", "3"], objective=objective)
    assert_same(found, oracle(net(inplace=False), X, expected))


def test_a_label_objective_reads_the_labels():
    _, found = run(net(), [(X, Y)], ["5"], objective="label")
    assert torch.equal(found["5"][1], nn.functional.one_hot(Y, 4).double())


def test_nothing_is_left_on_model_or_inputs():
    model = net()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    model[3].requires_grad_(False)
    flags = [p.requires_grad for p in model.parameters()]
    x = X.clone()
    run(model, [x])
    assert torch.equal(x, X)
    assert not x.requires_grad
    assert [p.requires_grad for p in model.parameters()] == flags
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert all(p.grad is None for p in list(model.parameters())[1:])
    assert model.training


def test_a_users_own_loop_keeps_its_graph_for_its_own_backward():
    plain, probed = net(), net()
    nn.functional.cross_entropy(plain(X), Y).backward()
    with tp.Probe(probed, ["0", "3"], [Keep()], on_error="raise") as probe:
        nn.functional.cross_entropy(probed(X), Y).backward()
    for one, two in zip(plain.parameters(), probed.parameters(), strict=True):
        assert torch.equal(one.grad, two.grad)
    assert_same(kept(probe), oracle(net(inplace=False), X, lambda scores: scores.max()))


def test_a_loop_without_gradients_says_how_to_get_them():
    model = net()
    with tp.Probe(model, ["0"], [Keep()]), torch.no_grad():
        with pytest.raises(SettingError, match=r"probe\.run\(\) sees to it"):
            model(X)
    with torch.inference_mode(), pytest.raises(SettingError, match="inference_mode"):
        run(model, [X], ["0"])


def test_without_wish_for_gradients_nothing_is_recorded():
    recorded = []

    class Spy(nn.Linear):
        def forward(self, x):
            recorded.append((torch.is_grad_enabled(), x.requires_grad))
            return super().forward(x)

    model = Spy(3, 2)
    tp.Probe(model, analyzers=["class_selectivity"]).run([(torch.ones(2, 3), [0, 1])])
    tp.Probe(model, analyzers=[Keep()]).run([torch.ones(2, 3)])
    assert recorded == [(False, False), (True, True)]


class Cut(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.unused = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        self.unused(x)
        return self.b(self.a(x).detach())


def test_a_layer_that_does_not_reach_the_objective_has_zero_gradients_and_a_note():
    probe, found = run(Cut(), [torch.ones(2, 3)])
    for name in ("a", "unused"):
        assert torch.equal(found[name][1], torch.zeros(2, 3))
        assert [*probe.coverage.skipped[name]] == [
            "the objective does not depend on it: its gradients are 0"
        ]
    assert "b" not in probe.coverage.skipped


def test_where_the_users_loop_requires_no_gradients_there_are_none():
    model = Cut()
    model.a.requires_grad_(False)
    probe = tp.Probe(model, analyzers=[Keep()])
    with probe:
        model(torch.ones(2, 3))
    assert "no gradients" in str(probe.coverage)
    with pytest.warns(tp.errors.IncompleteWarning, match="'a'"):
        assert set(probe.results()["keep"].layers) == {"b", "unused"}


def test_a_module_called_by_itself_has_no_objective():
    model = net()
    probe = tp.Probe(model, ["0", "3"], [Keep()])
    with probe:
        model(X)
        model[0](X)
    assert "called without the model" in str(probe.coverage)
    assert len(kept(probe)["0"][0]) == 6


def test_each_call_of_a_shared_module_has_its_own_gradient():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU(inplace=True)

        def forward(self, x):
            return 3 * self.act(2 * self.act(x))

    _, found = run(Twice(), [torch.tensor([[1.0, -2.0]])], ["act"], objective=0)
    assert found["act"][1].tolist() == [[6.0, 0.0]]
    assert found["act@2"][1].tolist() == [[3.0, 0.0]]


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_segments(reentrant):
    class Segments(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net()

        def forward(self, x):
            return checkpoint(self.inner, x, use_reentrant=reentrant)

    if reentrant:
        with pytest.raises(SettingError, match="use_reentrant=False"):
            run(Segments(), [X], ["inner.0"])
        return
    _, found = run(Segments(), [X, X], ["inner.0", "inner.3"])
    expected = oracle(net(inplace=False), X.repeat(2, 1, 1), lambda scores: scores.max())
    assert_same({name.removeprefix("inner."): each for name, each in found.items()}, expected)


def test_frozen_embeddings_and_packed_sequences():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.head = nn.Embedding(7, 3), nn.GRU(3, 4), nn.Linear(4, 2)

        def forward(self, tokens, lengths):
            packed = pack_padded_sequence(self.embed(tokens), lengths, batch_first=True)
            _, last = self.rnn(packed)
            return self.head(last[-1])

    torch.manual_seed(0)
    model = Tagger().requires_grad_(False)
    loader = [((torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([3, 2])),)]
    _, found = run(model, loader, ["embed", "rnn[0]"], axes={"embed": "sample token channel"})
    assert found["embed"][1][0].abs().sum() > 0
    assert found["embed"][1][1, :, 1].abs().sum() > 0
    assert found["embed"][1][1, :, 2].abs().sum() == 0  # padding
    assert found["rnn[0]"][1].shape == (2, 4, 3)


def test_autocast_gradients_come_in_the_layers_dtype():
    model = net().float()
    probe = tp.Probe(model, ["4"], [Keep()], on_error="raise")
    with torch.autocast("cpu", torch.bfloat16):
        probe.run([X.float()], progress=False)
    values, gradients = kept(probe)["4"]
    assert values.dtype == gradients.dtype == torch.bfloat16
    assert gradients.abs().sum() > 0


def test_frames_that_are_labelled_make_up_the_objective():
    model = nn.Sequential(nn.Conv1d(3, 4, 1), nn.Conv1d(4, 5, 1)).double()
    labels = torch.full((6, 5), -1)
    labels[:, 2] = 1
    _, found = run(model, [(X, labels)], ["0"], objective=Objective("label", dim=1))
    gradients = found["0"][1]  # [sample, channel, time]
    torch.testing.assert_close(gradients[:, :, 2], model[1].weight[1, :, 0].detach().expand(6, 4))
    assert gradients[:, :, [0, 1, 3, 4]].abs().sum() == 0


def test_all_results_are_computed_with_other_analyzers_beside():
    results = tp.Probe(net(), ["0", "3"], [Keep(), "class_selectivity"]).run([(X, Y)])
    assert set(results) == {"keep", "class_selectivity"}
    assert results["keep"]["3"].mean.shape == (6,)


def test_pooled_positions_have_no_gradients():
    class Pooled(Keep):
        positions = "mean"

    with pytest.raises(SettingError, match="came without gradients"):
        tp.Probe(net(), ["0"], [Pooled()], on_error="raise").run([X])


def test_unknown_signals_are_refused():
    class Odd(Keep):
        signals = ("gradient",)

    with pytest.raises(PluginError, match="'gradients'"):
        check_analyzer_class(Odd)
