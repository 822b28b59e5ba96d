"""Pictures and what is said of them, from the definitions, one point at a time."""

import math
from collections import Counter

import numpy as np

MASK = 2**64 - 1


def splitmix64(identity, seed):
    """The hash of method specification P4, in Python's own integers."""
    z = ((identity ^ seed) + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def sampled(ids, n, seed):
    """The n ids with the smallest hashes, in their order."""
    return sorted(ids, key=lambda identity: splitmix64(identity, seed))[:n]


def procrustes(points, picture):
    """What the best shifted, turned and scaled picture misses of the points' variance."""
    x = points - points.mean(axis=0)
    y = np.zeros_like(x)
    y[:, : picture.shape[1]] = picture - picture.mean(axis=0)
    left, sizes, right = np.linalg.svd(y.T @ x)
    fitted = sizes.sum() / (y**2).sum() * y @ left @ right
    return ((x - fitted) ** 2).sum() / (x**2).sum()


def neighbours(points, i, k):
    others = [j for j in range(len(points)) if j != i]
    return sorted(others, key=lambda j: math.dist(points[i], points[j]))[:k]


def hit(points, labels, k):
    each = range(len(points))
    same = [sum(labels[j] == labels[i] for j in neighbours(points, i, k)) / k for i in each]
    return sum(same) / len(same)


def accuracy(points, labels, k):
    """The neighbours' majority; of labels with as many votes the smallest."""
    right = 0
    for i in range(len(points)):
        votes = Counter(labels[j] for j in neighbours(points, i, k))
        most = max(votes.values())
        right += min(label for label, count in votes.items() if count == most) == labels[i]
    return right / len(points)


def encoded(row, mean, scale, layers):
    """One row through rectified layers of (weight, bias), the last of them linear."""
    values = [(x - m) / s for x, m, s in zip(row, mean, scale, strict=True)]
    for number, (weight, bias) in enumerate(layers):
        sums = [sum(w * v for w, v in zip(r, values, strict=True)) for r in weight]
        values = [total + b for total, b in zip(sums, bias, strict=True)]
        if number < len(layers) - 1:
            values = [max(0.0, value) for value in values]
    return values
