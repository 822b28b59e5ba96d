"""Class selectivity written from the formulas, one number at a time."""

from __future__ import annotations

import numpy as np


def class_means(rows, labels):
    """NM17 Eq. 6: CSV_m[k] = (1/N_k) Σ_{i: y_i = k} h_m(x_i); classes ascending, -1 ignored."""
    classes = sorted({int(label) for label in labels if label >= 0})
    means = np.zeros((len(classes), rows.shape[1]))
    for k, wanted in enumerate(classes):
        mine = [row for row, label in zip(rows, labels, strict=True) if label == wanted]
        for m in range(rows.shape[1]):
            means[k, m] = sum(float(row[m]) for row in mine) / len(mine)
    return classes, means


def morcos(csv):
    """Morcos et al. 2018, section 2.3, per unit; NaN where it would leave 0..1."""
    index = []
    for unit in csv.T:
        best = int(np.argmax(unit))
        others = [value for k, value in enumerate(unit) if k != best]
        if not others or np.mean(others) < 0 or unit[best] <= 0:
            index.append(np.nan)
        else:
            rest = np.mean(others)
            index.append((unit[best] - rest) / (unit[best] + rest))
    return np.array(index)


def dprime(rows, labels):
    """Simpson & Fitter 1973: difference of means over the root mean square of two deviations."""
    classes, _ = class_means(rows, labels)
    index = np.full((len(classes), rows.shape[1]), np.nan)
    for k, wanted in enumerate(classes):
        for m in range(rows.shape[1]):
            mine = rows[labels == wanted, m]
            rest = rows[(labels >= 0) & (labels != wanted), m]
            if len(mine) < 2 or len(rest) < 2:
                continue
            spread = np.sqrt((mine.var(ddof=1) + rest.var(ddof=1)) / 2)
            if spread > 1e-12 * max(abs(mine.mean()), abs(rest.mean())):
                index[k, m] = (mine.mean() - rest.mean()) / spread
    return index
