"""Linear discriminant analysis through the generalised eigenproblem, and its statistics."""

import numpy as np
from scipy.linalg import eigh


def statistics(rows, labels, classes):
    """Counts, means and pooled within-class scatter, with plain loops."""
    counts = np.array([np.sum(labels == k) for k in range(classes)])
    means = np.array(
        [rows[labels == k].mean(axis=0) if n else 0 * rows[0] for k, n in enumerate(counts)]
    )
    within = np.zeros((rows.shape[1], rows.shape[1]))
    for row, label in zip(rows, labels, strict=True):
        within += np.outer(row - means[label], row - means[label])
    return counts, means, within


def class_scatters(rows, labels, classes):
    """Scatter of each class about its own mean [class, channel, channel]."""
    parts = [rows[labels == k] for k in range(classes)]
    centred = [part - part.mean(axis=0) for part in parts]
    return np.array([part.T @ part for part in centred])


def explained_variance_ratios(counts, means, within):
    """Eigenvalues of S_B w = λ S_W w, descending, as shares of their sum."""
    grand = counts @ means / counts.sum()
    offsets = means - grand
    between = sum(n * np.outer(o, o) for n, o in zip(counts, offsets, strict=True))
    eigenvalues = eigh(between, within, eigvals_only=True)[::-1]
    return eigenvalues[: len(counts) - 1] / eigenvalues.sum()


def scores(rows, counts, means, within, divisor):
    """Log of prior times Gaussian density with the pooled covariance, less a common constant."""
    precision = np.linalg.inv(within / divisor)
    result = np.empty((len(rows), len(counts)))
    for i, row in enumerate(rows):
        for k, (count, mean) in enumerate(zip(counts, means, strict=True)):
            apart = row - mean
            result[i, k] = np.log(count / counts.sum()) - apart @ precision @ apart / 2
    return result
