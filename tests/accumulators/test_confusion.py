import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import statistics as reference
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score
from strategies import repeatable

from torchprobe.accumulators import Confusion

pairs = st.lists(st.tuples(st.integers(-1, 6), st.integers(-1, 9)), min_size=1, max_size=40)


def fed(true, predicted, size=7):
    confusion = Confusion()
    for part in zip(true.split(size), predicted.split(size), strict=True):
        confusion.update(*part)
    return confusion


@repeatable
@given(pairs=pairs, size=st.integers(1, 9))
def test_every_pair_is_counted(pairs, size):
    true, predicted = torch.tensor(pairs).T
    got = fed(true, predicted, size)
    expected = reference.confusion(true, predicted)
    if not expected:
        assert got.state == {}
        return
    labels = got.labels.tolist()
    assert labels == sorted({label for pair in expected for label in pair})
    for (row, column), count in np.ndenumerate(got.matrix.numpy()):
        assert count == expected[labels[row], labels[column]]


def test_it_says_what_scikit_learn_says():
    true, predicted = torch.randint(0, 4, (200,)) * 3, torch.randint(0, 4, (200,)) * 3
    got = fed(true, predicted)
    np.testing.assert_array_equal(got.matrix, confusion_matrix(true, predicted))
    np.testing.assert_allclose(got.class_accuracy, recall_score(true, predicted, average=None))
    assert got.accuracy == pytest.approx(accuracy_score(true, predicted))


def test_labels_that_are_only_predicted_have_no_accuracy():
    got = fed(torch.tensor([1, 1, 2]), torch.tensor([1, 9, 9]))
    assert got.labels.tolist() == [1, 2, 9]
    assert got.groups.tolist() == [1, 2]
    assert got.class_accuracy.tolist() == [0.5, 0.0]


def test_labels_from_a_large_vocabulary_cost_what_is_seen_of_it():
    got = fed(torch.arange(0, 10**12, 10**10), torch.arange(0, 10**12, 10**10))
    assert got.nbytes == 100 * 3 * 8
    assert got.accuracy == 1.0
