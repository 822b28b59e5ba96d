"""Projection beside what a user would otherwise run: UMAP, scikit-learn's t-SNE, dcor."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
from scipy.special import digamma
from torchprobe_projection import Autoencoder, Tsne, UmapTrain

from benchmarks.measure import Comparison, peak_bytes, seconds
from torchprobe.numerics import distance_correlation, mutual_information, procrustes_distance

WIDTH, ENCODED, PART, TAUGHT = 1000, 100_000, 5_000, 50_000
EPOCHS = 24  # of so many rows; the default's 30 are for samples of a few thousand


def activations(n: int, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Rows of forty classes through three random rectified layers."""
    fixed, drawn = torch.Generator().manual_seed(0), torch.Generator().manual_seed(seed + 1)
    centres = 2 * torch.randn(40, 20, generator=fixed)
    rows = centres[torch.randint(0, 40, (n,), generator=drawn)]
    rows = rows + torch.randn(n, 20, generator=drawn)
    for inputs in (20, width, width):
        weight = torch.randn(inputs, width, generator=fixed) * (2 / inputs) ** 0.5
        rows = torch.relu(rows @ weight)
    return rows.numpy()


def run() -> Iterator[Comparison]:
    warnings.filterwarnings("ignore", "Graph is not fully connected")
    yield from encoding()
    yield dependence()
    yield dependence_memory()
    yield information()
    yield t_sne()
    yield from teaching()


def encoding() -> Iterator[Comparison]:
    """A trained encoder, in both precisions, beside UMAP.transform of a part."""
    rows, many = activations(PART), activations(ENCODED, seed=1)
    taught = Autoencoder(epochs=2).fit(rows, 0)
    network, fitted = taught.network, UmapTrain().fit(rows, 0)
    assert network is not None
    assert fitted.transform is not None
    transform, part, scale = fitted.transform, many[:PART], ENCODED / PART
    setup = (
        f"{ENCODED:,} x {WIDTH}; UMAP of {PART:,} of them, times {scale:g} (of more than 10,000 at "
        "once it makes 30 rounds instead of 100)"
    )
    for name, encoder in (("float64", network), ("float32", copy.deepcopy(network).float())):
        ours, rival = seconds(
            lambda encoder=encoder: encoder.transform(many),
            lambda: transform(part),
            repeats=3,
            warm=1,
        )
        yield Comparison(f"encoding, {name}", ours, rival * scale, "UMAP.transform", "s", setup)


def dependence() -> Comparison:
    import dcor

    # beside recent versions of array-api-compat dcor no longer sees that these are numpy's arrays,
    # and works through an array of rows × rows × channels; here it takes its quick path, as meant
    dcor.distances._can_be_numpy_double = lambda _: True  # noqa: SLF001
    n = 10_000  # twice as many would be as easy for us; dcor then holds some 13 GB
    x = activations(n, 256).astype(np.float64)
    y = x[:, :2].copy()
    taken = seconds(
        lambda: distance_correlation(x, y),
        lambda: dcor.distance_correlation(x, y),
        repeats=3,
        warm=0,
    )
    return Comparison("distance correlation", *taken, "dcor", "s", f"{n:,} x 256 with 2")


def dependence_memory() -> Comparison:
    ours = peak_bytes(correlate, 20_000) / 2**20
    matrix = 20_000**2 * 8 / 2**20
    return Comparison(
        "peak of distance correlation", ours, matrix, "one matrix", "MiB", "20,000 x 256 with 2"
    )


def correlate(n: int) -> None:
    x = np.random.default_rng(0).normal(size=(n, 256)).astype(np.float32)
    distance_correlation(x, x[:, :2])


def information(n: int = 10_000, asked: int = 1000) -> Comparison:
    x = activations(n).astype(np.float64)
    y = x[:, :2].copy()
    ours, rival = seconds(
        lambda: mutual_information(x, y), lambda: by_neighbours(x, y, asked), repeats=1, warm=0
    )
    setup = f"{n:,} x {WIDTH} with 2; scikit-learn asked for {asked:,} of them, times {n / asked:g}"
    return Comparison("mutual information", ours, rival * n / asked, "its neighbours", "s", setup)


def by_neighbours(x: np.ndarray, y: np.ndarray, asked: int, k: int = 10) -> float:
    """Kraskov's first estimator as scikit-learn writes it, for clouds instead of columns.

    The mean is over the first points only, whose neighbours are sought among all.
    """
    from sklearn.neighbors import KDTree, NearestNeighbors

    x, y = (points / np.sqrt(points.var(axis=0).mean()) for points in (x, y))
    joint = np.hstack([x, y])  # its Chebyshev distance is the larger of the two
    index = NearestNeighbors(metric="chebyshev", n_neighbors=k + 1, n_jobs=-1).fit(joint)
    radius = np.nextafter(index.kneighbors(joint[:asked])[0][:, -1], 0)
    near = [
        KDTree(points, metric="chebyshev").query_radius(points[:asked], radius, count_only=True)
        for points in (x, y)
    ]  # itself is among them
    means = np.mean(digamma(near[0])) + np.mean(digamma(near[1]))
    return float(digamma(k) + digamma(len(x)) - means)


def t_sne(n: int = 10_000) -> Comparison:
    from sklearn.manifold import TSNE

    rows = activations(n)[:, :50].copy()
    taken = seconds(
        lambda: Tsne().fit(rows, 0),
        lambda: TSNE(random_state=0, n_jobs=1).fit_transform(rows),
        repeats=1,
        warm=0,
    )
    return Comparison("t-SNE by openTSNE", *taken, "sklearn.manifold.TSNE", "s", f"{n:,} x 50")


def teaching() -> Iterator[Comparison]:
    """An autoencoder and UMAP that learn from the same rows, and what others look like then."""
    rows, others = activations(TAUGHT), activations(2000, seed=2)
    UmapTrain().fit(rows[:5000], 0)  # its compilation is not counted
    found: dict[str, Callable[[np.ndarray], np.ndarray]] = {}

    def taught(name: str, make: Callable[[], object]) -> None:
        found[name] = make().fit(rows, 0).transform  # type: ignore[attr-defined]

    taken = seconds(
        lambda: taught("ours", lambda: Autoencoder(epochs=EPOCHS)),
        lambda: taught("umap", UmapTrain),
        repeats=1,
        warm=0,
    )
    setup = f"{TAUGHT:,} x {WIDTH}, {EPOCHS} epochs"
    yield Comparison("learning", *taken, "UMAP", "s", setup)
    ours, umap = (found[name](others) for name in ("ours", "umap"))
    pd = procrustes_distance(others, ours), procrustes_distance(others, umap)
    yield Comparison("Procrustes distance (lower is better)", *pd, "UMAP", "of 1", setup)
    dc = 1 - distance_correlation(others, ours), 1 - distance_correlation(others, umap)
    yield Comparison("1 - distance correlation (lower is better)", *dc, "UMAP", "of 1", setup)
