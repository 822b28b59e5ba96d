"""Two sparse products and what is between them, as loops to be compiled.

Each row of filters is read from end to end, as memory likes it best. What a 3 x 3 neighbourhood has
is written out, so that a sum or a gradient goes to memory once for all neighbours: one neighbour
at a time takes up to twice as long where rows do not fit into the fastest cache. Two units side by
side read what both are neighbours of once.
"""

from __future__ import annotations

import math
from typing import Any

from torchprobe_topography.side_by_side import add_to_two, products_of_two

__all__ = [
    "add_product",
    "add_product_to_pairs",
    "coefficients",
    "cosines",
    "products_of_pairs",
]


def products_of_pairs(first: Any, second: Any, columns: Any, filters: Any, found: Any) -> None:
    """Products of pairs of units with those in their columns, as `products_of_two` gives them.

    Args:
        first: of two units: [pair].
        second: the same unit again where it has no partner: [pair].
        columns: other units: [pair, group, 5].
        filters: of all units: [unit, feature].
        found: is overwritten: [pair, group, 10].
    """
    for pair in range(len(first)):
        for group in range(columns.shape[1]):
            column, sums = columns[pair, group], found[pair, group]
            products_of_two(column, filters, first[pair], second[pair], sums)


def add_product_to_pairs(first: Any, columns: Any, values: Any, filters: Any, into: Any) -> None:
    """Add to pairs of units the filters in their columns, times values, as `add_to_two` does.

    Args:
        first: of two units, the second of which comes after it: [pair].
        columns: other units: [pair, group, 12].
        values: [pair, group, 18].
        filters: of all units: [unit, feature].
        into: the same shape.
    """
    for pair in range(len(first)):
        unit = first[pair]
        for group in range(columns.shape[1]):
            add_to_two(columns[pair, group], values[pair, group], filters, into, unit, unit + 1)


def add_product(units: Any, columns: Any, values: Any, filters: Any, into: Any) -> None:
    """Add to units the filters in their columns, times values.

    Args:
        units: each once: [unit].
        columns: other units: [unit, column], a multiple of 9 columns.
        values: [unit, column].
        filters: of all units: [unit, feature].
        into: the same shape.
    """
    for unit in range(len(columns)):
        own = into[units[unit]]
        for at in range(0, columns.shape[1], 9):
            column, value = columns[unit, at : at + 9], values[unit, at : at + 9]
            a, b, c = filters[column[0]], filters[column[1]], filters[column[2]]
            d, e, f = filters[column[3]], filters[column[4]], filters[column[5]]
            g, h, i = filters[column[6]], filters[column[7]], filters[column[8]]
            by_a, by_b, by_c, by_d, by_e = value[0], value[1], value[2], value[3], value[4]
            by_f, by_g, by_h, by_i = value[5], value[6], value[7], value[8]
            for feature in range(len(own)):
                own[feature] += (
                    by_a * a[feature]
                    + by_b * b[feature]
                    + by_c * c[feature]
                    + by_d * d[feature]
                    + by_e * e[feature]
                    + by_f * f[feature]
                    + by_g * g[feature]
                    + by_h * h[feature]
                    + by_i * i[feature]
                )


def cosines(
    gram: Any,
    smallest: float,
    first: Any,
    second: Any,
    weight: Any,
    alive: Any,
    inverse: Any,
    towards: Any,
) -> float:
    """Weigh cosines of pairs.

    Args:
        gram: products of units with themselves, then of pairs: [unit + pair].
        smallest: norms are clamped here.
        first: of a pair: [pair].
        second: [pair].
        weight: of a pair: [pair].
        alive: is overwritten: 1 where a norm is not clamped, else 0: [unit].
        inverse: is overwritten: 1 / norm: [unit].
        towards: is overwritten: the sum of a unit's weighted cosines: [unit].

    Returns:
        The sum of all, each once.
    """
    units, least = len(alive), smallest * smallest
    for unit in range(units):
        square = gram[unit]
        alive[unit] = 1 if square >= least else 0
        inverse[unit] = 1 / smallest if square < least else 1 / math.sqrt(square)  # may be NaN
        towards[unit] = 0
    total = 0.0
    for pair in range(len(first)):
        one, other = first[pair], second[pair]
        cosine = weight[pair] * inverse[one] * inverse[other] * gram[units + pair]
        towards[one] += cosine
        towards[other] += cosine
        total += cosine
    return total


def coefficients(
    scale: float,
    first: Any,
    second: Any,
    weight: Any,
    alive: Any,
    inverse: Any,
    towards: Any,
    found: Any,
) -> None:
    """The gradient of `cosines` as entries of a sparse matrix that is multiplied by the filters.

    Args:
        scale: what it is multiplied by.
        first: of a pair: [pair].
        second: [pair].
        weight: of a pair: [pair].
        alive: as `cosines` gives it: [unit].
        inverse: the same: [unit].
        towards: the same: [unit].
        found: is overwritten: of units with themselves, of first units with second ones, and of
            second ones with first ones: [unit + pair + pair].
    """
    units, pairs = len(alive), len(first)
    for unit in range(units):
        found[unit] = -scale * alive[unit] * towards[unit] * inverse[unit] * inverse[unit]
    for pair in range(pairs):
        one, other = first[pair], second[pair]
        across = scale * weight[pair] * inverse[one] * inverse[other]
        found[units + pair] = across * alive[one]
        found[units + pairs + pair] = across * alive[other]
