import warnings

import numpy as np
import pytest
from torchprobe_projection import Projection, Tsne, TsneTrain, Umap, UmapTrain

from torchprobe.errors import InsufficientDataError


@pytest.mark.parametrize(
    ("projector", "n", "said"),
    [
        (Tsne(), 90, r"t-SNE with perplexity 30 needs at least 91 rows but has 90"),
        (TsneTrain(perplexity=5), 15, r"at least 16 rows.*'tsne_train': {'perplexity'"),
        (Umap(), 16, r"UMAP with 15 neighbours needs at least 17 rows but has 16"),
        (UmapTrain(n_neighbors=5), 1, r"at least 7 rows but has 1 row;.*'umap_train': {'n_neigh"),
    ],
)
def test_fewer_rows_than_neighbours_are_refused(projector, n, said):
    with pytest.raises(InsufficientDataError, match=said):
        projector.fit(np.random.default_rng(0).normal(size=(n, 3)), 0)


def nearest_share(places, labels):
    """How many points have a nearest neighbour of their own class."""
    distances = np.linalg.norm(places[:, None] - places, axis=2)
    np.fill_diagonal(distances, np.inf)
    return (labels[distances.argmin(axis=1)] == labels).mean()


def test_t_sne_and_its_placing_of_others_keep_classes_together(rows):
    values, labels = rows(72)
    options = {"perplexity": 6, "n_iter": 60, "early_exaggeration_iter": 40}
    first = Tsne(**options).fit(values, 3).coordinates
    assert np.array_equal(first, Tsne(**options).fit(values, 3).coordinates)
    assert nearest_share(first, labels) > 0.9
    placed = TsneTrain(**options).fit(values[:48], 3).transform(values[48:])
    assert placed.shape == (24, 2)
    assert nearest_share(placed, labels[48:]) > 0.9


def test_settings_reach_opentsne(rows):
    values, _ = rows(40)
    with pytest.raises(TypeError, match="nonsense"):
        Tsne(perplexity=5, nonsense=3).fit(values, 0)


def test_umap_and_umap_train_in_a_probe_s_result(feed, rows):
    """All that needs UMAP, which takes some twenty seconds to be compiled, in one test."""
    values, labels = rows(100)
    options = {name: {"n_neighbors": 6, "n_epochs": 30} for name in ("umap", "umap_train")}
    settings = {"methods": ("umap", "umap_train"), "neighbours": 5, "options": options, "seed": 1}
    splits = {"fit": values[:60], "score": values[60:]}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = feed(splits, **settings).compute()
    assert not [each for each in said if "n_jobs" in str(each.message)]
    again = feed(splits, **settings).compute()
    assert np.array_equal(result.coordinates, again.coordinates)
    own = labels[60:][result.ids // 2**20]
    for places in result.coordinates[:2]:
        assert nearest_share(places, own) > 0.8
    assert {"umap-learn"} <= set(result.provenance["versions"])
    _assert_given_distances_lead_to_the_same_graph(values[60:])
    moved = UmapTrain(**options["umap_train"]).fit(values[:60], 1)
    alone, together = moved.transform(values[60:61]), moved.transform(values[60:])
    assert not np.allclose(alone, together[:1], atol=1e-6)  # GK20: what autoencoders do not do


def _assert_given_distances_lead_to_the_same_graph(values):
    """Umap gives few rows' distances to the package, which would compute the same."""
    from sklearn.metrics import euclidean_distances
    from umap import UMAP

    settings = {"n_neighbors": 6, "n_epochs": 2, "random_state": 1, "n_jobs": 1}
    plain = UMAP(**settings).fit(values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = UMAP(metric="precomputed", **settings).fit(euclidean_distances(values))
    assert abs(plain.graph_ - given.graph_).max() < 1e-5


def test_versions_of_the_packages_are_recorded():
    assert Tsne.packages == ("openTSNE",)
    assert UmapTrain.packages == ("umap-learn",)
    assert Projection(methods="tsne").settings()["methods"] == ("tsne",)
