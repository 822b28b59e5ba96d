"""Dependence between paired points, from the definitions, one pair of points at a time."""

import math

from scipy.special import digamma


def euclidean(a, b):
    return math.dist(a, b)


def chebyshev(a, b):
    return max(abs(p - q) for p, q in zip(a, b, strict=True))


def distance_matrix(points):
    return [[math.dist(a, b) for b in points] for a in points]


def distance_covariance(a, b):
    """Székely's V-statistic: mean product of doubly centred distances."""
    n = len(a)
    return sum(_centred(a, i, j) * _centred(b, i, j) for i in range(n) for j in range(n)) / n**2


def distance_correlation(x, y):
    a, b = distance_matrix(x), distance_matrix(y)
    scale = distance_covariance(a, a) * distance_covariance(b, b)
    return math.sqrt(distance_covariance(a, b) / math.sqrt(scale))


def unbiased_distance_covariance(a, b):
    """U-centred distances (Székely & Rizzo 2014, Definition 2), their mean product."""
    n = len(a)
    return sum(
        _u_centred(a, i, j) * _u_centred(b, i, j) for i in range(n) for j in range(n) if i != j
    ) / (n * (n - 3))


def mutual_information(x, y, neighbours, form, norm, units=(1, 1)):
    """Kraskov's estimators by sorting every point's neighbours."""
    n, total = len(x), 0.0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        dx = {j: norm(x[i], x[j]) / units[0] for j in others}
        dy = {j: norm(y[i], y[j]) / units[1] for j in others}
        nearest = sorted(others, key=lambda j: max(dx[j], dy[j]))[:neighbours]
        if form == "ksg1":
            radius = max(max(dx[j], dy[j]) for j in nearest)
            inside_x = sum(dx[j] < radius for j in others)
            inside_y = sum(dy[j] < radius for j in others)
            total += digamma(inside_x + 1) + digamma(inside_y + 1)
        else:
            radius_x, radius_y = max(dx[j] for j in nearest), max(dy[j] for j in nearest)
            inside_x = sum(dx[j] <= radius_x for j in others)
            inside_y = sum(dy[j] <= radius_y for j in others)
            total += digamma(inside_x) + digamma(inside_y) + 1 / neighbours
    return digamma(neighbours) + digamma(n) - total / n


def _centred(a, i, j):
    n = len(a)
    grand = sum(map(sum, a)) / n**2
    return a[i][j] - sum(a[i]) / n - sum(a[j]) / n + grand


def _u_centred(a, i, j):
    n = len(a)
    grand = sum(map(sum, a)) / ((n - 1) * (n - 2))
    return a[i][j] - sum(a[i]) / (n - 2) - sum(a[j]) / (n - 2) + grand
