"""What a plugin can offer: every hook torchprobe asks, with its signature and meaning.

A plugin is a module with functions of these names, each marked with `hookimpl`; it implements the
ones it needs and may leave out arguments it does not read. Hooks return data and run once, away
from the forward pass: tensors reach a plugin only through the `Analyzer` classes it offers.
"""

# mypy: disable-error-code="empty-body"
# A hook specification is a signature and a docstring; pluggy never calls it.

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping
    from typing import TypeAlias

    from torch import nn

    from torchprobe.analyzer import Analyzer
    from torchprobe.plotting import PlotFunction
    from torchprobe.report import Section
    from torchprobe.results import Results

    Subparsers: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

__all__ = ["PROJECT", "hookimpl", "hookspec"]

PROJECT = "torchprobe"
"""The name that markers and entry points share: pluggy's project, the packaging group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's function as the implementation of the hook of the same name."""


@hookspec
def torchprobe_analyzers() -> Iterable[type[Analyzer]]:
    """Offer analyzers.

    Returns:
        Classes, not instances; each has a ``name`` no other analyzer has, and can be made without
        arguments if users are to ask for it by that name.
    """


@hookspec(firstresult=True)
def torchprobe_layout(name: str, module: nn.Module, shape: tuple[int, ...]) -> str | None:
    """Say what the axes of a layer's output mean; asked once per layer.

    What the user says goes first, then this hook, then what torchprobe knows of torch's own
    modules. The first plugin that answers decides.

    Args:
        name: the layer, e.g. ``"encoder.0"`` or ``"lstm[0]"``.
        module: the module whose output it is.
        shape: the output's shape when first seen.

    Returns:
        Axis names in order, e.g. ``"sample time channel"``, or None for a module the plugin does
        not know.
    """


@hookspec
def torchprobe_plots() -> Mapping[str, PlotFunction]:
    """Offer drawings of results.

    Returns:
        Result kind (the analyzer's name, unless its results say otherwise) to the function that
        draws the results of that kind, called as ``draw(layer_results, **options)``;
        ``"kind:view"`` for further drawings. Import matplotlib inside that function.
    """


@hookspec
def torchprobe_report_sections(results: Results) -> Iterable[Section]:
    """Add sections to the HTML report.

    Args:
        results: everything the report is about; a plugin picks what it knows.

    Returns:
        Sections in the order in which they are to stand; none where nothing fits. An analyzer
        that no section names gets a plain one.
    """


@hookspec
def torchprobe_commands(subparsers: Subparsers) -> None:
    """Add commands to ``torchprobe``.

    Args:
        subparsers: argparse's own: ``parser = subparsers.add_parser("name", help="...")`` adds one;
            ``parser.set_defaults(run=function)`` says what it does. The function gets the parsed
            arguments and returns the exit status, None meaning 0.
    """
