import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import selectivity as reference
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
from torchprobe_selectivity import ClassSelectivity

from torchprobe import Axes, Layer
from torchprobe.errors import EmptyStateError, SettingError
from torchprobe.testing import check_analyzer

WORKED = [[1.0, 0, 0, 2], [3, 0, 0, 4], [0, 2, 1, 0], [0, 4, 1, 0], [0, 0, 5, 1], [0, 2, 7, 1]]
CLASSES = torch.tensor([0, 0, 1, 1, 2, 2])


def random_rows(n=120, channels=12, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, classes, n)
    centres = rng.gamma(1.0, size=(classes, channels))
    rows = np.maximum(centres[labels] + rng.normal(size=(n, channels)), 0)
    return torch.from_numpy(rows), torch.from_numpy(labels)


def same(one, two):
    assert one.fields.keys() == two.fields.keys()
    for name, field in one.fields.items():
        values, others = field.values, two[name].values
        assert np.allclose(values, others, rtol=1e-10, atol=1e-12, equal_nan=True), name


# -- right to the digit


def test_worked_numbers_of_the_method_specification(feed):
    result = feed(WORKED, CLASSES).compute()
    assert result.csv.tolist() == [[2, 0, 0, 3], [0, 3, 1, 0], [0, 1, 6, 1]]
    assert np.allclose(result.node_linkage[:, 2], [0.055089, 1.033942, 1.663135], atol=5e-7)
    assert result.n_clusters == 3
    assert feed(WORKED, CLASSES, cutoff=1.3).compute().n_clusters == 2
    assert result.counts.tolist() == [2, 2, 2]
    assert result.n_dead == 0


def test_class_means_equal_the_formula_and_one_hot_products():
    rows, labels = random_rows()
    layer = Layer("h", Axes.parse("sample channel"), tuple(rows.shape))
    fork = ClassSelectivity().fork(layer, "label")
    fork.means.update(rows, labels)
    csv = fork.compute().csv
    one_hot = np.eye(5)[labels[labels >= 0]]
    by_product = one_hot.T @ rows[labels >= 0].numpy() / one_hot.sum(0)[:, None]
    assert np.allclose(csv, by_product, rtol=1e-13)
    assert np.allclose(csv, reference.class_means(rows.numpy(), labels.numpy())[1], rtol=1e-13)


@pytest.mark.parametrize("method", ["average", "complete"])
@pytest.mark.parametrize("seed", range(3))
def test_both_clusterings_equal_scipy_s(feed, method, seed):
    result = feed(*random_rows(seed=seed), method=method).compute()
    for name, items in (("node", result.csv.T), ("class", result.csv)):
        expected = linkage(items, method, "correlation")
        assert np.allclose(result[f"{name}_linkage"].values, expected, atol=1e-10)
        assert result[f"{name}_order"].values.tolist() == leaves_list(expected).tolist()
    flat = fcluster(linkage(result.csv.T, method, "correlation"), 0.5, "distance")
    assert result.n_clusters == flat.max()
    together = result.node_cluster[:, None] == result.node_cluster
    assert np.array_equal(together, flat[:, None] == flat)


def test_clusters_are_numbered_from_left_to_right(feed):
    result = feed(*random_rows()).compute()
    along = result.node_cluster[result.node_order]
    assert along[0] == 0
    assert set(np.diff(along)) <= {0, 1}
    assert along[-1] == result.n_clusters - 1


def test_2048_units_are_clustered_like_scipy_does(feed):
    rows, labels = random_rows(80, 2048, 10)
    result = feed(rows, labels).compute()
    flat = fcluster(linkage(result.csv.T, "average", "correlation"), 0.5, "distance")
    assert result.n_clusters == flat.max()


# -- invariance


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    cuts=st.lists(st.integers(1, 119), unique=True, max_size=6),
    seed=st.integers(0, 9),
    shuffle=st.booleans(),
)
def test_results_do_not_depend_on_batches_or_order(cuts, seed, shuffle):
    rows, labels = random_rows(seed=seed)
    layer = Layer("h", Axes.parse("sample channel"), tuple(rows.shape))
    analyzer = ClassSelectivity(indices=("morcos", "dprime"))
    whole, parts = analyzer.fork(layer, "label"), analyzer.fork(layer, "label")
    whole.means.update(rows, labels)
    order = torch.randperm(len(rows)) if shuffle else torch.arange(len(rows))
    for part in order.tensor_split(sorted(cuts)):
        parts.means.update(rows[part], labels[part])
    same(whole.compute(), parts.compute())


def test_merging_two_halves_equals_one_pass(feed):
    rows, labels = random_rows()
    indices = ("morcos", "dprime")
    halves = [feed(rows[half::2], labels[half::2], indices=indices) for half in (0, 1)]
    same(halves[0].merge(halves[1]).compute(), feed(rows, labels, indices=indices).compute())


def test_permuting_units_permutes_the_result(feed):
    rows, labels = random_rows()
    order = torch.randperm(rows.shape[1])
    one, two = feed(rows, labels).compute(), feed(rows[:, order], labels).compute()
    assert np.array_equal(one.csv[:, order], two.csv)
    assert np.allclose(one.node_linkage[:, 2], two.node_linkage[:, 2], atol=1e-12)
    assert one.n_clusters == two.n_clusters


def test_indices_leave_all_other_fields_as_they_are_to_the_bit(feed):
    rows, labels = random_rows()
    plain = feed(rows, labels, [60, 60]).compute()
    indexed = feed(rows, labels, [60, 60], indices=("dprime", "morcos")).compute()
    for name, field in plain.fields.items():
        assert np.array_equal(field.values, indexed[name].values, equal_nan=True), name


@pytest.mark.parametrize("settings", [{}, {"indices": ("morcos", "dprime"), "method": "complete"}])
def test_the_contract_of_analyzers_holds(settings):
    check_analyzer(ClassSelectivity(**settings))


def test_two_classes_give_the_same_tree_however_they_are_batched(feed):
    rows, labels = random_rows(classes=2)  # all distances are 0 or 2: nothing but ties
    same(feed(rows, labels).compute(), feed(rows, labels, [1] * 120).compute())


def test_the_default_path_is_one_update_of_group_means(feed, monkeypatch):
    calls = []
    fork = feed(WORKED, CLASSES)
    monkeypatch.setattr(type(fork.means), "update", lambda self, *args: calls.append(args))
    feed(WORKED, CLASSES, fork=fork)
    assert len(calls) == 1


# -- labels and positions


def test_labels_by_position_are_rows_of_their_own(feed):
    maps = torch.arange(24.0).view(2, 3, 4)
    labels = torch.tensor([[0, 0, 1, -1], [1, 1, 0, 0]])
    result = feed(maps, labels).compute()
    rows = maps.movedim(1, -1).reshape(-1, 3).numpy()
    assert np.array_equal(result.csv, reference.class_means(rows, labels.flatten().numpy())[1])
    assert result.counts.tolist() == [4, 3]


def test_string_labels_name_the_classes(feed):
    fork = feed(WORKED, ["sil", "sil", "aa", None, "aa", "sil"])
    result = fork.compute()
    named = dict(zip(result.coords["class"], result.counts.tolist(), strict=True))
    assert named == {"aa": 2, "sil": 3}


def test_a_class_without_rows_does_not_appear(feed):
    result = feed(WORKED, torch.tensor([0, 0, 9, 9, -1, -1])).compute()
    assert result.coords["class"] == ("0", "9")
    assert result.csv.shape == (2, 4)


def test_300_classes(feed):
    rows, labels = torch.rand(900, 6), torch.arange(900) % 300
    result = feed(rows, labels).compute()
    assert result.csv.shape == (300, 6)
    assert len(result.class_order) == 300


# -- what cannot be clustered


def test_constant_units_are_left_out_and_counted(feed):
    rows, labels = random_rows()
    rows[:, [2, 5]] = torch.tensor([0.0, 0.1], dtype=torch.float64)
    result = feed(rows, labels, [40, 80]).compute()
    assert np.flatnonzero(result.dead).tolist() == [2, 5]
    assert result.n_dead == 2
    assert (result.node_cluster[[2, 5]] == -1).all()
    live = [0, 1, 3, 4, 6, 7, 8, 9, 10, 11]
    alone = feed(rows[:, live], labels).compute()
    assert np.allclose(result.node_linkage, alone.node_linkage, atol=1e-12)
    assert sorted(result.node_order) == live


def test_a_single_class_has_no_clusters_and_says_why(feed):
    result = feed(WORKED, torch.zeros(6, dtype=torch.long), indices=("morcos", "dprime")).compute()
    assert result.csv.shape == (1, 4)
    assert math.isnan(result.n_clusters)
    assert math.isnan(result.n_dead)
    assert not result.dead.any()
    assert (result.node_cluster == -1).all()
    assert np.isnan(result.morcos).all()
    assert np.isnan(result.dprime).all()
    assert "no two classes" in " ".join(result.provenance["notes"])


@pytest.mark.parametrize("live", [0, 1])
def test_fewer_than_two_live_units_are_as_many_clusters(feed, live):
    rows = torch.zeros(6, 3)
    rows[:3, :live] = 1
    result = feed(rows, CLASSES).compute()
    assert result.n_clusters == live
    assert result.n_dead == 3 - live
    assert result.node_linkage.shape == (0, 4)


def test_a_single_unit_leaves_classes_unclustered(feed):
    result = feed(torch.rand(6, 1), CLASSES).compute()
    assert result.n_clusters == 1
    assert len(result.class_order) == 0
    assert "classes are not clustered" in result.provenance["notes"][0]


def test_more_units_than_allowed_are_not_clustered_and_it_says_so(feed):
    rows, labels = random_rows()
    result = feed(rows, labels, max_nodes=11).compute()
    assert math.isnan(result.n_clusters)
    assert result.n_dead == 0
    assert "12 units are not clustered: more than max_nodes=11" in result.provenance["notes"]
    assert len(result.class_order) == 5


def test_means_that_are_not_finite_are_kept_and_left_out_of_the_clustering():
    rows, labels = random_rows()
    rows[labels == 3, 4] = math.nan
    layer = Layer("h", Axes.parse("sample channel"), tuple(rows.shape))
    fork = ClassSelectivity(indices=("morcos", "dprime")).fork(layer, "label")
    fork.means.update(rows, labels)
    result = fork.compute()
    assert np.isnan(result.csv[3, 4])
    assert result.node_cluster[4] == -1
    assert not result.dead[4]
    assert "1 units not clustered because they hold NaN" in " ".join(result.provenance["notes"])


# -- indices and settings


def test_indices_equal_their_formulas(feed):
    rows, labels = random_rows()
    result = feed(rows, labels, [50, 50, 20], indices=["dprime", "morcos"]).compute()
    expected = reference.morcos(result.csv)
    assert np.allclose(result.morcos, expected, rtol=1e-12)
    assert math.isclose(result.mean_morcos, np.nanmean(expected), rel_tol=1e-12)
    expected = reference.dprime(rows.numpy(), labels.numpy())
    assert np.allclose(result.dprime, expected, rtol=1e-9)


def test_trainers_get_counts_and_the_mean_index(feed):
    plain = feed(WORKED, CLASSES).compute().scalars()
    assert plain == {"n_dead": 0.0, "n_clusters": 3.0}
    indexed = feed(WORKED, CLASSES, indices="morcos").compute().scalars()
    assert set(indexed) == {"n_dead", "n_clusters", "mean_morcos"}


def test_signed_units_have_no_morcos_index_and_the_mean_says_nothing_of_them(feed):
    rows = torch.tensor([[-1.0, 2], [-3, 4], [-2, 1]])
    result = feed(rows, torch.tensor([0, 1, 2]), indices="morcos").compute()
    assert math.isnan(result.morcos[0])
    assert result.mean_morcos == result.morcos[1]


def test_nothing_seen_is_an_error():
    layer = Layer("h", Axes.parse("sample channel"), (4, 3))
    with pytest.raises(EmptyStateError):
        ClassSelectivity().fork(layer, "label").compute()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cutoff": -0.1}, r"cutoff=-0.1; 1 - Pearson r lies within 0..2"),
        ({"cutoff": math.nan}, "cutoff=nan"),
        ({"method": "ward"}, "method='ward'; choose from 'average', 'complete'"),
        ({"indices": "morkos"}, "indices='morkos'; choose from 'morcos', 'dprime'"),
    ],
)
def test_wrong_settings_are_told_at_once(settings, message):
    with pytest.raises(SettingError, match=message):
        ClassSelectivity(**settings)
