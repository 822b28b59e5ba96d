"""The streamed LDA solve equals scikit-learn's on rows, and says what it left out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references import discriminant as reference
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from torchprobe.errors import InsufficientDataError, NonFiniteError, SettingError, ShapeError
from torchprobe.numerics import (
    auc,
    class_scatter,
    mean_spectrum,
    norm_moments,
    singular_values,
    singular_values_from_gram,
    solve_lda,
)

relaxed = settings(deadline=None, derandomize=True, max_examples=40, database=None)

MEANS = np.array([[-3.0, 0], [3, 0], [0, 4]])
OFFSETS = np.array([[1.0, 0], [-1, 0], [0, 2], [0, -2]])
ROWS = (MEANS[:, None] + OFFSETS).reshape(12, 2)
LABELS = np.repeat([0, 1, 2], 4)


def make(seed, classes, channels, per_class=12, offset=0.0, noise=1.0):
    """Rows of every class, labels in random order, and their statistics."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(classes), per_class + rng.integers(0, 9, classes)))
    mixing = rng.normal(size=(channels, channels)) + 2 * np.eye(channels)
    rows = rng.normal(size=(len(labels), channels)) @ mixing
    rows = offset + noise * (rows + 3 * rng.normal(size=(classes, channels))[labels])
    return rows, labels, reference.statistics(rows, labels, classes)


def up_to_sign(found, expected):
    return found * np.sign(np.sum(found * expected, axis=0))


def test_the_worked_example():
    counts, means, within = reference.statistics(ROWS, LABELS, 3)
    lda = solve_lda(counts, means, within)
    assert lda.origin == pytest.approx([0, 4 / 3])
    assert within.tolist() == [[6, 0], [0, 24]]
    assert lda.evr == pytest.approx([27 / 31, 4 / 31])
    assert np.abs(lda.scalings) == pytest.approx(np.diag([1.224745, 0.612372]), abs=1e-6)
    assert np.all(lda.predict(ROWS) == LABELS)
    by_n = solve_lda(counts, means, within, dof="n")
    assert np.abs(by_n.scalings) == pytest.approx(np.diag([1.414214, 0.707107]), abs=1e-6)
    assert by_n.evr == pytest.approx(lda.evr)


def test_class_spectra_of_the_worked_example():
    statistics = reference.statistics(ROWS, LABELS, 3)
    lda = solve_lda(*statistics)
    scatters = reference.class_scatters(ROWS, LABELS, 3)
    counts, means, _ = statistics
    sigma = singular_values_from_gram(class_scatter(lda, counts, means, scatters))
    expected = [[7.724420, 1.732051], [7.724420, 1.732051], [3.696846, 1.732051]]
    assert sigma == pytest.approx(np.array(expected), abs=1e-6)
    areas = [auc(s, d=2) for s in sigma]
    assert areas == pytest.approx([0.612115, 0.612115, 0.734261], abs=1e-6)
    centred = class_scatter(lda, counts, means, scatters, center=True)
    sigma = singular_values_from_gram(centred)
    assert sigma == pytest.approx(np.full((3, 2), 1.732051), abs=1e-6)
    assert [auc(s, d=2) for s in sigma] == pytest.approx([1, 1, 1])


@relaxed
@given(st.integers(0, 10**6), st.integers(2, 7), st.integers(1, 9))
def test_the_solve_equals_scikit_learn(seed, classes, channels):
    rows, labels, statistics = make(seed, classes, channels)
    lda = solve_lda(*statistics, dof="n")
    model = LinearDiscriminantAnalysis(solver="svd").fit(rows, labels)
    assert lda.evr == pytest.approx(model.explained_variance_ratio_, abs=1e-11)
    theirs = model.scalings_[:, : lda.scalings.shape[1]]
    scale = np.abs(theirs).max()
    assert up_to_sign(lda.scalings, theirs) == pytest.approx(theirs, abs=1e-9 * scale)
    ours = lda.scores(rows)
    chances = np.exp(ours - np.logaddexp.reduce(ours, axis=1, keepdims=True))
    assert chances == pytest.approx(model.predict_proba(rows), abs=1e-9)
    assert np.array_equal(lda.predict(rows), model.predict(rows))


@relaxed
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(1, 6))
def test_the_solve_follows_the_definition(seed, classes, channels):
    rows, _, statistics = make(seed, classes, channels)
    lda = solve_lda(*statistics)
    expected = reference.explained_variance_ratios(*statistics)
    assert lda.evr == pytest.approx(expected[: len(lda.evr)], abs=1e-10)
    expected = reference.scores(rows, *statistics, lda.divisor)
    found = lda.scores(rows)
    expected = expected - expected[:, :1]
    assert found - found[:, :1] == pytest.approx(expected, abs=1e-9 * np.abs(expected).max())


def test_well_conditioned_data_match_scikit_learn_to_twelve_digits():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 40)
    rows = rng.normal(size=(200, 8)) + rng.normal(size=(5, 8))[labels]
    lda = solve_lda(*reference.statistics(rows, labels, 5), dof="n")
    model = LinearDiscriminantAnalysis().fit(rows, labels)
    assert lda.evr == pytest.approx(model.explained_variance_ratio_, abs=1e-13)
    theirs = model.scalings_
    assert up_to_sign(lda.scalings, theirs) == pytest.approx(theirs, abs=1e-12)


@relaxed
@given(st.integers(0, 10**6), st.sampled_from(["n", "n-k"]))
def test_scalings_are_orthonormal_within_classes(seed, dof):
    _, _, (counts, means, within) = make(seed, 4, 6)
    lda = solve_lda(counts, means, within, dof=dof)
    metric = lda.scalings.T @ (within / lda.divisor) @ lda.scalings
    assert metric == pytest.approx(np.eye(3), abs=1e-10)


def test_the_orthonormal_basis_spans_the_same_space():
    rows, _, statistics = make(0, 4, 6)
    lda = solve_lda(*statistics)
    basis = lda.orthonormal_basis()
    assert basis.T @ basis == pytest.approx(np.eye(3), abs=1e-12)
    assert basis @ (basis.T @ lda.scalings) == pytest.approx(lda.scalings, abs=1e-10)
    assert lda.project(rows, orthonormal=True) == pytest.approx((rows - lda.origin) @ basis)


def test_the_largest_entry_of_each_column_is_positive():
    lda = solve_lda(*make(5, 5, 7)[2])
    largest = np.abs(lda.scalings).argmax(axis=0)
    assert np.all(lda.scalings[largest, np.arange(4)] > 0)


@relaxed
@given(st.integers(0, 10**6), st.integers(-9, 0), st.integers(0, 3))
def test_nearly_dependent_channels_are_resolved_by_eigenvectors(seed, power, copies):
    """On either side of the tolerance the space is the same, however it was whitened."""
    rows, labels, _ = make(seed, 4, 6)
    noise = 10.0**power * np.random.default_rng(seed).normal(size=(len(rows), copies))
    wide = np.hstack([rows, rows[:, :copies] + noise])
    lda = solve_lda(*reference.statistics(wide, labels, 4))
    metric = lda.scalings.T @ (reference.statistics(wide, labels, 4)[2] / lda.divisor)
    assert metric @ lda.scalings == pytest.approx(np.eye(3), abs=1e-5)
    correlation = np.corrcoef(wide - reference.statistics(wide, labels, 4)[1][labels], rowvar=False)
    eigenvalues = np.linalg.eigvalsh(correlation) * len(rows) / lda.divisor
    clear = np.abs(np.log10(np.maximum(eigenvalues, 1e-300)) + 8) > 0.1  # not at the tolerance
    if clear.all():
        assert lda.rank == np.count_nonzero(eigenvalues > 1e-8)


def test_a_large_common_offset_costs_nothing():
    rows, labels, _ = make(1, 4, 5)
    near = solve_lda(*reference.statistics(rows, labels, 4))
    noise = 1e-2
    far = 1e6 + noise * rows
    delivered = (far - 1e6) / noise  # what is left of the rows in float64
    exact = solve_lda(*reference.statistics(delivered, labels, 4))
    moved = solve_lda(*reference.statistics(far, labels, 4))
    assert moved.evr == pytest.approx(exact.evr, rel=1e-7)
    assert moved.evr == pytest.approx(near.evr, rel=1e-6)
    assert np.array_equal(moved.predict(far), near.predict(rows))


@relaxed
@given(st.integers(0, 10**6))
def test_scaling_channels_changes_only_the_scalings(seed):
    rows, labels, statistics = make(seed, 3, 4)
    units = 10.0 ** np.arange(-3, 5, 2)
    lda, scaled = (
        solve_lda(*s) for s in (statistics, reference.statistics(rows * units, labels, 3))
    )
    assert scaled.evr == pytest.approx(lda.evr, abs=1e-10)
    found = up_to_sign(scaled.scalings * units[:, None], lda.scalings)
    assert found == pytest.approx(lda.scalings, rel=1e-6, abs=1e-9)


def test_constant_channels_are_excluded_and_reported():
    rows, labels, statistics = make(2, 3, 4)
    dead = np.insert(rows, 2, 0.1, axis=1)
    lda = solve_lda(*reference.statistics(dead, labels, 3))
    assert lda.excluded.tolist() == [2]
    assert np.all(lda.scalings[2] == 0)
    assert lda.evr == pytest.approx(solve_lda(*statistics).evr)


def test_rank_deficiency_is_resolved_as_scikit_learn_does():
    rows, labels, _ = make(3, 4, 6, per_class=5)
    doubled = np.hstack([rows, rows[:, :3] + rows[:, 3:]])
    lda = solve_lda(*reference.statistics(doubled, labels, 4), dof="n")
    model = LinearDiscriminantAnalysis().fit(doubled, labels)
    assert lda.rank == 6
    assert lda.evr == pytest.approx(model.explained_variance_ratio_, abs=1e-10)
    assert np.array_equal(lda.predict(doubled), model.predict(doubled))


def test_more_channels_than_rows_is_resolved_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 4)
    rows = rng.normal(size=(12, 30)) + 2 * rng.normal(size=(3, 30))[labels]
    lda = solve_lda(*reference.statistics(rows, labels, 3), dof="n")
    model = LinearDiscriminantAnalysis().fit(rows, labels)
    assert lda.rank == 9
    assert lda.evr == pytest.approx(model.explained_variance_ratio_, abs=1e-10)
    assert up_to_sign(lda.scalings, model.scalings_) == pytest.approx(model.scalings_, abs=1e-9)


def test_classes_without_rows_are_absent_and_never_predicted():
    rows, labels, (counts, means, within) = make(4, 3, 4)
    counts = np.insert(counts, 1, 0)
    means = np.insert(means, 1, np.nan, axis=0)  # an unseen class has no mean
    lda = solve_lda(counts, means, within)
    assert lda.absent.tolist() == [1]
    assert lda.classes.tolist() == [0, 2, 3]
    plain = solve_lda(*reference.statistics(rows, labels, 3))
    assert lda.evr == pytest.approx(plain.evr)
    assert np.array_equal(lda.predict(rows), np.array([0, 2, 3])[plain.predict(rows)])


def test_a_class_of_one_row_takes_part():
    rows, labels, _ = make(5, 3, 4)
    rows, labels = np.vstack([rows, rows[:1] + 9]), np.append(labels, 3)
    lda = solve_lda(*reference.statistics(rows, labels, 4), dof="n")
    model = LinearDiscriminantAnalysis().fit(rows, labels)
    assert lda.evr == pytest.approx(model.explained_variance_ratio_, abs=1e-10)


def test_given_priors_equal_scikit_learn():
    rows, labels, statistics = make(6, 3, 4)
    priors = [0.2, 0.5, 0.3]
    lda = solve_lda(*statistics, priors=priors, dof="n")
    model = LinearDiscriminantAnalysis(priors=priors).fit(rows, labels)
    assert lda.evr == pytest.approx(model.explained_variance_ratio_, abs=1e-10)
    assert np.array_equal(lda.predict(rows), model.predict(rows))


@pytest.mark.parametrize("amount", [0.0, 0.3, 1.0])
def test_a_given_shrinkage_equals_scikit_learn(amount):
    rows, labels, statistics = make(7, 3, 4)
    lda = solve_lda(*statistics, shrinkage=amount, dof="n")
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=amount).fit(rows, labels)
    ours = lda.scores(rows)
    chances = np.exp(ours - np.logaddexp.reduce(ours, axis=1, keepdims=True))
    assert chances == pytest.approx(model.predict_proba(rows), abs=1e-9)


def test_ledoit_wolf_shrinks_by_the_intensity_of_the_pooled_residuals():
    rows, labels, statistics = make(8, 3, 10, per_class=4)
    residuals = rows - statistics[1][labels]
    fourth = norm_moments(residuals, np.zeros(10)).fourth
    lda = solve_lda(*statistics, shrinkage="ledoit_wolf", fourth=fourth)
    expected = ledoit_wolf_shrinkage(residuals, assume_centered=True)
    assert lda.shrinkage == pytest.approx(expected, rel=1e-10)
    assert 0 < lda.shrinkage < 1
    fixed = solve_lda(*statistics, shrinkage=expected)
    assert lda.evr == pytest.approx(fixed.evr, rel=1e-9)


def test_shrinkage_gives_constant_channels_a_weight():
    rows, labels, _ = make(2, 3, 4)
    dead = np.insert(rows, 2, 0.0, axis=1)
    lda = solve_lda(*reference.statistics(dead, labels, 3), shrinkage=0.1)
    assert lda.excluded.tolist() == []
    assert lda.rank == 5


@relaxed
@given(st.integers(0, 10**6), st.booleans())
def test_class_spectra_are_those_of_the_projected_rows(seed, center):
    rows, labels, (counts, means, within) = make(seed, 3, 5)
    lda = solve_lda(counts, means, within)
    scatters = reference.class_scatters(rows, labels, 3)
    gram = class_scatter(lda, counts, means, scatters, center=center)
    for k in range(3):
        z = lda.project(rows[labels == k])
        expected = singular_values(z - z.mean(axis=0) if center else z)
        assert singular_values_from_gram(gram[k]) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_class_spectra_average_over_classes():
    rows, labels, (counts, means, within) = make(9, 4, 5)
    lda = solve_lda(counts, means, within)
    scatters = reference.class_scatters(rows, labels, 4)
    spectra = singular_values_from_gram(class_scatter(lda, counts, means, scatters))
    mean = mean_spectrum(spectra, d=3)
    assert mean.used == 4
    assert mean.values == pytest.approx((spectra / spectra[:, :1]).mean(axis=0))


GOOD = ([4, 4, 4], MEANS, [[6.0, 0], [0, 24]])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: solve_lda([4], MEANS[:1], GOOD[2]), InsufficientDataError, "at least two"),
        (lambda: solve_lda([4, 0, 0], *GOOD[1:]), InsufficientDataError, "at least two"),
        (lambda: solve_lda([1, 1, 1], *GOOD[1:]), InsufficientDataError, "more rows than"),
        (lambda: solve_lda(*GOOD[:2], np.zeros((2, 2))), InsufficientDataError, "constant"),
        (lambda: solve_lda(GOOD[0], 0.1 * np.ones((3, 2)), GOOD[2]), InsufficientDataError, "coin"),
        (lambda: solve_lda([4, 4], *GOOD[1:]), ShapeError, "2 counts"),
        (lambda: solve_lda([4, -4, 4], *GOOD[1:]), ShapeError, "negative"),
        (lambda: solve_lda(*GOOD[:2], np.ones((2, 3))), ShapeError, "square"),
        (lambda: solve_lda(*GOOD[:2], np.eye(3)), ShapeError, "one column"),
        (lambda: solve_lda(*GOOD[:2], [[np.nan, 0], [0, 1]]), NonFiniteError, "within"),
        (lambda: solve_lda(*GOOD, dof="k"), SettingError, "'n-k'"),
        (lambda: solve_lda(*GOOD, shrinkage=1.5), SettingError, "0 to 1"),
        (lambda: solve_lda(*GOOD, shrinkage="auto"), SettingError, "'ledoit_wolf'"),
        (lambda: solve_lda(*GOOD, shrinkage="ledoit_wolf"), SettingError, "fourth"),
        (lambda: solve_lda(*GOOD, priors=[0.5, 0.5]), ShapeError, "priors"),
        (lambda: solve_lda(*GOOD, priors=[0.5, 0.5, 0.5]), SettingError, "sum to 1"),
        (lambda: solve_lda(*GOOD, priors=[0.5, 0.5, 0.0]), SettingError, "above 0"),
        (lambda: solve_lda(*GOOD).project(np.ones((2, 3))), ShapeError, "fitted on 2"),
        (lambda: class_scatter(solve_lda(*GOOD), [1], [[0, 0]], [[[1]]]), ShapeError, "scatter"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
