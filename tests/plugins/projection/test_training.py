"""The autoencoder that learns while activations stream."""

import numpy as np
import pytest
import torch
from torch import nn
from torchprobe_projection import Autoencoder, PlaneNetwork, Projection, encoder
from torchprobe_projection.labelled_sample import LabelledSample

import torchprobe as tp
from torchprobe import Axes, Layer, LayerBatch
from torchprobe.errors import InsufficientDataError, MergeError, SettingError
from torchprobe.labels import Labels
from torchprobe.testing import check_analyzer

OPTIONS = {"autoencoder": {"passes": 2, "batch": 16, "rate": 0.001, "hidden": (6, 4)}}
SETTINGS = {"methods": "autoencoder", "measures": "pd", "points": 20, "options": OPTIONS}


@pytest.fixture
def stream(rows):
    """Feed an analyzer as a probe would: every pass over "fit", maybe stopping and resuming."""
    values = torch.from_numpy(rows(300)[0])
    layer = Layer("h", Axes.parse("sample channel"), tuple(values.shape), dtype=values.dtype)

    def stream(size=50, passes=3, resume=False, sizes=None, **settings):
        fork = Projection(**{**SETTINGS, **settings}).fork(layer)
        for number in range(passes):
            for part in torch.arange(len(values)).split(sizes or size):
                labels = Labels(ids=part)
                fork.update(LayerBatch(layer, values[part], labels, split="fit", number=number))
                if resume:
                    state = fork.state_dict()
                    fork = Projection(**{**SETTINGS, **settings}).fork(layer)
                    fork.load_state_dict(state)
        return fork

    return stream


def weights(fork):
    return fork.learners["autoencoder"].state["parameters"]


def test_how_rows_are_batched_does_not_matter(stream):
    expected = weights(stream())
    for size in (1, 7, 300):
        assert torch.equal(weights(stream(size)), expected)


def test_a_resumed_training_is_an_uninterrupted_one(stream):
    whole, resumed = stream(), stream(resume=True)
    assert torch.equal(weights(whole), weights(resumed))
    first, second = whole.compute(), resumed.compute()
    assert np.array_equal(first.coordinates, second.coordinates)
    assert np.array_equal(first.autoencoder_loss, second.autoencoder_loss)


def test_computing_in_between_changes_nothing(stream):
    fork = stream(passes=2)
    before = fork.state_dict()
    assert len(fork.compute().autoencoder_loss) == 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in fork.state_dict().items())


def test_it_is_gradient_descent_on_the_rows_neither_shown_nor_judged_in_their_order(stream, rows):
    values = torch.from_numpy(rows(300)[0])
    fork = stream()
    sample = fork.samples["fit"]
    judged = 20 + 28  # a tenth of the 280 others
    kept, apart = sample.rows[judged:].double(), set((sample.ids[:judged] // 2**20).tolist())
    mean, std = kept.mean(0), kept.std(0, correction=0)
    order = [row for row in range(300) if row not in apart]
    standard = ((values[order] - mean) / std).float()
    network = PlaneNetwork(mean.numpy(), std.numpy(), (8, 6, 4, 2, 4, 6, 8)).draw(0)
    whole = nn.Sequential(*network.encode_layers, *network.decode_layers)
    adam = torch.optim.Adam(whole.parameters(), 1e-3)
    for number in range(2):
        for part in standard.split(16):
            if number == 1 and len(part) < 16:  # waits for rows that do not come
                break
            adam.zero_grad()
            nn.functional.mse_loss(whole(part), part).backward()
            adam.step()
    expected = nn.utils.parameters_to_vector(whole.parameters())
    assert torch.allclose(weights(fork), expected, atol=1e-5)


def test_an_epoch_s_losses_are_kept_for_each_pass(stream):
    losses = stream().compute().autoencoder_loss
    assert losses.shape == (2, 2)
    assert losses[1, 1] < losses[0, 1]


def test_training_ends_early_where_nothing_is_gained(stream):
    options = {"autoencoder": {"passes": 6, "patience": 1, "rate": 0.9, "hidden": (6,)}}
    fork = stream(passes=7, options=options)
    assert len(fork.compute().autoencoder_loss) < 6
    assert len(fork.learners["autoencoder"].state["rows"]) == 0


def test_rows_of_the_first_pass_teach_nothing_and_no_more_than_a_mini_batch_waits(stream):
    assert not stream(passes=1).learners["autoencoder"].state
    fork = stream(passes=2)
    assert len(fork.learners["autoencoder"].state["rows"]) < 16
    planned = fork.state_bytes(fork.layer)
    assert sum(acc.nbytes for _, acc in fork.accumulators()) <= planned


def test_rows_that_may_be_shown_or_judged_are_left_out():
    sample = LabelledSample(3, n=40)
    values, ids = torch.randn(60, 3).double(), torch.arange(60)
    sample.update(values, ids)
    training = Autoencoder(passes=1).learner(3, 10, 0)
    state = training.reduce(values, ids, 1, sample)
    apart = set(sample.ids[:13].tolist())  # ten and a tenth of the other thirty
    assert len(state["rows"]) == 60 - 13
    back = state["rows"].double() * state["scale"] + state["mean"]
    assert torch.allclose(back, values[[i for i in range(60) if i not in apart]], atol=1e-5)


def test_it_keeps_the_contract_but_for_what_depends_on_order():
    skip = ["order_does_not_matter", "a_class_seen_late_counts_the_same"]
    processes = ["merging_two_halves_equals_one_pass"]
    check_analyzer(Projection(**SETTINGS), positions=[(), (5,)], skip=skip + processes)


def test_trainings_are_not_merged(stream):
    with pytest.raises(MergeError, match="cannot be merged into one; let it learn"):
        stream().merge(stream())


def test_a_state_of_other_widths_is_refused(stream):
    other = {"autoencoder": {**OPTIONS["autoencoder"], "hidden": (5,)}}
    with pytest.raises(MergeError, match="does not fit"):
        stream(passes=1).load_state_dict(stream(options=other).state_dict())


def test_without_a_further_pass_it_is_told(stream):
    with pytest.raises(InsufficientDataError, match="further passes over the 'fit' data"):
        stream(passes=1).compute()


def test_too_few_rows_are_told_and_the_usual_methods_go_on_without(feed, rows):
    splits, few = {"fit": rows(8)[0]}, {"measures": "pd", "options": OPTIONS}
    with pytest.raises(InsufficientDataError, match="too few rows"):
        feed(splits, **{**SETTINGS, **few}).compute()
    result = feed(splits, **few).compute()
    assert result.coords["method"] == ("pca", "random")
    assert [note.split()[0] for note in result.provenance["notes"][1:]] == [
        "t-SNE",
        "UMAP",
        "autoencoder",
    ]


def test_passes_below_none_are_refused():
    with pytest.raises(SettingError, match="passes=-1"):
        Autoencoder(passes=-1)


def test_a_probe_makes_the_passes_and_the_encoder_outlives_it(rows, tmp_path):
    values = torch.from_numpy(rows(400)[0])
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU())
    options = {"autoencoder": {"passes": 8, "batch": 8}}
    analyzer = Projection("autoencoder", neighbours=5, options=options)
    assert analyzer.passes == 9
    probe = tp.Probe(model, "1", [analyzer], on_error="raise")
    results = probe.run(fit=values[:300].split(50), score=[values[300:]], progress=False)
    result = results["projection"]["1"]
    assert result.autoencoder_loss[-1, 1] < 0.9 * result.autoencoder_loss[0, 1]
    assert result.pca_bound < result.pd[0] < result.pd[1]
    results.save(tmp_path)
    loaded = encoder(tp.load(tmp_path)["projection"]["1"])
    with torch.no_grad():
        new = model(values[:7])
    assert np.array_equal(loaded.transform(new), encoder(result).transform(new))
