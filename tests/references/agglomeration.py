"""Agglomerative clustering from its definition: merge the two closest groups, over and over."""

from itertools import combinations
from statistics import fmean


def correlation_distance(a, b):
    mean_a, mean_b = fmean(a), fmean(b)
    cross = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    size_a = sum((x - mean_a) ** 2 for x in a)
    size_b = sum((y - mean_b) ** 2 for y in b)
    return 1 - cross / (size_a * size_b) ** 0.5


def euclidean_distance(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5


def merge_heights(rows, distance, linkage):
    """Heights of all merges; linkage reduces the distances between members (mean or max)."""
    groups = [[i] for i in range(len(rows))]
    heights = []

    def between(a, b):
        return linkage([distance(rows[i], rows[j]) for i in a for j in b])

    while len(groups) > 1:
        height, a, b = min((between(*pair), *pair) for pair in combinations(groups, 2))
        groups = [group for group in groups if group not in (a, b)] + [a + b]
        heights.append(height)
    return heights
