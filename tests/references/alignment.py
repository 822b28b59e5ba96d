"""Centred kernel alignment, written out from the papers."""

import itertools

import numpy as np


def cka(x, y):
    """Kornblith et al. 2019, equations (3) and section 3: HSIC of linear kernels, normalised."""
    n = len(x)
    h = np.eye(n) - np.ones((n, n)) / n

    def hsic(k, m):
        return np.trace(k @ h @ m @ h) / (n - 1) ** 2

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def debiased_cka(x, y):
    """The U-statistic that Song et al. 2012 estimate HSIC by, over all ordered quadruples."""

    def hsic(k, m):
        quadruples = list(itertools.permutations(range(len(k)), 4))
        return np.mean([k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in quadruples])

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))
