"""How far representations move while a network trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchprobe.errors import InsufficientDataError, LayerNotFoundError, SettingError
from torchprobe.numerics import linear_cka, procrustes_distance
from torchprobe.wording import unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torchprobe.result import Result
    from torchprobe.results import Results

__all__ = ["MEASURES", "drift", "has_samples"]

_LEAST_ROWS = 4


def _cka_distance(x: np.ndarray, y: np.ndarray) -> float:
    return 1.0 - linear_cka(x, y, debiased=True)


def _procrustes(x: np.ndarray, y: np.ndarray) -> float:
    return procrustes_distance(x, y)


MEASURES: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "cka": _cka_distance,
    "procrustes": _procrustes,
}
"""0 where nothing changed but rotation and size."""


def drift(
    history: Mapping[int, Results],
    measure: str = "cka",
    to: str | int = "previous",
    analyzer: str | None = None,
) -> dict[str, dict[int, float]]:
    """How far each layer's activations on the same rows have moved: by layer, then by step.

    Args:
        history: results by step, of an analyzer that keeps rows and their ids, probed on a loader.
        measure: "cka", 1 − the debiased linear alignment (0 where a layer differs by a rotation and
            its size, about 1 where nothing is left); or "procrustes", the share of variance (0..1)
            that no rotation, reflection and scaling explains.
        to: from what it has moved: the "previous" step, the "first", or a step.
        analyzer: whose rows; the first that keeps some by default.

    Raises:
        SettingError: no such measure, or no such step.
        LayerNotFoundError: no analyzer keeps rows.
        InsufficientDataError: steps have fewer than four rows in common.
    """
    if measure not in MEASURES:
        raise SettingError(unknown("measure of drift", measure, MEASURES))
    samples = {step: _samples(results, analyzer) for step, results in history.items()}
    samples = {step: layers for step, layers in samples.items() if layers}
    if not samples:
        raise LayerNotFoundError(
            "no analyzer of this history keeps rows by which drift could be measured; add "
            '"activation_sample" to the analyzers of the probe'
        )
    found: dict[str, dict[int, float]] = {}
    for step, origin in _pairs(list(samples), to):
        for layer, sample in samples[step].items():
            if layer in samples[origin]:
                pair = _common(samples[origin][layer], sample, layer, (origin, step))
                found.setdefault(layer, {})[step] = _measured(measure, *pair)
    return found


def has_samples(history: Mapping[int, Results]) -> bool:
    """Whether drift can be measured."""
    return sum(bool(_samples(results, None)) for results in history.values()) > 1


def _pairs(steps: list[int], to: str | int) -> list[tuple[int, int]]:
    """Each step with the one from which it has moved."""
    if to == "previous":
        return list(zip(steps[1:], steps, strict=False))
    origin = steps[0] if to == "first" else to
    if origin not in steps:
        raise SettingError(unknown("step", to, ["previous", "first", *steps]))
    assert isinstance(origin, int)
    return [(step, origin) for step in steps if step != origin]


def _samples(results: Results, analyzer: str | None) -> dict[str, Result]:
    """The results that hold rows with ids, by layer, of one analyzer."""
    for name, layers in results.items():
        if analyzer in (None, name):
            held = {r.layer: r for r in layers.values() if "rows" in r and "ids" in r}
            if held:
                return held
    return {}


def _common(
    one: Result, two: Result, layer: str, steps: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that two results share, in the same order."""
    ids, first, second = np.intersect1d(one.ids, two.ids, return_indices=True)
    if len(ids) < _LEAST_ROWS:
        raise InsufficientDataError(
            f"steps {steps[0]} and {steps[1]} have {len(ids)} rows of layer {layer!r} in common; "
            "drift is measured on the same rows: probe on a loader, the same at every step"
        )
    return one.rows[first].astype(np.float64), two.rows[second].astype(np.float64)


def _measured(measure: str, one: np.ndarray, two: np.ndarray) -> float:
    """NaN where a layer does not vary: there is nothing that could have moved."""
    try:
        return MEASURES[measure](one, two)
    except InsufficientDataError:
        return float("nan")
