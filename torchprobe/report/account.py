"""Where the numbers come from: what was seen, what was left out and why, with which settings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torchprobe.report.parts import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torchprobe.results import LayerResults, Result, Results

__all__ = ["coverage", "data", "missing", "missing_of_run", "notes", "origin", "run"]

_SEEN = {"module": "module", "axes": "axes", "samples": "samples", "rows": "rows"}
_GAPS = {"complete", "disabled", "notes", "rolled_back"}
_APART = {*_SEEN, *_GAPS, "calls", "dtype", "nonfinite_rows", "skipped"}
"""What tables, notes and warnings tell of a layer; the rest is listed."""


def coverage(results: Results) -> Table | None:
    """What was seen of each layer and what was not; None where nothing is known of that."""
    layers: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for result in _each(results):
        seen = result.provenance  # two networks may have layers of one name
        layers.setdefault((result.layer, seen.get("module"), seen.get("axes")), seen)
    if not any("rows" in seen for seen in layers.values()):
        return None
    rows = [
        [layer, *(seen.get(key) for key in _SEEN), _left_out(seen)]
        for (layer, *_), seen in layers.items()
    ]
    return Table(["layer", *_SEEN.values(), "left out"], rows)


def missing(results: LayerResults) -> list[str]:
    """What is not in the numbers of an analyzer though it was offered, and why."""
    return _by_layer((each.layer, why) for each in _of(results) for why in _gaps(each.provenance))


def missing_of_run(results: Results) -> list[str]:
    """The same of the run as a whole."""
    return _gaps(results.provenance)


def notes(results: LayerResults) -> list[str]:
    """What a reader must know of an analyzer's numbers though nothing is missing."""
    return _by_layer(
        (each.layer, str(note))
        for each in _of(results)
        if each.complete
        for note in each.provenance.get("notes", ())
    )


def origin(results: LayerResults) -> list[tuple[str, str]]:
    """Settings, versions and the like of an analyzer, by what they are."""
    listed: dict[tuple[str, str], list[str]] = defaultdict(list)
    for result in _of(results):
        provenance = {k: v for k, v in result.provenance.items() if k not in _APART}
        for what, value in [*_flat(result.settings), *_flat(provenance)]:
            listed[what, value].append(result.layer)
    whole = len(results)
    return [
        (what, value if len(layers) == whole else f"{value} ({_listed(layers)})")
        for (what, value), layers in listed.items()
    ]


def run(results: Results) -> list[tuple[str, str]]:
    """What is known of the run as a whole."""
    return list(_flat({k: v for k, v in results.provenance.items() if k not in _GAPS}))


def data(results: Results) -> list[dict[str, Any]]:
    """Every single number with its origin, for machines."""
    return [
        {
            "analyzer": result.analyzer,
            "layer": result.layer,
            "grouping": result.grouping,
            "numbers": result.scalars(),
            "settings": result.settings,
            "provenance": result.provenance,
        }
        for result in _each(results)
    ]


def _of(results: LayerResults) -> Iterable[Result]:
    return results.values()


def _each(results: Results) -> Iterable[Result]:
    return (result for layers in results.values() for result in _of(layers))


def _gaps(provenance: Mapping[str, Any]) -> list[str]:
    """Why a result or run is incomplete, one reason each."""
    if provenance.get("complete", True):
        return []
    lost = provenance.get("rolled_back") or {}
    reasons = [f"{_passes(n)} forgotten: {why}" for why, n in lost.items()]
    reasons += [str(note) for note in provenance.get("notes", ())]
    reasons += [f"the analyzer failed: {why}" for why in [provenance.get("disabled")] if why]
    return reasons or ["marked incomplete, no reason given"]


def _left_out(seen: Mapping[str, Any]) -> str:
    parts = [f"{_passes(n)}: {why}" for why, n in (seen.get("skipped") or {}).items()]
    nonfinite = seen.get("nonfinite_rows") or 0
    if nonfinite:
        parts.append(f"{nonfinite:,} rows with NaN or infinity")
    return "; ".join(parts)


def _passes(n: int) -> str:
    return "1 forward pass" if n == 1 else f"{n:,} forward passes"


def _by_layer(told: Iterable[tuple[str, str]]) -> list[str]:
    """Each sentence once, with the layers it holds for."""
    layers: dict[str, list[str]] = defaultdict(list)
    for layer, sentence in told:
        layers[sentence].append(layer)
    return [f"{_listed(names)}: {sentence}" for sentence, names in layers.items()]


def _listed(names: list[str], most: int = 8) -> str:
    distinct = list(dict.fromkeys(names))
    more = f" and {len(distinct) - most} more" if len(distinct) > most else ""
    return ", ".join(distinct[:most]) + more


def _flat(document: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    """A nested document as lines of name and value; empty ones say nothing and are left out."""
    for key, value in document.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, (tuple, list)) and value:
            yield name, ", ".join(map(str, value))
        elif value not in (None, "", (), []):
            yield name, f"{value:,}" if type(value) is int else str(value)
