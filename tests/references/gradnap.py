"""Gradient-adjusted profiles from their definition, one example and one position at a time."""

import itertools

import numpy as np


def weight(a, g, kind):
    return {"product": a * abs(g), "absolute": abs(a) * abs(g), "gradient": abs(g)}[kind]


def centre_of(a, g, kind, across):
    """The position that becomes the middle of one example [channel, *positions]."""
    positions = list(itertools.product(*map(range, a.shape[1:])))
    scores = []
    for at in positions:
        each = [weight(a[(n, *at)], g[(n, *at)], kind) for n in range(len(a))]
        scores.append(max(each) if across == "max" else sum(each) / len(each))
    if max(scores) == min(scores):
        return tuple(size // 2 for size in a.shape[1:])
    return positions[scores.index(max(scores))]


def moved(a, centre, width):
    """The window around a position, None where there is no data."""
    window = np.full((len(a), *width), np.nan)
    for at in itertools.product(*map(range, width)):
        source = tuple(i - w // 2 + c for i, w, c in zip(at, width, centre, strict=True))
        if all(0 <= s < n for s, n in zip(source, a.shape[1:], strict=True)):
            for n in range(len(a)):
                window[(n, *at)] = a[(n, *source)]
    return window


def mean_of(windows, border):
    """The mean of windows, element by element."""
    mean = np.full(windows[0].shape, np.nan)
    for at in np.ndindex(mean.shape):
        values = [window[at] for window in windows]
        if border == "mask":
            values = [value for value in values if not np.isnan(value)]
        else:
            values = [0.0 if np.isnan(value) else value for value in values]
        mean[at] = sum(values) / len(values) if values else np.nan
    return mean


def gradnap(
    activations,
    gradients,
    labels,
    *,
    alignment="product",
    across="max",
    border="zero",
    width=None,
    baseline="sample",
    mask="absolute",
    scale="group",
):
    """Profiles by label, and all stages."""
    width = activations.shape[2:] if width is None else width
    aligned = []
    for a, g, label in zip(activations, gradients, labels, strict=True):
        centre = centre_of(a, g, alignment, across)
        pair = moved(a, centre, width), moved(g, centre, width)
        if border == "crop" and np.isnan(pair[0]).any():
            continue
        aligned.append((*pair, label))
    groups = sorted({label for *_, label in aligned if label >= 0})
    size = abs if mask == "mean_absolute" else (lambda g: g)
    mean = {k: mean_of([a for a, _, label in aligned if label == k], border) for k in groups}
    gradient = {
        k: mean_of([size(g) for _, g, label in aligned if label == k], border) for k in groups
    }
    every = mean_of([a for a, *_ in aligned], border)
    if baseline == "group":
        every = np.zeros_like(every)
        for at in np.ndindex(every.shape):
            known = [mean[k][at] for k in groups if not np.isnan(mean[k][at])]
            every[at] = sum(known) / len(known) if known else np.nan
    gradient = {k: np.where(np.isnan(g), 0.0, g) for k, g in gradient.items()}
    masks = {k: scaled(gradient, k, mask, scale) for k in groups}
    normalised = {k: np.where(np.isnan(mean[k]), 0.0, mean[k] - every) for k in groups}
    return {k: normalised[k] * masks[k] for k in groups}, masks, mean, every


def scaled(gradient, k, mask, scale):
    out = np.zeros_like(gradient[k])
    for at in np.ndindex(out.shape):
        if scale == "layer":
            largest = max(abs(g).max() for g in gradient.values())
        elif scale == "neuron":
            largest = abs(gradient[k][at[0]]).max()
        else:
            largest = abs(gradient[k]).max()
        if largest > 0:
            value = gradient[k][at] if mask == "signed" else abs(gradient[k][at])
            out[at] = value / largest
    return out
