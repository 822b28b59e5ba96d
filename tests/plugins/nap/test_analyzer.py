import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import nap as reference
from torch import nn
from torchprobe_nap import NeuronActivationProfiles

import torchprobe as tp
import torchprobe.labels
from torchprobe.errors import (
    EmptyStateError,
    IncompleteWarning,
    LabelError,
    SettingError,
    ShapeError,
)
from torchprobe.testing import check_analyzer

WORKED = [[[0.0, 2, 0], [1, 1, 1]], [[2, 0, 0], [1, 1, 1]], [[0, 0, 4], [3, 1, 1]]]
GROUPS = [0, 0, 1]


def random_maps(n=14, channels=4, time=11, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, classes, n)
    centres = rng.normal(size=(classes + 1, channels, time))
    return torch.from_numpy(centres[labels] + rng.normal(size=(n, channels, time))), labels


def random_frames(n=5, channels=3, time=19, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    return (
        torch.from_numpy(rng.normal(size=(n, channels, time))),
        rng.integers(-1, classes, (n, time)),
    )


def same(one, two, atol=1e-9):
    assert one.fields.keys() == two.fields.keys()
    assert one.coords == two.coords
    for name, field in one.fields.items():
        assert np.allclose(field.values, two[name].values, rtol=0, atol=atol, equal_nan=True), name


# -- right to the digit


@pytest.mark.parametrize(
    ("baseline", "sort", "distance"),
    [
        ("sample", True, 3.018462),
        ("group", True, 2.738613),
        ("sample", False, 4.690416),
        ("group", False, 4.690416),
    ],
)
def test_worked_distances_of_the_method_specification(feed, baseline, sort, distance):
    result = feed(WORKED, GROUPS, baseline=baseline, sort=sort).compute()
    assert result.distances[0, 1] == pytest.approx(distance, abs=5e-7)
    assert result.linkage[0, 2] == result.distances[0, 1]


def test_worked_profiles_of_the_method_specification(feed):
    result = feed(WORKED, GROUPS, stages=True).compute()
    a, b = result.profile
    assert np.allclose(a, [[-4 / 3, 1 / 3, 1 / 3], [-2 / 3, 0, 0]], rtol=1e-14)
    assert np.allclose(b, [[-2 / 3, -2 / 3, 8 / 3], [0, 0, 4 / 3]], rtol=1e-14)
    assert result.mean[0].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert np.allclose(result.baseline, [[2 / 3, 2 / 3, 4 / 3], [5 / 3, 1, 1]])
    assert result.counts.tolist() == [2, 1]


@pytest.mark.parametrize("baseline", ["sample", "group"])
def test_profiles_of_whole_maps_equal_the_formula(feed, baseline):
    maps, labels = random_maps()
    result = feed(maps, labels, [3, 5, 6], baseline=baseline, stages=True).compute()
    classes, expected = reference.profiles(maps.numpy(), labels, baseline)
    between = reference.distances(expected)
    pairs = between[np.triu_indices(len(between), 1)]
    assert result.coords["group"] == tuple(map(str, classes))
    assert np.allclose(result.profile, expected, rtol=0, atol=1e-9)
    assert np.allclose(result.distances, between, rtol=0, atol=1e-9)
    assert np.allclose(result.linkage[:, 2], reference.complete_linkage(between), rtol=0, atol=1e-9)
    assert result.threshold == pytest.approx(reference.percentile(pairs, 80), abs=1e-9)


@pytest.mark.parametrize(("left", "right"), [(0, 0), (2, 3), (4, 0), (-1, 3)])
@pytest.mark.parametrize("time", [19, 90])  # windows that are gathered, and that share their rows
def test_profiles_of_windows_equal_cutting_every_window_out(feed, left, right, time):
    values, labels = random_frames(time=time)
    result = feed(values, labels, [2, 3], window=(left, right), stages=True).compute()
    cut, said = reference.windows(values.numpy(), labels, left, right)
    _, expected = reference.profiles(cut, said)
    assert np.allclose(result.profile, expected, rtol=0, atol=1e-9)
    assert result.counts.sum() == sum(label >= 0 for label in said)
    assert result.left_out == (labels >= 0).sum() - result.counts.sum()


def test_windows_in_one_pass_equal_feeding_every_window_by_itself(feed):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv1d(3, 4, 3), nn.ReLU(), nn.Conv1d(4, 5, 5), nn.ReLU(), nn.Conv1d(5, 2, 3)
    ).double()
    values, _ = random_frames(n=3, time=25)
    field = 9
    with torch.no_grad():
        maps = net[:2](values)  # [sample, channel, position]; an output sees 7 of them
        labels = torch.randint(-1, 3, (3, 25 - field + 1))
        alone = net[:2](values.unfold(2, field, 1).transpose(1, 2).flatten(0, 1))
    at_layer = torch.full((3, maps.shape[2]), -1)
    at_layer[:, : labels.shape[1]] = labels
    one_pass = feed(maps, at_layer, [1, 2], window=(0, 6), stages=True).compute()
    by_itself = feed(alone, labels.flatten(), stages=True).compute()
    same(one_pass, by_itself)


def test_labels_per_sample_hold_for_each_of_its_windows(feed):
    values, _ = random_frames()
    one = feed(values, [0, 1, 1, 0, 2], window=(1, 1)).compute()
    labels = torch.tensor([0, 1, 1, 0, 2])[:, None].expand(-1, 19)
    same(one, feed(values, labels, window=(1, 1)).compute())


# -- what does not matter, and what does


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    n=st.integers(1, 6),
    time=st.integers(1, 9),
    left=st.integers(0, 3),
    right=st.integers(0, 3),
    edges=st.sampled_from(["exclude", "partial", "zero"]),
    seed=st.integers(0, 99),
)
def test_windows_do_not_depend_on_batches(feed, n, time, left, right, edges, seed):
    values, labels = random_frames(n, 2, time, 3, seed)
    options = {"window": (left, right), "edges": edges, "stages": True}
    whole = feed(values, labels, **options)
    parts = feed(values, labels, [1] * n, **options)
    if not bool((whole.sums.state["groups"] >= 0).any()):
        with pytest.raises(EmptyStateError):
            whole.compute()
        return
    same(whole.compute(), parts.compute())


@settings(derandomize=True, deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_profiles_scale_with_activations_and_ignore_what_all_share(feed, seed, scale, shift):
    maps, labels = random_maps(seed=seed)
    plain = feed(maps, labels).compute()
    moved = feed(maps * scale + shift, labels).compute()
    assert np.allclose(moved.distances, plain.distances * scale, rtol=1e-9)
    assert moved.cluster.tolist() == plain.cluster.tolist()


@settings(derandomize=True, deadline=None, max_examples=20)
@given(seed=st.integers(0, 999))
def test_sorting_forgets_time(feed, seed):
    maps, labels = random_maps(seed=seed)
    order = np.random.default_rng(seed).permutation(maps.shape[2])
    plain = feed(maps, labels).compute()
    assert np.allclose(feed(maps[:, :, order], labels).compute().distances, plain.distances)


def test_unlabelled_maps_count_in_the_sample_baseline_only(feed):
    maps, labels = random_maps()
    labels[:3] = -1
    full, known = feed(maps, labels, stages=True), feed(maps[3:], labels[3:], stages=True)
    assert np.allclose(full.compute().baseline, maps.mean(0))
    assert not np.allclose(full.compute().baseline, known.compute().baseline)
    by_group = [feed(maps[k:], labels[k:], baseline="group").compute() for k in (0, 3)]
    same(*by_group)


def test_without_sorting_the_baseline_cancels(feed):
    maps, labels = random_maps()
    one, two = (feed(maps, labels, sort=False, baseline=b).compute() for b in ("sample", "group"))
    assert np.allclose(one.distances, two.distances)


def test_layers_without_positions_are_sorted_as_they_are(feed):
    rows = torch.tensor([[1.0, 0], [3, 0], [0, 5]])
    result = feed(rows, [0, 0, 1], stages=True).compute()
    assert result.axes("profile") == ("group", "channel")
    assert result.mean.tolist() == [[2, 0], [0, 5]]
    assert result.distances[0, 1] == pytest.approx(np.sqrt(4 + 25))


def test_images_are_sorted_over_height_and_width_together(feed):
    maps = torch.randn(6, 2, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    labels = [0, 1, 2, 0, 1, 2]
    result = feed(maps, labels, stages=True).compute()
    assert result.axes("profile") == ("group", "channel", "height", "width")
    _, expected = reference.profiles(maps.flatten(2).numpy(), labels)
    assert np.allclose(result.profile.reshape(3, 2, 12), expected)


@pytest.mark.parametrize(
    ("options", "positions"),
    [
        ({"stages": True}, ((), (5,), (2, 3))),
        ({"baseline": "group", "sort": False, "base": "square"}, ((), (5,))),
        ({"window": (1, 2)}, ((5,),)),
        ({"window": (1, 2), "edges": "partial", "stages": True}, ((5,),)),
        ({"window": (1, 2), "edges": "zero"}, ((5,),)),
        ({"length": 3}, ((5,),)),
    ],
)
def test_every_form_keeps_the_contract(options, positions):
    check_analyzer(NeuronActivationProfiles(**options), positions=positions)


# -- edges, padding, what is not finite


def test_incomplete_windows_are_left_out_and_counted(feed):
    values, labels = torch.ones(2, 1, 5), torch.zeros(2, 5, dtype=torch.long)
    result = feed(values, labels, window=(1, 1), lengths=torch.tensor([5, 3])).compute()
    assert result.counts.tolist() == [3 + 1]
    # frames in padding have no label; at the ends of both utterances one is left out
    assert result.left_out == 4
    assert any("4 labelled" in note for note in result.provenance["notes"])


def test_partial_windows_count_for_the_positions_they_have(feed):
    values = torch.tensor([[[1.0, 2, 3]]])
    options = {"window": (1, 1), "stages": True, "sort": False}
    partial = feed(values, [[0, -1, 0]], edges="partial", **options).compute()
    assert partial.mean.tolist() == [[[2, 2, 2]]]  # left: 2 alone, centre: 1 and 3, right: 2 alone
    zero = feed(values, [[0, -1, 0]], edges="zero", **options).compute()
    assert zero.mean.tolist() == [[[1, 2, 1]]]
    assert zero.counts.tolist() == partial.counts.tolist() == [2]
    assert partial.baseline.tolist() == [[1.5, 2, 2.5]]


def test_padding_and_missing_values_never_enter_a_window(feed):
    values, labels = random_frames(n=3, time=12)
    labels = np.abs(labels)
    clean = feed(values[:, :, :8], labels[:, :8], window=(1, 1), stages=True).compute()
    values[:, :, 8:] = 1e9
    padded = feed(values, labels, window=(1, 1), lengths=torch.full((3,), 8), stages=True).compute()
    same(clean, padded)
    values[:, 1, 9] = torch.nan
    values[:, :, 8] = torch.inf
    broken = feed(values, np.where(np.arange(12) < 8, labels, -1), window=(1, 1), stages=True)
    assert np.array_equal(broken.compute().counts, clean.counts)


def test_maps_with_missing_values_are_left_out_and_counted(feed):
    maps, labels = random_maps()
    labels = np.abs(labels)
    clean = feed(maps[1:], labels[1:]).compute()
    maps[0, 0, 3] = torch.nan
    result = feed(maps, labels).compute()
    assert np.allclose(result.distances, clean.distances)
    assert (result.left_out, clean.left_out) == (1, 0)


def test_ragged_maps_are_an_error_or_cropped_and_counted(feed):
    maps, labels = random_maps()
    lengths = torch.full((14,), 11)
    lengths[:2] = 4
    with pytest.raises(ShapeError, match=r"2 of 14 maps are padded.*length="):
        feed(maps, labels, lengths=lengths)
    result = feed(maps, np.abs(labels), lengths=lengths, length=6).compute()
    whole = feed(maps[2:, :, :6], np.abs(labels)[2:]).compute()
    assert np.allclose(result.distances, whole.distances)
    assert result.left_out == 2


def test_maps_that_change_their_size_are_an_error(feed):
    fork = feed(*random_maps())
    layer = fork.layer
    longer = tp.LayerBatch(layer, torch.ones(2, 4, 12), tp.labels.Labels([0, 1]))
    with pytest.raises(ShapeError, match=r"maps \(12,\) where \(11,\)"):
        fork.update(longer.view("label", "each"))


# -- bad input


def test_windows_longer_than_every_utterance_say_so(feed):
    fork = feed(*random_frames(), window=(30, 30))
    with pytest.raises(EmptyStateError, match=r"labelled maps or windows .* none was complete"):
        fork.compute()


def test_labels_per_position_do_not_fit_whole_maps(feed):
    with pytest.raises(LabelError, match=r"one label per sample.*window='field'"):
        feed(*random_frames(), window="map")


def test_windows_need_one_position_axis(feed):
    with pytest.raises(ShapeError, match=r"height, width.*window='map'"):
        feed(torch.ones(2, 1, 3, 3), torch.zeros(2, 3, 3, dtype=torch.long), window=(1, 1))


def test_labels_at_a_rate_that_fits_no_layer_are_an_error(feed):
    values, labels = random_frames()
    with pytest.raises(LabelError, match="labels 'label' have shape"):
        feed(values, labels[:, :7], window=(1, 1))


def test_one_group_has_nothing_to_cluster(feed):
    result = feed(torch.ones(3, 2, 4), [5, 5, 5]).compute()
    assert result.distances.tolist() == [[0]]
    assert (result.n_clusters, result.cluster.tolist()) == (1, [0])
    assert np.isnan(result.threshold)
    assert "one group only" in result.provenance["notes"][0]


def test_groups_without_a_member_are_named_not_shown(feed):
    result = feed(WORKED, GROUPS, names=["a", "b", "q"]).compute()
    assert result.coords["group"] == ("a", "b")
    assert "groups without a member: q" in result.provenance["notes"]


def test_rare_groups_are_marked(feed):
    result = feed(WORKED, GROUPS, rare=2).compute()
    assert result.rare.tolist() == [False, True]
    assert result.n_rare == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": "all"}, "'auto', 'map', 'field'"),
        ({"window": (1, 2, 3)}, "left, right"),
        ({"window": (1, -3)}, "left, right"),
        ({"window": (0.5, 1)}, "left, right"),
        ({"edges": "wrap"}, "exclude"),
        ({"baseline": "median"}, "sample"),
        ({"base": "triangle"}, "condensed"),
        ({"percentile": 101}, "0 to 100"),
        ({"percentile": float("nan")}, "0 to 100"),
        ({"percentiles": [50, -1]}, "0 to 100"),
        ({"rare": -1}, "0 or more"),
        ({"length": 0}, "positions to keep"),
    ],
)
def test_settings_are_checked_at_the_door(options, message):
    with pytest.raises(SettingError, match=message):
        NeuronActivationProfiles(**options)


# -- through a probe


def strided_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(3, 4, 4, stride=2), nn.ReLU(), nn.Conv1d(4, 5, 3), nn.Conv1d(5, 2, 5, stride=2)
    ).double()  # an output sees 16 frames, the next 4 further


@torch.no_grad()
def probed(net, batches, labels, **options):
    probe = tp.Probe(net, ["input", "*"], ["nap"], on_error="raise", **options)
    with probe:
        for values, said in zip(batches, labels, strict=True):
            with probe.batch(said):
                net(values)
    return probe.results()["nap"]


def test_every_layers_window_is_what_feeding_the_receptive_field_alone_gives():
    net, values = strided_net(), torch.randn(3, 3, 61).double()
    labels = torch.randint(-1, 3, (3, 12))
    alone = values.unfold(2, 16, 4).transpose(1, 2).flatten(0, 1)
    one_pass = probed(net, values.split(1), labels.split(1), labels_at="output")
    by_itself = probed(net, alone.split(20), labels.flatten().split(20))
    assert [one_pass[name].profile.shape[2] for name in one_pass.layers] == [16, 7, 7, 5, 1, 1]
    for name in one_pass.layers:
        same(one_pass[name], by_itself[name])


def test_labels_at_the_inputs_rate_are_those_in_the_middle_of_what_an_output_sees():
    net, values = strided_net(), torch.randn(2, 3, 61).double()
    frames = torch.randint(-1, 3, (2, 61))
    at_output = frames[:, 8::4][:, :12]  # of two in the middle the later
    by_input = probed(net, [values], [frames])
    by_output = probed(net, [values], [at_output], labels_at="output")
    for name in by_input.layers:
        same(by_input[name], by_output[name])


def test_layers_that_see_everything_want_a_stated_window():
    net = nn.Sequential(nn.Conv1d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 9, 7))
    probe = tp.Probe(net, ["0"], ["nap"], on_error="raise", labels_at={"label": "0"})
    with pytest.raises(SettingError, match=r"window=\(left, right\)"):
        with probe, probe.batch(torch.zeros(2, 9, dtype=torch.long)):
            net(torch.randn(2, 3, 11))


def test_windows_longer_than_an_utterance_leave_it_out_layer_by_layer():
    """The first layer's windows reach out of what the last layer's, of one position, do not."""
    net = nn.Sequential(nn.Conv1d(3, 4, 3, padding=1), nn.Conv1d(4, 2, 9, padding=4))
    long, short = torch.randn(1, 3, 30), torch.randn(1, 3, 9)
    found = probed(net, [long, short], [torch.zeros(1, n).long() for n in (30, 9)])
    assert found["0"].left_out == (30 + 9) - (30 - 8) - (9 - 8)
    assert found["1"].left_out == 0
    with pytest.warns(IncompleteWarning, match="7 labelled maps or windows .* none was complete"):
        shortest = probed(net, [torch.randn(1, 3, 7)], [torch.zeros(1, 7).long()])
    assert "0" not in shortest.layers


def test_ragged_utterances_never_lend_each_other_their_padding():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU(), nn.Conv1d(4, 2, 3)).double()
    values, labels = torch.randn(2, 3, 30).double(), torch.randint(0, 3, (2, 30))
    alone = probed(net, [values[:1], values[1:, :, :17]], [labels[:1], labels[1:, :17]])
    probe = tp.Probe(net, ["input", "*"], ["nap"], on_error="raise", mask_rule="all_valid")
    with probe, torch.no_grad(), probe.batch(labels, lengths=torch.tensor([30, 17])):
        values[1, :, 17:] = 1e6
        net(values)
    together = probe.results()["nap"]
    for layer in ("0", "1", "2"):
        assert together[layer].counts.sum() == alone[layer].counts.sum()
        assert np.allclose(together[layer].distances, alone[layer].distances, rtol=0, atol=1e-9)


def test_layers_without_positions_refuse_labels_that_have_some():
    net = nn.Sequential(nn.Conv1d(3, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2))
    x, labels = torch.randn(2, 3, 11), torch.zeros(2, 11).long()
    for layer, error, message in [
        ("0", SettingError, r"an output with the position axis.*window=\(left, right\)"),
        ("3", LabelError, "layer '3' has 2 samples without positions"),
    ]:
        probe = tp.Probe(net, layer, ["nap"], on_error="raise")
        with pytest.raises(error, match=message):
            probe.run([(x, labels)])


@pytest.mark.parametrize("positions", [(), (5,), (2, 3)])
def test_samples_that_a_mask_leaves_out_are_no_data(feed, positions):
    maps = torch.randn(6, 3, *positions, generator=torch.Generator().manual_seed(0)).double()
    labels, mask = torch.tensor([0, 1, 0, 1, 0, 1]), torch.tensor([1, 1, 1, 1, 0, 0])
    found = feed(maps, labels, mask=mask).compute()
    same(found, feed(maps[:4], labels[:4]).compute())
    assert found.left_out == 0


def test_whole_maps_that_overflow_or_hold_nan_take_the_careful_way(feed):
    """Sums of the maps as they are cannot tell these apart; rows in float64 can."""
    large, labels = torch.full((4, 2, 5), 3e38), torch.tensor([0, 1, 0, 1])
    same(feed(large, labels).compute(), feed(large.double(), labels).compute())
    large[1, 0, 2] = torch.nan
    assert feed(large, labels).compute().left_out == 1


def test_maps_that_the_model_overwrites_are_summed_as_they_were():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(3, 4, 3)

        def forward(self, x):
            return self.conv(x).mul_(100)

    net, x, labels = InPlace().double(), torch.randn(6, 3, 9).double(), torch.arange(6) % 2
    expected = probed(net.conv, [x], [labels])["model"]
    for batches in (1, 6, 2):
        found = probed(net, x.split(batches), labels.split(batches))["conv"]
        assert np.allclose(found.mean, expected.mean, rtol=1e-12)
        assert np.allclose(found.baseline, expected.baseline, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_maps_of_any_precision_are_summed_in_float64(feed, dtype):
    maps, labels = random_maps(n=40)
    maps = (1000 * maps).to(dtype)
    found = feed(maps, labels, [17, 23], stages=True).compute()
    _, expected = reference.profiles(maps.double().numpy(), labels)
    assert np.allclose(found.profile, expected, rtol=1e-12, atol=1e-9)


def test_two_groupings_in_one_pass_over_all_layers():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 2, 3, padding=1))
    probe = tp.Probe(net, "*", [NeuronActivationProfiles(window=(2, 2))])
    graphemes, phonemes = torch.randint(0, 3, (4, 15)), torch.randint(0, 5, (4, 15))
    with probe, probe.batch(labels={"grapheme": graphemes, "phoneme": phonemes}):
        net(torch.randn(4, 3, 15))
    results = probe.results()["nap"]
    assert results.groupings == ("grapheme", "phoneme")
    assert len(results["0", "grapheme"].counts) == 3
    assert len(results["2", "phoneme"].counts) == 5


def test_results_survive_saving(feed, tmp_path):
    from torchprobe.results import LayerResults, Results

    results = Results({"nap": LayerResults([feed(WORKED, GROUPS, stages=True).compute()])})
    results.save(tmp_path / "out")
    assert tp.load(tmp_path / "out") == results
