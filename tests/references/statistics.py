"""Two-pass formulas in long double, and sampling by sorting everything."""

from collections import Counter

import numpy as np

MASK = 2**64 - 1


def long(values):
    return np.asarray(values.double().numpy(), dtype=np.longdouble)


def mean(rows):
    return long(rows).sum(0) / len(rows)


def variance(rows, ddof=1):
    return ((long(rows) - mean(rows)) ** 2).sum(0) / (len(rows) - ddof)


def scatter(rows):
    return cross_scatter(rows, rows)


def cross_scatter(x, y):
    x, y = long(x) - mean(x), long(y) - mean(y)
    return sum(np.outer(a, b) for a, b in zip(x, y, strict=True))


def by_label(rows, labels):
    return {int(k): rows[labels == k] for k in labels.unique() if k >= 0}


def within_scatter(rows, labels):
    return sum(scatter(part) for part in by_label(rows, labels).values())


def between_scatter(rows, labels):
    parts = by_label(rows, labels)
    grand = mean(rows[labels >= 0])
    offsets = [(len(part), mean(part) - grand) for part in parts.values()]
    return sum(n * np.outer(offset, offset) for n, offset in offsets)


def splitmix64(u):
    z = (u + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def sample_ids(ids, n, seed):
    """The n ids with the smallest hashes, in that order."""
    return sorted(set(ids), key=lambda i: splitmix64((i ^ seed) & MASK))[:n]


def top_ids(ids, scores, n, *, largest):
    """The n ids with the best scores, best first; an id counts once, with its better score."""
    sign = -1 if largest else 1
    best = {}
    for i, score in zip(ids, scores, strict=True):
        if score == score and (i not in best or sign * score < best[i]):  # noqa: PLR0124 - NaN
            best[i] = sign * score
    return sorted(best, key=lambda i: (best[i], i))[:n]


def confusion(true, predicted):
    pairs = zip(true.tolist(), predicted.tolist(), strict=True)
    return Counter(pair for pair in pairs if min(pair) >= 0)
