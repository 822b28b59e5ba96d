"""The topographic loss, maps and their measures, slowly (Krug & Stober 2019, section 2)."""

import math

import numpy as np


def neighbours(rows, columns, units, size=3, wrap=False):
    """Of each unit, its neighbours and their weights: loops over the grid."""
    reach = size // 2
    found = {}
    for unit in range(units):
        row, column = divmod(unit, columns)
        closeness = {}
        for down in range(-reach, reach + 1):
            for right in range(-reach, reach + 1):
                r, c = row + down, column + right
                if wrap:
                    r, c = r % rows, c % columns
                inside = 0 <= r < rows and 0 <= c < columns and r * columns + c < units
                if (down, right) != (0, 0) and inside:
                    closeness[r * columns + c] = 1 / math.sqrt(down**2 + right**2)
        total = sum(closeness.values())
        found[unit] = {other: weight / total for other, weight in closeness.items()}
    return found


def cosine(a, b):
    norms = max(math.sqrt(sum(a * a)), 1e-8) * max(math.sqrt(sum(b * b)), 1e-8)
    return sum(a * b) / norms


def loss(filters, rows, columns, size=3, wrap=False, literal=False):
    """Σ_c Σ_{j ∈ N(c)} ω_cj (1 − cos(w_c, w_j)), or ω_cj cos where taken literally."""
    total = 0.0
    for unit, others in neighbours(rows, columns, len(filters), size, wrap).items():
        for other, weight in others.items():
            alike = cosine(filters[unit], filters[other])
            total += weight * (alike if literal else 1 - alike)
    return total


def mean_of_all_pairs(filters):
    """Mean cosine of all pairs of different filters."""
    pairs = [
        cosine(filters[i], filters[j])
        for i in range(len(filters))
        for j in range(len(filters))
        if i != j
    ]
    return sum(pairs) / len(pairs)


def smoothed(grid, size=3):
    """Mean over the window around each cell, of the cells that are there."""
    reach, result = size // 2, np.empty_like(grid)
    for row in range(grid.shape[0]):
        for column in range(grid.shape[1]):
            window = grid[
                max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1
            ]
            result[row, column] = np.nanmean(window) if not np.isnan(grid[row, column]) else np.nan
    return result


def windows(grid, size=3):
    """Mean of each whole window."""
    rows, columns = grid.shape[0] - size + 1, grid.shape[1] - size + 1
    return np.array(
        [[grid[r : r + size, c : c + size].mean() for c in range(columns)] for r in range(rows)]
    )


def morans_i(values, weights):
    """I = n / Σ w · Σ_ij w_ij z_i z_j / Σ z_i² (Moran 1950)."""
    n, z = len(values), values - np.mean(values)
    top = sum(weights[i][j] * z[i] * z[j] for i in weights for j in weights[i])
    return n / sum(sum(each.values()) for each in weights.values()) * top / sum(z * z)


def gearys_c(values, weights):
    """C = (n − 1) Σ_ij w_ij (x_i − x_j)² / (2 Σ w Σ z_i²) (Geary 1954)."""
    n, z = len(values), values - np.mean(values)
    top = sum(weights[i][j] * (values[i] - values[j]) ** 2 for i in weights for j in weights[i])
    return (n - 1) * top / (2 * sum(sum(each.values()) for each in weights.values()) * sum(z * z))


def maxima(grid):
    """Plateaus that are higher than all around them, by flood fill; none where all is equal."""
    rows, columns = grid.shape
    seen, count = set(), 0
    for start in np.ndindex(rows, columns):
        if start in seen or np.isnan(grid[start]):
            continue
        plateau, stack, peak = {start}, [start], True
        while stack:
            row, column = stack.pop()
            for r in range(max(0, row - 1), min(rows, row + 2)):
                for c in range(max(0, column - 1), min(columns, column + 2)):
                    if grid[r, c] > grid[start]:
                        peak = False
                    if grid[r, c] == grid[start] and (r, c) not in plateau:
                        plateau.add((r, c))
                        stack.append((r, c))
        seen |= plateau
        count += peak and len(plateau) < np.isfinite(grid).sum()
    return count
