"""From the state of a stream to results."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from torchprobe.errors import EmptyStateError, IncompleteWarning
from torchprobe.results import LayerResults, Result, Results

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torchprobe.analyzer import Analyzer
    from torchprobe.stream import Key, Stream

__all__ = ["compute"]


def compute(stream: Stream, phases: Iterable[tuple[str, int]]) -> Results:
    """Every fork's result; one that saw nothing or raises is reported and left out.

    Raises:
        EmptyStateError: there is not one result.
    """
    phases = list(phases)
    computed: dict[str, list[Result]] = {name: [] for name in stream.analyzers}
    empty: list[str] = []
    for key, fork in stream.forks.items():
        try:
            computed[key.analyzer].append(_result(stream, key, fork, phases))
        except EmptyStateError as error:
            if key not in stream.disabled:  # that was told already
                empty.append(f"{key}: {error}")
        except Exception as error:
            if stream.options.on_error == "raise":
                raise
            stream.disable(key, error)
    _report_empty(stream, empty, any(computed.values()))
    return Results({name: LayerResults(found) for name, found in computed.items() if found})


def _result(stream: Stream, key: Key, fork: Analyzer, phases: list[tuple[str, int]]) -> Result:
    fork = _alphabetical(fork, phases)
    fork.provenance = _provenance(stream, key)
    return fork.compute()


def _alphabetical(fork: Analyzer, phases: list[tuple[str, int]]) -> Analyzer:
    """The fork with string labels renumbered by their alphabetical order."""
    names = fork.names
    if names is None or not names.strings:
        return fork
    ranks = names.ranks()
    ordered = fork.fork(fork.layer, fork.grouping, names.ranked())
    ordered.load_state_dict(fork.state_dict())
    for _, accumulator in ordered.accumulators():
        accumulator.relabel(ranks)
    for split, number in phases:
        if split in ordered.splits:
            ordered.after(split, number)
    return ordered


def _provenance(stream: Stream, key: Key) -> dict[str, Any]:
    import torch

    from torchprobe.version import __version__

    layer = stream.layers[key.layer]
    account = stream.coverage.of(key.layer)
    return {
        **account,
        "axes": str(layer.axes),
        "module": layer.module,
        "dtype": str(layer.dtype).removeprefix("torch."),
        "disabled": stream.disabled.get(key, ""),
        "complete": not (account["rolled_back"] or account["notes"] or key in stream.disabled),
        "versions": {"torchprobe": __version__, "torch": torch.__version__},
    }


def _report_empty(stream: Stream, empty: list[str], any_result: bool) -> None:
    if stream.analyzers and not any_result:
        reasons = "; ".join(empty) or "no analyzer heard of any layer"
        raise EmptyStateError(f"there is no result: {reasons}. Coverage:\n{stream.coverage}")
    if empty:
        warnings.warn(f"nothing was seen by {'; '.join(empty)}", IncompleteWarning, stacklevel=4)
