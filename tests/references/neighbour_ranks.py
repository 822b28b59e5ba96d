"""Trustworthiness from Venna & Kaski's definition, with a rank for every pair of points."""

import math


def trustworthiness(x, embedded, neighbours):
    n, penalty = len(x), 0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        by_input = sorted(others, key=lambda j: math.dist(x[i], x[j]))
        by_view = sorted(others, key=lambda j: math.dist(embedded[i], embedded[j]))
        for j in by_view[:neighbours]:
            penalty += max(0, by_input.index(j) + 1 - neighbours)
    return 1 - penalty * 2 / (n * neighbours * (2 * n - 3 * neighbours - 1))
