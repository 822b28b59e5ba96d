import numpy as np
import pytest
import torch
from references import projection as reference
from torchprobe_projection import Fitted, Projection, Projector, registry

import torchprobe as tp
from torchprobe.errors import (
    EmptyStateError,
    InsufficientDataError,
    MissingExtraError,
    NonFiniteError,
    PluginError,
    SettingError,
)
from torchprobe.labels import ClassNames, Labels
from torchprobe.testing import check_analyzer

LIGHT = {"methods": "pca"}
NO_EXTRA = {"methods": ("pca", "autoencoder")}


@pytest.fixture
def own(monkeypatch):
    """Register a projector for one test."""
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))
    return registry.register_projector


@pytest.fixture
def splits(rows):
    values, labels = rows(200)
    halves = {"fit": values[:120], "score": values[120:]}
    return halves, {"fit": torch.from_numpy(labels[:120]), "score": torch.from_numpy(labels[120:])}


# -- the contract


def test_it_keeps_the_contract_of_analyzers():
    check_analyzer(Projection(points=40, neighbours=4, **LIGHT))


def test_the_autoencoder_keeps_the_contract_too():
    check_analyzer(Projection(options={"autoencoder": {"epochs": 1}}, **NO_EXTRA), positions=[()])


def test_resampled_pictures_keep_the_contract_too():
    check_analyzer(Projection(measures=("pd", "stability"), **LIGHT), positions=[()])


def test_pooled_positions_keep_the_contract_too():
    analyzer = Projection(neighbours=4, **LIGHT)
    analyzer.positions = "mean"
    # the check compares with an instance that was made without positions=
    check_analyzer(analyzer, positions=[(5,)], skip=["it_has_a_name_and_settings_as_stored"])


# -- which rows are shown and learnt from


def test_the_points_are_the_score_rows_whose_ids_have_the_smallest_hashes(feed, splits):
    result = feed(splits[0], points=30, seed=3, **LIGHT).compute()
    rows = [sample * 2**20 for sample in range(80)]  # the position of a row is in the lower bits
    assert result.ids.tolist() == reference.sampled(rows, 30, 3)
    assert (result.n_points, result.n_training) == (30, 120)


def test_layers_with_the_same_rows_show_the_same_ones(feed, splits):
    halves, _ = splits
    wide = {split: np.hstack([values, values]) for split, values in halves.items()}
    first, second = (feed(each, points=30, **LIGHT).compute() for each in (halves, wide))
    assert np.array_equal(first.ids, second.ids)


def test_a_method_that_learns_sees_no_row_that_is_shown(feed, splits, own):
    seen = {}

    class Spy(Projector):
        name = "spy"
        trained = True

        def fit(self, rows, seed):
            seen["training"] = rows
            return Fitted(transform=lambda points: points[:, :2])

    own(Spy)
    halves, _ = splits
    result = feed(halves, methods="spy", training=50, keep_rows=True).compute()
    learnt = {tuple(row) for row in seen["training"]}
    assert len(learnt) == 50
    assert learnt <= {tuple(row) for row in halves["fit"]}
    assert not learnt & {tuple(row) for row in result.rows}


@pytest.mark.parametrize(("split", "other"), [("fit", "score"), ("score", "fit")])
def test_of_one_split_a_part_is_held_out_and_the_result_says_so(feed, rows, split, other):
    result = feed({split: rows(100)[0]}, points=60, **LIGHT).compute()
    kept = 60 if split == "score" else 100
    assert (result.n_points, result.n_training) == (kept // 2, kept - kept // 2)
    (note,) = result.provenance["notes"]
    assert f"no data of the split {other!r}: {kept // 2} of {kept} sampled rows of" in note


def test_with_both_splits_there_is_nothing_to_say(feed, splits):
    assert "notes" not in feed(splits[0], **LIGHT).compute().provenance


@pytest.mark.parametrize(
    ("dtype", "positions", "kept"),
    [
        (torch.float32, "each", torch.float32),
        (torch.bfloat16, "each", torch.float32),
        (torch.float64, "each", torch.float64),
        (torch.float32, "mean", torch.float64),
    ],
)
def test_rows_are_kept_at_half_the_size_where_nothing_is_lost(dtype, positions, kept):
    layer = tp.Layer("h", tp.Axes.parse("sample channel time"), (6, 3, 5), dtype=dtype)
    values = torch.randn(6, 3, 5).to(dtype)
    batch = tp.LayerBatch(layer, values, Labels(ids=torch.arange(6)))
    analyzer = Projection()
    analyzer.positions = positions
    fork = analyzer.fork(layer.at(positions))
    view = batch.view(None, positions)
    fork.update(view)
    rows = fork.samples["fit"].rows
    assert rows.dtype == kept
    order = torch.argsort(fork.samples["fit"].ids)
    assert torch.equal(rows[order].double(), view.rows())


# -- labels


def test_one_picture_serves_all_groupings(feed, splits):
    halves, labels = splits
    other = {split: each // 2 for split, each in labels.items()}
    both = feed(halves, {"phone": labels, "half": other}, **LIGHT).compute()
    alone = feed(halves, **LIGHT).compute()
    assert np.array_equal(both.coordinates, alone.coordinates)
    assert both.coords["grouping"] == ("phone", "half")
    assert both.coords["class"] == ("0", "1", "2", "3", "0", "1")
    assert both.class_grouping.tolist() == [0, 0, 0, 0, 1, 1]
    known = labels["score"].numpy()[both.ids // 2**20]
    assert np.array_equal(both.labels, [known, known // 2 + 4])
    assert "labels" not in alone
    assert "hit" not in alone


def test_only_groupings_asked_for_are_kept(splits):
    halves, labels = splits
    loaders = {
        split: [tp.Batch(torch.from_numpy(halves[split]), labels={"a": each, "b": each})]
        for split, each in labels.items()
    }
    analyzer = tp.Probe(
        torch.nn.Identity(), "model", {"p": tp_projection(groupings="b")}, on_error="raise"
    )
    result = analyzer.run(**loaders, progress=False)["p"]["model"]
    assert result.coords["grouping"] == ("b",)


def tp_projection(groupings):
    analyzer = Projection(**LIGHT)
    analyzer.groupings = (groupings,)
    return analyzer


def test_string_labels_are_listed_in_alphabetical_order(feed, splits):
    halves, labels = splits
    said = {split: np.array(["t", "aa", "sh", "d"])[each] for split, each in labels.items()}
    result = feed(halves, {"phone": said}, **LIGHT).compute()
    assert result.coords["class"] == ("aa", "d", "sh", "t")
    found = [result.coords["class"][label] for label in result.labels[0]]
    assert found == said["score"][result.ids // 2**20].tolist()


def test_given_names_of_integer_labels_are_used(feed, splits):
    halves, labels = splits
    names = {"phone": ClassNames(["t", "aa", "sh", "d"])}
    result = feed(halves, {"phone": labels}, names=names, **LIGHT).compute()
    assert result.coords["class"] == ("t", "aa", "sh", "d")


def test_rows_without_label_are_shown_but_not_asked_about(feed, splits):
    halves, labels = splits
    some = {split: torch.where(each == 3, -1, each) for split, each in labels.items()}
    result = feed(halves, {"phone": some}, keep_rows=True, **LIGHT).compute()
    assert result.n_points == 80
    known = result.labels[0] >= 0
    assert known.sum() == 60
    expected = reference.hit(result.coordinates[0][known], result.labels[0][known], 10)
    assert np.isclose(result.hit[0, 0], expected)


def test_too_few_labelled_points_leave_a_measure_undefined(feed, splits):
    halves, labels = splits
    few = {
        split: torch.where(torch.arange(len(each)) < 10, each, -1) for split, each in labels.items()
    }
    result = feed(halves, {"phone": few}, **LIGHT).compute()
    assert np.isnan(result.hit).all()
    assert np.isnan(result.layer_accuracy).all()


def test_labels_that_do_not_fit_a_layer_leave_it_without_colours_and_say_so(feed, splits):
    halves, _ = splits
    frames = {split: torch.zeros(len(each), 7).long() for split, each in halves.items()}
    result = feed(halves, {"phone": frames}, **LIGHT).compute()
    assert (result.labels == -1).all()
    assert "no point has a label in grouping 'phone'" in result.provenance["notes"][0]


# -- the usual methods


def test_by_default_the_methods_are_those_that_can_be_used_and_a_note_tells_of_others(feed, rows):
    halves = {"fit": rows(20)[0], "score": rows(12, seed=1)[0]}
    result = feed(halves, measures="pd", options={"autoencoder": {"epochs": 1}}).compute()
    assert result.coords["method"] == ("pca", "autoencoder", "random")
    t_sne, umap = result.provenance["notes"]
    assert t_sne.startswith("t-SNE is left out: t-SNE with perplexity 30 needs at least 91 rows")
    assert umap.startswith("UMAP is left out: UMAP with 15 neighbours needs at least 17 rows")
    assert result.settings["methods"] == "available"


def test_a_usual_method_whose_package_is_missing_is_left_out_and_named(feed, splits, monkeypatch):
    from importlib import metadata

    monkeypatch.setattr(metadata, "distributions", lambda **_: iter(()))
    options = {"autoencoder": {"epochs": 1}}
    result = feed(splits[0], measures="pd", options=options).compute()
    assert result.coords["method"] == ("pca", "autoencoder", "random")
    assert all("is not installed: pip install" in note for note in result.provenance["notes"])
    assert len(result.provenance["notes"]) == 2


def test_a_method_asked_for_by_name_is_not_left_out(feed, splits):
    few = {split: values[:40] for split, values in splits[0].items()}
    with pytest.raises(InsufficientDataError, match="needs at least 91 rows"):
        feed(few, methods=("pca", "tsne"), measures="pd").compute()


# -- the fields


def test_measures_equal_their_slow_formulas(feed, splits):
    halves, labels = splits
    settings = {"points": 25, "neighbours": 3, "keep_rows": True}
    result = feed(halves, {"phone": labels}, **settings, **LIGHT).compute()
    for place, picture in enumerate(result.coordinates):
        own = result.labels[0]
        assert np.isclose(result.pd[place], reference.procrustes(result.rows, picture))
        assert np.isclose(result.hit[0, place], reference.hit(picture, own, 3))
        assert np.isclose(result.accuracy[0, place], reference.accuracy(picture, own, 3))
    assert np.isclose(result.layer_hit[0], reference.hit(result.rows, result.labels[0], 3))
    assert np.isclose(result.layer_accuracy[0], reference.accuracy(result.rows, own, 3))


def test_random_coordinates_come_last_and_miss_nearly_everything(feed, rows):
    values, _ = rows(900, channels=40)
    values += np.random.default_rng(0).normal(size=values.shape).astype(np.float32)
    result = feed({"fit": values[:100], "score": values[100:]}, **LIGHT).compute()
    assert result.coords["method"] == ("pca", "random")
    assert result.pd[-1] > 0.99
    assert result.pca_bound <= result.pd[0] < result.pd[-1]
    assert abs(result.mi[-1]) < 0.1


def test_every_picture_lies_above_the_pca_bound_and_below_1(feed, splits):
    result = feed(splits[0], options={"autoencoder": {"epochs": 3}}, **NO_EXTRA).compute()
    assert (result.pd > result.pca_bound).all()
    assert (result.pd < 1).all()


def test_settings_sizes_seeds_and_versions_are_recorded(feed, splits):
    options = {"mi": {"form": "ksg2"}}
    result = feed(splits[0], seed=5, options=options, **LIGHT).compute()
    assert result.settings["seed"] == 5
    assert result.settings["options"] == options
    assert {"numpy", "scipy", "scikit-learn"} <= set(result.provenance["versions"])


def test_another_seed_shows_other_points(feed, splits):
    first, other = (feed(splits[0], points=30, seed=seed, **LIGHT).compute() for seed in (0, 1))
    assert not np.array_equal(first.ids, other.ids)


def test_measures_not_asked_for_are_not_there(feed, splits):
    result = feed(splits[0], splits_labels(splits), measures=("dc", "hit"), **LIGHT).compute()
    assert {"dc", "hit", "layer_hit"} <= set(result)
    assert not {"pd", "pca_bound", "mi", "accuracy", "stability"} & set(result)


def splits_labels(splits):
    return {"phone": splits[1]}


def test_nothing_of_a_dead_layer_is_invented(feed, splits):
    dead = {split: np.zeros_like(values) for split, values in splits[0].items()}
    with pytest.raises(InsufficientDataError, match="all rows of x are equal"):
        feed(dead, **LIGHT).compute()


def test_duplicates_and_constant_channels_do_no_harm(feed, splits):
    halves, labels = splits
    for values in halves.values():
        values[: len(values) // 2], values[:, 3] = values[0], 7.0
    options = {"autoencoder": {"epochs": 2}}
    result = feed(halves, {"phone": labels}, options=options, **NO_EXTRA).compute()
    for name in ("pd", "mi", "dc", "trustworthiness", "continuity", "hit", "accuracy"):
        assert np.isfinite(result[name].values).all(), name


def test_a_layer_of_one_channel_lies_on_a_line(feed, splits):
    narrow = {split: values[:, :1] for split, values in splits[0].items()}
    result = feed(narrow, **LIGHT).compute()
    assert (result.coordinates[0][:, 1] == 0).all()
    assert result.pd[0] < 1e-12


# -- in a probe


def test_a_probe_delivers_it_and_a_report_can_be_saved(tmp_path, rows):
    values, labels = rows(160)
    model = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.ReLU())
    probe = tp.Probe(model, ["0", "1"], [Projection(neighbours=5, **LIGHT)], on_error="raise")
    batches = [
        (torch.from_numpy(values[part]), torch.from_numpy(labels[part]))
        for part in (slice(0, 80), slice(80, 160))
    ]
    results = probe.run(fit=batches[:1], score=batches[1:], progress=False)
    assert results["projection"].layers == ("0", "1")
    assert results["projection"]["1"].coords["grouping"] == ("label",)
    results.save(tmp_path / "out")
    assert tp.load(tmp_path / "out") == results


def test_without_labels_it_works_as_well(rows):
    model = torch.nn.Linear(8, 6)
    probe = tp.Probe(model, "*", [Projection(neighbours=5, **LIGHT)], on_error="raise")
    results = probe.run([torch.from_numpy(rows(60)[0])], progress=False)["projection"]
    assert next(iter(results.values())).n_points == 30


# -- what is refused


def test_nothing_seen_is_told(feed):
    with pytest.raises(EmptyStateError):
        Projection(**LIGHT).fork(tp.Layer("h", tp.Axes.parse("sample channel"), (0, 3))).compute()


@pytest.mark.parametrize(
    ("n", "measure", "least"),
    [(1, "pd", 4), (10, "mi", 11), (20, "trustworthiness", 21), (20, "continuity", 21)],
)
def test_fewer_points_than_neighbours_are_refused(feed, splits, n, measure, least):
    few = {**splits[0], "score": splits[0]["score"][:n]}
    with pytest.raises(InsufficientDataError, match=f"needs at least {least} points but there"):
        feed(few, measures=measure, **LIGHT).compute()
    enough = {**few, "score": splits[0]["score"][:least]}
    assert np.isfinite(feed(enough, measures=measure, **LIGHT).compute()[measure].values).all()


def test_one_row_is_refused(feed, rows):
    with pytest.raises(InsufficientDataError, match="are 0 to show"):
        feed({"fit": rows(1)[0]}, **LIGHT).compute()


def test_rows_that_are_not_finite_are_refused(feed, splits):
    halves, _ = splits
    fork = feed(halves, **LIGHT)
    for split, what in (("score", "1 of 80 points"), ("fit", "1 of 120 training rows")):
        state = fork.samples[split].state["rows"]
        kept = state[0].clone()
        state[0, 2] = np.nan
        with pytest.raises(NonFiniteError, match=what):
            fork.compute()
        state[0] = kept


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"methods": "tnse"}, "did you mean 'tsne'"),
        ({"methods": ()}, "name at least one"),
        ({"methods": "random"}, "name at least one"),
        ({"measures": ("pd", "nonsense")}, "measure 'nonsense' not found"),
        ({"points": 1}, "points=1"),
        ({"points": 2.5}, "points=2.5"),
        ({"training": 0}, "training=0"),
        ({"neighbours": 0}, "neighbours=0"),
        ({"options": {"tsne_train": {}}}, "method or measure 'tsne_train' not found"),
        ({"options": {"pca": {"size": 3}}}, "unexpected keyword argument 'size'"),
        ({"options": {"autoencoder": {"epochs": 0}}}, "epochs=0"),
        ({"options": {"mi": {"neighbors": 3}}}, "did you mean 'neighbours'"),
    ],
)
def test_wrong_settings_are_refused_at_the_door(wrong, message):
    with pytest.raises(SettingError, match=message):
        Projection(**wrong)


def test_the_paper_s_methods_have_a_name_of_their_own():
    paper = ("tsne", "umap", "umap_train", "autoencoder")
    assert Projection(methods="paper").methods == paper
    assert Projection(methods=("pca", "paper", "tsne")).methods == ("pca", *paper)


@pytest.mark.parametrize(
    ("method", "package"), [("tsne", "openTSNE"), ("umap_train", "umap-learn")]
)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, method, package):
    from importlib import metadata

    monkeypatch.setattr(metadata, "distributions", lambda **_: iter(()))
    with pytest.raises(MissingExtraError, match=rf"{package}.*torchprobe\[projection\]"):
        Projection(methods=method)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (lambda rows: rows, r"an array of shape \(80, 8\)"),
        (lambda rows: rows[:5, :2], r"an array of shape \(5, 2\)"),
        (
            lambda rows: np.full((len(rows), 2), np.nan),
            r"an array of shape \(80, 2\), not all finite",
        ),
        (lambda rows: None, "nothing"),
    ],
)
def test_a_projector_that_gives_no_two_coordinates_is_named(feed, splits, own, found, said):
    class Odd(Projector):
        name = "odd"

        def fit(self, rows, seed):
            return Fitted(found(rows))

    own(Odd)
    with pytest.raises(PluginError, match=f"'odd' gave {said}"):
        feed(splits[0], methods="odd").compute()
