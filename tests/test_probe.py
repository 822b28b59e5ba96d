"""The probe as users meet it: right numbers, a model left alone, clear refusals."""

import copy
import warnings

import numpy as np
import pytest
import torch
from analyzers import ChannelMean, ClassMean
from torch import nn

import torchprobe as tp
from torchprobe.accumulators import Mean
from torchprobe.errors import (
    AttachError,
    CompileError,
    EmptyStateError,
    IncompleteWarning,
    LabelError,
    LayerNotFoundError,
    LayoutError,
    MemoryBudgetError,
    NonFiniteError,
    SettingError,
)


class MLP(nn.Module):
    def __init__(self, inplace=True):
        super().__init__()
        self.hidden = nn.ModuleList([nn.Linear(4, 6), nn.Linear(6, 5)])
        self.act = nn.ReLU(inplace=inplace)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(5, 3)

    def forward(self, x):
        for layer in self.hidden:
            x = self.drop(self.act(layer(x)))
        return self.out(x)


def mlp():
    return MLP().double()


def data(n=20):
    return torch.randn(n, 4).double(), torch.arange(n) % 3


# -- right numbers


def test_inplace_activations_do_not_touch_what_their_producer_delivered():
    model, (x, _) = mlp(), data()
    probe = tp.Probe(model, layers=["hidden.*", "act", "input"], analyzers=[ChannelMean])
    results = probe.run([x])
    before = model.hidden[0](x)
    assert np.allclose(results["mean"]["hidden.0"].mean, before.mean(0).detach(), rtol=1e-12)
    assert np.allclose(results["mean"]["act"].mean, before.relu().mean(0).detach(), rtol=1e-12)
    assert np.allclose(results["mean"]["input"].mean, x.mean(0), rtol=1e-12)


def test_a_module_called_twice_is_two_layers_or_one_by_choice():
    model, (x, _) = mlp(), data()
    separate = tp.Probe(model, layers="act", analyzers=[ChannelMean]).run([x])["mean"]
    assert list(separate) == ["act", "act@2"]
    shared = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    twice = nn.Sequential(shared, shared).double()
    merged = tp.Probe(twice, layers="0.1", analyzers=[ChannelMean], calls="merge").run([x])["mean"]
    assert list(merged) == ["0.1"]
    assert merged["0.1"].n == 2 * len(x)


def test_calls_beyond_the_cap_share_one_layer():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.Linear(4, 4)

        def forward(self, x):
            for _ in range(10):
                x = self.cell(x)
            return x

    model, (x, _) = Loop().double(), data()
    results = tp.Probe(model, layers="cell", analyzers=[ChannelMean], max_calls=3).run([x])
    assert list(results["mean"]) == ["cell", "cell@2", "cell@3", "cell@*"]
    assert results["mean"]["cell@*"].n == 7 * len(x)


def test_batches_of_any_size_give_the_same_statistics():
    model, (x, y) = mlp(), data(23)
    whole = tp.Probe(model, layers="hidden.*", analyzers=[ClassMean]).run([(x, y)])
    parts = tp.Probe(model, layers="hidden.*", analyzers=[ClassMean]).run(
        list(zip(x.split(4), y.split(4), strict=True))
    )
    for layer in whole["class_mean"]:
        one, two = whole["class_mean"][layer], parts["class_mean"][layer]
        assert np.allclose(one.mean, two.mean, rtol=1e-12)
        assert np.array_equal(one.counts, two.counts)


def test_labels_per_position_meet_each_position():
    model = nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.ReLU()).double()
    x, y = torch.randn(4, 2, 7).double(), torch.randint(0, 3, (4, 7))
    y[0, 3] = -1
    result = tp.Probe(model, layers="0", analyzers=[ClassMean]).run([(x, y)])["class_mean"]["0"]
    rows, labels = model[0](x).movedim(1, 2).reshape(-1, 3), y.flatten()
    for k in range(3):
        assert np.allclose(result.mean[k], rows[labels == k].mean(0).detach(), rtol=1e-12)
    assert result.counts.sum() == 27


def test_padding_is_left_out():
    model = nn.Sequential(nn.Conv1d(2, 3, 1)).double()
    x, lengths = torch.randn(3, 2, 6).double(), torch.tensor([6, 2, 4])
    batch = tp.Batch(x, labels=torch.zeros(3).long(), lengths=lengths)
    result = tp.Probe(model, layers="0", analyzers=[ChannelMean]).run([batch])["mean"]["0"]
    rows = torch.cat([model(x)[i, :, :n].T for i, n in enumerate(lengths)])
    assert result.n == 12
    assert np.allclose(result.mean, rows.mean(0).detach(), rtol=1e-12)


def test_packed_sequences_keep_their_padding_out():
    lstm = nn.LSTM(3, 4, batch_first=True).double()
    x, lengths = torch.randn(3, 5, 3).double(), torch.tensor([2, 5, 3])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    probe = tp.Probe(lstm, layers="model[0]", analyzers=[ChannelMean])
    result = probe.run([tp.Batch(packed)])["mean"]["model[0]"]
    assert result.n == 10


def test_groupings_are_computed_from_the_outputs():
    model, (x, y) = mlp().eval(), data(30)
    probe = tp.Probe(
        model,
        layers="hidden.0",
        analyzers=[ClassMean],
        groupings={"predicted": tp.predicted(), "correct": tp.correct()},
    )
    found = probe.run([(x[:16], y[:16]), (x[16:], y[16:])])["class_mean"]
    guess, values = model(x).argmax(1), model.hidden[0](x)
    correct = found["hidden.0", "correct"]
    for row, name in enumerate(correct.coords["class"]):
        which = (guess == y) if name == "correct" else (guess != y)
        assert np.allclose(correct.mean[row], values[which].mean(0).detach(), rtol=1e-12)
    assert found["hidden.0", "predicted"].counts.sum() == 30


def test_string_labels_come_out_in_alphabetical_order():
    model, (x, _) = mlp(), data(4)
    labels = ["zebra", "ant", None, "zebra"]
    result = tp.Probe(model, layers="out", analyzers=[ClassMean]).run([(x, labels)])
    assert result["class_mean"]["out"].coords["class"] == ("ant", "zebra")
    assert result["class_mean"]["out"].counts.tolist() == [1, 2]


def test_class_names_are_used_where_given():
    model, (x, y) = mlp(), data()
    probe = tp.Probe(model, "out", [ClassMean], class_names=["a", "b", "c"])
    assert probe.run([(x, y)])["class_mean"]["out"].coords["class"] == ("a", "b", "c")


def test_pooled_positions_make_one_row_a_sample():
    model = nn.Sequential(nn.Conv1d(2, 3, 1)).double()
    x, y = torch.randn(4, 2, 5).double(), torch.tensor([0, 1, 0, 1])
    for how, pooled in {
        "mean": model(x).mean(2),
        "max": model(x).amax(2),
        "center": model(x)[:, :, 2],
        "flatten": model(x).flatten(1),
    }.items():
        analyzer = ClassMean()
        analyzer.positions = how
        result = tp.Probe(model, "0", [analyzer]).run([(x, y)])["class_mean"]["0"]
        assert np.allclose(result.mean[0], pooled[[0, 2]].mean(0).detach(), rtol=1e-12)


@pytest.mark.parametrize("how", ["mean", "max", "center", "flatten"])
def test_layers_without_positions_have_nothing_to_pool(how):
    model, (x, y) = mlp(), data()
    analyzer = ClassMean()
    analyzer.positions = how
    pooled, plain = (
        tp.Probe(model, "out", [each]).run([(x, y)])["class_mean"]["out"]
        for each in (analyzer, ClassMean)
    )
    assert np.array_equal(pooled.mean, plain.mean)


def test_several_groupings_are_read_in_one_pass():
    model, (x, y) = mlp(), data()
    probe = tp.Probe(model, "out", [ClassMean])
    found = probe.run([(x, {"a": y, "b": (y + 1) % 2})])["class_mean"]
    assert found["out", "a"].counts.sum() == found["out", "b"].counts.sum() == 20
    with pytest.raises(LayerNotFoundError, match="'a'"):
        found["out"]


# -- a model left alone


def test_training_with_a_probe_is_bit_for_bit_training_without():
    class Drawing(ChannelMean):
        def update(self, batch):
            super().update(batch)
            torch.rand(3)

    def train(probed):
        torch.manual_seed(3)
        model = nn.Sequential(
            nn.Linear(4, 8),
            nn.BatchNorm1d(8),
            nn.ReLU(inplace=True),
            nn.Dropout(0.3),
            nn.Linear(8, 3),
        )
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        probe = tp.Probe(model, analyzers=[Drawing, ClassMean])
        if probed:
            probe.attach()
        for _ in range(20):
            x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
            optimizer.zero_grad()
            with probe.batch(labels=y):
                loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        probe.detach()
        return model.state_dict(), torch.get_rng_state(), loss

    plain, probed = train(probed=False), train(probed=True)
    assert all(torch.equal(plain[0][name], probed[0][name]) for name in plain[0])
    assert torch.equal(plain[1], probed[1])
    assert torch.equal(plain[2], probed[2])


def test_run_puts_modes_and_generators_back():
    model, (x, y) = mlp(), data()
    model.train()
    model.act.eval()
    before = [module.training for module in model.modules()], torch.get_rng_state()
    loader = torch.utils.data.DataLoader(list(zip(x, y, strict=True)), batch_size=4, shuffle=True)
    tp.Probe(model, "out", [ClassMean]).run(loader)
    assert [module.training for module in model.modules()] == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert all(not module._forward_hooks for module in model.modules())


def test_statistics_gathered_in_inference_mode_go_on_in_training():
    model, (x, y) = mlp(), data()
    with tp.Probe(model, "hidden.*", [ClassMean, ChannelMean]) as probe:
        with torch.inference_mode(), probe.batch(y):
            model(x)
        with probe.batch(y):
            model(x).sum().backward()
    assert probe.results()["mean"]["hidden.0"].n == 40


def test_analyzers_compute_in_full_precision_under_autocast():
    class Product(tp.Analyzer):
        name = "product"

        def start(self, layer):
            self.total = Mean(layer.channels)

        def update(self, batch):
            rows = batch.values.flatten(1).float()
            self.total.update(rows @ torch.eye(rows.shape[1]) * 1.001)

        def compute(self):
            return self.result(value=("channel", self.total.value))

    model = nn.Linear(4, 3)
    probe = tp.Probe(model, "model", [Product])
    x = torch.randn(8, 4)
    with torch.autocast("cpu", torch.bfloat16), probe:
        delivered = model(x)
    expected = (delivered.float() * 1.001).double().mean(0).detach()
    assert np.allclose(probe.results()["product"]["model"].value, expected, rtol=1e-6)


def test_copies_of_a_probed_model_count_nothing():
    model, (x, _) = mlp(), data()
    with tp.Probe(model, "out", [ChannelMean]) as probe:
        model(x)
        copy.deepcopy(model)(x)
    assert probe.results()["mean"]["out"].n == 20


# -- transactions and errors


def test_a_failed_forward_leaves_no_trace_in_any_layer():
    class Fragile(MLP):
        def forward(self, x, fail=False):
            x = self.act(self.hidden[0](x))
            if fail:
                raise MemoryError
            return self.out(self.act(self.hidden[1](x)))

    model, (x, y) = Fragile().double(), data()
    with tp.Probe(model, ["hidden.*", "out"], [ClassMean]) as probe:
        with probe.batch(y):
            model(x)
        with pytest.raises(MemoryError), probe.batch(y):
            model(x, fail=True)
        for half in (slice(10), slice(10, 20)):
            with probe.batch(y[half]):
                model(x[half])
    results = probe.results()
    assert {results["class_mean"][layer].counts.sum() for layer in results["class_mean"]} == {40}
    assert not results["class_mean"]["out"].complete
    assert probe.coverage.rolled_back == {"exception in the forward pass": 1}


def test_an_analyzer_that_raises_is_left_out_and_the_others_go_on():
    class Broken(ChannelMean):
        name = "broken"

        def update(self, batch):
            super().update(batch)
            if self.layer.name == "out":
                raise ZeroDivisionError("oops")

    model, (x, y) = mlp(), data()
    probe = tp.Probe(model, ["out", "hidden.0"], [Broken, ClassMean])
    with pytest.warns(IncompleteWarning, match="broken at 'out' raised ZeroDivisionError: oops"):
        results = probe.run([(x, y)] * 3)
    assert results["broken"]["hidden.0"].complete
    assert results["class_mean"]["out"].complete
    assert "out" not in results["broken"]
    with pytest.raises(ZeroDivisionError):
        tp.Probe(model, "out", [Broken], on_error="raise").run([(x, y)])


def test_an_interrupted_run_gives_what_it_has_marked_incomplete():
    model, (x, y) = mlp(), data()

    def loader():
        yield x, y
        yield x, y
        raise KeyboardInterrupt

    probe = tp.Probe(model, "out", [ClassMean])
    with pytest.raises(KeyboardInterrupt):
        probe.run(loader())
    result = probe.results()["class_mean"]["out"]
    assert result.counts.sum() == 40
    assert not result.complete
    assert "KeyboardInterrupt" in result.provenance["notes"][0]
    assert not probe.attached


def test_nothing_seen_says_so():
    model = mlp()
    with pytest.raises(EmptyStateError, match="no complete forward pass"):
        tp.Probe(model, "out", [ChannelMean]).results()


class Returning(nn.Module):
    """Answers everything with the same."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, _):
        return self.answer


def test_layers_that_never_fire_are_listed():
    class Gated(MLP):
        def __init__(self):
            super().__init__()
            self.expert = nn.Linear(4, 4)

    model, (x, _) = Gated().double(), data()
    probe = tp.Probe(model, ["expert", "out"], [ChannelMean])
    probe.run([x])
    assert probe.coverage.silent == ("expert",)
    assert "expert  never fired" in str(probe.coverage)


def test_layers_that_return_no_tensor_are_told_from_those_that_never_fire():
    class Told(MLP):
        def __init__(self):
            super().__init__()
            self.word = Returning(None)

        def forward(self, x):
            self.word(x)
            return super().forward(x)

    model, (x, _) = Told().double(), data()
    probe = tp.Probe(model, ["word", "out"], [ChannelMean])
    probe.run([x])
    assert "word  skipped 1: returned no tensor" in str(probe.coverage)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_rows_that_are_not_finite_are_left_out_and_counted(value):
    model, (x, _) = nn.Linear(4, 3).double(), data()
    x[3, 1] = value
    probe = tp.Probe(model, "model", [ChannelMean])
    result = probe.run([x])["mean"]["model"]
    good = torch.cat([x[:3], x[4:]])
    assert np.allclose(result.mean, model(good).mean(0).detach(), rtol=1e-12)
    assert result.provenance["nonfinite_rows"] == 1
    with pytest.raises(NonFiniteError, match="1 of 20 rows"):
        tp.Probe(model, "model", [ChannelMean], nonfinite="raise").run([x])


def test_groups_stay_matched_when_rows_that_are_not_finite_are_left_out():
    model, (x, y) = nn.Linear(4, 3).double(), data(9)
    x[1] = float("nan")
    result = tp.Probe(model, "model", [ClassMean]).run([(x, y)])["class_mean"]["model"]
    assert result.counts.tolist() == [3, 2, 3]
    assert np.allclose(result.mean[1], model(x[[4, 7]]).mean(0).detach(), rtol=1e-12)


# -- refusals at the door


def test_options_and_layers_and_analyzers_are_checked_when_the_probe_is_made():
    model = mlp()
    with pytest.raises(LayerNotFoundError, match="did you mean"):
        tp.Probe(model, layers="hiden.0")
    with pytest.raises(LayerNotFoundError, match="class_selectivity"):
        tp.Probe(model, analyzers=["class_selectivty"])
    with pytest.raises(SettingError, match="'ignore', 'propagate', 'raise'"):
        tp.Probe(model, nonfinite="drop")
    with pytest.raises(SettingError, match="given twice"):
        tp.Probe(model, analyzers=[ChannelMean, ChannelMean()])


def test_one_kind_of_analyzer_can_be_used_twice_under_names():
    model, (x, _) = mlp(), data()
    results = tp.Probe(model, "out", {"a": ChannelMean, "b": ChannelMean()}).run([x])
    assert list(results) == ["a", "b"]
    assert results["a"]["out"].kind == "mean"


def test_state_beyond_the_memory_budget_is_refused_with_the_number():
    model, (x, _) = mlp(), data()

    class Huge(ChannelMean):
        name = "huge"

        def state_bytes(self, layer):
            return 8 * layer.channels**2 * 10**9

    with pytest.raises(MemoryBudgetError, match="72,000,000,000 bytes"):
        tp.Probe(model, "out", [Huge], memory_budget=10**9).run([x])


def test_analyzers_that_need_labels_refuse_a_pass_without():
    model, (x, _) = mlp(), data()
    with pytest.raises(LabelError, match="needs labels"):
        tp.Probe(model, "out", [ClassMean]).run([x])


def test_attaching_twice_is_refused():
    probe = tp.Probe(mlp(), "out", [ChannelMean])
    with probe, pytest.raises(AttachError, match="attached already"):
        probe.attach()


def test_a_compiled_model_is_refused_or_run_uncompiled():
    model, (x, _) = nn.Sequential(nn.Linear(4, 3)).double(), data()
    compiled = torch.compile(model, backend="eager")
    with pytest.raises(CompileError, match="compile='eager'"):
        tp.Probe(compiled, "0", [ChannelMean]).attach()
    compiled(x)
    for policy in ("eager", "reset"):
        result = tp.Probe(compiled, "0", [ChannelMean], compile=policy)
        if policy == "eager":
            assert result.run([x])["mean"]["0"].n == 20


def test_copies_on_several_devices_are_refused():
    wrapped = nn.DataParallel(mlp())
    wrapped.device_ids = [0, 1]
    with pytest.raises(AttachError, match="DistributedDataParallel"):
        tp.Probe(wrapped, "out", [ChannelMean]).attach()


class Tokens(nn.Module):
    """Takes the attention mask and does nothing with it."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(10, 4)

    def forward(self, input_ids, attention_mask=None):
        return self.emb(input_ids)


def test_padding_that_only_the_model_is_told_of_is_warned_about_once():
    model, mask = Tokens(), torch.tensor([[1, 1, 0]])
    with tp.Probe(model, "emb", [ChannelMean]) as probe:
        with pytest.warns(IncompleteWarning, match="mask=attention_mask"):
            model(torch.zeros(1, 3).long(), attention_mask=mask)
        model(torch.zeros(1, 3).long(), attention_mask=mask)
    assert probe.results()["mean"]["emb"].n == 6


def test_a_layer_whose_width_changes_is_refused():
    class Wobbly(nn.Module):
        def forward(self, x):
            return x

    probe = tp.Probe(Wobbly(), "model", [ChannelMean])
    with pytest.raises(LayoutError, match="number of channels"):
        probe.run([torch.ones(2, 3), torch.ones(2, 4)])


BAD_LABELS = {
    "too few": (torch.zeros(5).long(), r"shape \(5,\) but layer 'out' has 20 samples"),
    "one-hot": (nn.functional.one_hot(torch.arange(20) % 3), "one-hot: labels.argmax"),
    "column": (torch.zeros(20, 1).long(), "squeeze"),
    "float": (torch.zeros(20), "labels.long"),
    "NaN": (torch.full((20,), float("nan")), "with NaN"),
    "bool": (torch.zeros(20).bool(), "booleans"),
    "number": (torch.tensor(1), "single number"),
    "negative": (torch.full((20,), -7), "-7; classes are numbered from 0"),
    "objects": ([{}] * 20, "objects"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_malformed_labels_are_refused_with_the_fix(case):
    labels, message = BAD_LABELS[case]
    model, (x, _) = mlp(), data()
    with pytest.raises(LabelError, match=message):
        tp.Probe(model, "out", [ClassMean]).run([(x, labels)])


@pytest.mark.parametrize(
    "labels",
    [
        torch.full((20,), 10**9),
        torch.full((20,), -100),
        np.zeros(20, np.uint8),
        [0] * 20,
        ["a"] * 20,
    ],
)
def test_unusual_labels_that_are_fine_are_accepted(labels):
    model, (x, _) = mlp(), data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteWarning)
        probe = tp.Probe(model, "out", [ClassMean, ChannelMean])
        results = probe.run([(x, labels)])
    assert results["mean"]["out"].n == 20


@pytest.mark.parametrize("batch", [5, (1, 2, 3), None, "text"])
def test_a_loader_of_unknown_form_is_refused_with_the_way_out(batch):
    with pytest.raises(SettingError, match=r"unpack=lambda batch: tp\.Batch"):
        tp.Probe(mlp(), "out", [ChannelMean]).run([batch])


def test_keyword_batches_take_labels_out_and_use_the_attention_mask():
    ids, mask = torch.randint(0, 10, (2, 5)), torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    batch = {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([0, 1])}
    result = tp.Probe(Tokens(), "emb", [ClassMean]).run([batch])["class_mean"]["emb"]
    assert result.counts.tolist() == [3, 5]


# -- layers that nobody chose


class Table(nn.Module):
    def forward(self):
        return torch.ones(2, 3, 5, dtype=torch.float64)


class Odd(nn.Module):
    """Beside its data path, a table whose axes nothing tells."""

    def __init__(self):
        super().__init__()
        self.lin, self.table = nn.Linear(4, 3), Table()

    def forward(self, x):
        return self.lin(x) + self.table().sum()


def test_layers_that_nobody_chose_and_nobody_can_read_are_skipped_and_counted():
    model, (x, y) = Odd().double(), data()
    probe = tp.Probe(model, analyzers=[ClassMean])
    assert list(probe.run([(x, y)])["class_mean"]) == ["lin"]
    assert "axes" in next(iter(probe.coverage.skipped["table"]))
    with pytest.raises(LayoutError, match="'table'"):
        tp.Probe(model, "table", [ClassMean]).run([(x, y)])


def test_labels_that_fit_no_layer_are_refused_also_where_nobody_chose_layers():
    with pytest.raises(LabelError, match="20 samples"):
        tp.Probe(mlp(), analyzers=[ClassMean]).run([(data()[0], torch.zeros(5).long())])


def test_a_part_that_no_layer_delivers_is_an_error():
    with pytest.raises(LayerNotFoundError, match=r"'out\[7\]'"):
        tp.Probe(mlp(), ["out[7]", "act"], [ChannelMean]).run([data()[0]])


class Placed(nn.Module):
    """Tokens and a table of places, which has one row for all samples and comes first."""

    def __init__(self):
        super().__init__()
        self.place, self.token = nn.Embedding(20, 8), nn.Embedding(50, 8)
        self.out = nn.Linear(8, 3)

    def forward(self, tokens, attention_mask=None):
        places = self.place(torch.arange(tokens.shape[1])[None])
        return self.out(places + self.token(tokens))


def test_where_nobody_chose_layers_those_that_a_mask_does_not_fit_are_skipped():
    tokens, mask = torch.randint(50, (4, 7)), torch.ones(4, 7, dtype=torch.bool)
    mask[1, 4:] = False
    probe = tp.Probe(Placed(), None, [ChannelMean])
    results = probe.run([{"tokens": tokens, "attention_mask": mask}])
    assert results["mean"]["out"].n == 25
    assert "place" not in results["mean"].layers
    assert "lengths or mask do not fit this part" in str(probe.coverage)
    chosen = tp.Probe(Placed(), "place", [ChannelMean])
    with pytest.raises(LabelError, match="mask have shape"):
        chosen.run([{"tokens": tokens, "attention_mask": mask}])


def test_samples_are_numbered_by_what_is_said_of_them_not_by_a_table_that_comes_first():
    class Ids(ChannelMean):
        name = "ids"

        def update(self, batch):
            super().update(batch)
            seen.setdefault(batch.layer.name, batch.sample_ids.tolist())

    seen = {}
    tokens, labels = torch.randint(50, (4, 7)), torch.arange(4)
    tp.Probe(Placed(), ["place", "out"], [Ids]).run([(tokens, labels)])
    assert seen["out"] == [0, 1, 2, 3]
