"""Neuron activation profiles written from the paper, one window and one number at a time."""

from __future__ import annotations

import itertools
import math

import numpy as np


def profiles(maps, labels, baseline="sample", sort=True):
    """NAP section 3.1 of maps [map, channel, position]; classes ascending, -1 ignored.

    C: mean of each group. D: less the mean of all data (or of the groups' means). E: each neuron's
    values in ascending order.
    """
    classes = sorted({int(label) for label in labels if label >= 0})
    means = []
    for wanted in classes:
        mine = [each for each, label in zip(maps, labels, strict=True) if label == wanted]
        means.append(sum(np.asarray(each, dtype=float) for each in mine) / len(mine))
    if baseline == "sample":
        base = sum(np.asarray(each, dtype=float) for each in maps) / len(maps)
    else:
        base = sum(means) / len(means)
    found = []
    for mean in means:
        normalised = mean - base
        found.append([sorted(values) if sort else list(values) for values in normalised])
    return classes, np.array(found)


def windows(values, labels, left, right):
    """Every complete window of maps [sample, channel, position] and its label, one by one."""
    cut, said = [], []
    for sample, marks in zip(values, labels, strict=True):
        for position, label in enumerate(marks):
            first, last = position - left, position + right
            if first >= 0 and last < sample.shape[-1]:
                cut.append(sample[:, first : last + 1])
                said.append(label)
    return cut, said


def distances(found):
    """Euclidean distance of every two flattened profiles [group, group]."""
    n = len(found)
    between = np.zeros((n, n))
    for a, b in itertools.product(range(n), repeat=2):
        squares = [(x - y) ** 2 for x, y in zip(found[a].flat, found[b].flat, strict=True)]
        between[a, b] = math.sqrt(sum(squares))
    return between


def complete_linkage(between):
    """Heights of the merges: the two clusters whose farthest members are nearest join next."""
    clusters = [[item] for item in range(len(between))]
    heights = []
    while len(clusters) > 1:
        pairs = itertools.combinations(range(len(clusters)), 2)
        apart = {
            (a, b): max(between[i, j] for i in clusters[a] for j in clusters[b]) for a, b in pairs
        }
        (a, b), height = min(apart.items(), key=lambda entry: entry[1])
        heights.append(height)
        clusters[a] += clusters.pop(b)
    return heights


def percentile(values, percent):
    """Linearly interpolated between the two nearest ranks."""
    ordered = sorted(values)
    place = percent / 100 * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
