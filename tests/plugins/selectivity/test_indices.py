import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from references import selectivity as reference
from torchprobe_selectivity.indices import dprime, morcos

small = settings(derandomize=True, deadline=None, max_examples=60)
csvs = arrays.arrays(
    np.float64,
    st.tuples(st.integers(2, 6), st.integers(1, 5)),
    elements=st.floats(-100, 100, width=16),
)


def moments(rows, labels):
    classes, means = reference.class_means(rows, labels)
    counts = np.array([(labels == k).sum() for k in classes])
    centred = [((rows[labels == k] - means[i]) ** 2).sum(0) for i, k in enumerate(classes)]
    return counts, means, np.array(centred)


@small
@given(csvs)
def test_morcos_equals_the_formula_unit_by_unit(csv):
    assert np.allclose(morcos(csv), reference.morcos(csv), rtol=1e-12, equal_nan=True)


@small
@given(csvs)
def test_morcos_lies_within_0_and_1_or_is_undefined(csv):
    index = morcos(csv)
    assert np.all(np.isnan(index) | ((index >= 0) & (index <= 1)))


@small
@given(csvs, st.floats(0.001, 1000))
def test_morcos_does_not_depend_on_the_scale_of_a_unit(csv, scale):
    assert np.allclose(morcos(csv), morcos(csv * scale), rtol=1e-9, equal_nan=True)


def test_morcos_of_a_single_class_is_undefined():
    assert np.isnan(morcos(np.array([[1.0, 2.0]]))).all()


def test_morcos_where_two_classes_share_the_maximum_counts_one_of_them_among_the_others():
    assert morcos(np.array([[2.0], [2.0], [0.0]]))[0] == 1 / 3


@small
@given(
    arrays.arrays(np.float64, (14, 3), elements=st.floats(-50, 50, width=16)),
    arrays.arrays(np.int64, 14, elements=st.integers(-1, 3)),
)
def test_dprime_equals_the_formula_row_by_row(rows, labels):
    if (labels >= 0).any():
        expected = reference.dprime(rows, labels)
        got = dprime(*moments(rows, labels))
        assert np.allclose(got, expected, rtol=1e-9, atol=1e-12, equal_nan=True)


def test_dprime_of_two_classes_is_antisymmetric():
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    index = dprime(*moments(rng.normal(size=(40, 5)) + labels[:, None], labels))
    assert np.allclose(index[0], -index[1], rtol=1e-12)


def test_dprime_keeps_its_digits_where_one_class_holds_nearly_all_rows():
    rng = np.random.default_rng(1)
    labels = np.array([0] * 20_000 + [1] * 3 + [2] * 3)
    rows = rng.normal(size=(len(labels), 2)) + 1e6
    rows[labels == 0] *= 1e3
    assert np.allclose(dprime(*moments(rows, labels)), reference.dprime(rows, labels), rtol=1e-9)


def test_dprime_needs_two_rows_of_a_class_and_of_the_rest():
    counts, squares = np.array([1, 5]), np.array([[0.0], [4.0]])
    assert np.isnan(dprime(counts, np.array([[0.0], [9.0]]), squares)).all()


def test_dprime_of_a_unit_that_never_varies_is_undefined_not_infinite():
    means = np.array([[0.1], [0.1 + 1e-17], [0.1]])
    assert np.isnan(dprime(np.array([9, 9, 9]), means, np.full((3, 1), 1e-33))).all()
