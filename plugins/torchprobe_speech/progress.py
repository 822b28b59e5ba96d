"""Progress: bars that show in a terminal, silent elsewhere or when asked; stages of long work."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias, TypeVar

__all__ = ["Told", "bar", "tracked", "untold"]

T = TypeVar("T")

Told: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""Makes the context that a stage of a name runs in: to measure its time, to tell of it."""


def untold(stage: str) -> AbstractContextManager[None]:  # noqa: ARG001 - that of `Told`
    """Tells of no stage."""
    return nullcontext()


def bar(total: int, title: str, unit: str, *, show: bool | None = None) -> Any:
    """Returns a tqdm bar.

    Args:
        total: How many steps there will be.
        title: What is being done.
        unit: What a step is.
        show: True or False; None shows it where standard error is a terminal.
    """
    from tqdm.auto import tqdm

    disable = None if show is None else not show  # tqdm's None: off when not a terminal
    return tqdm(total=total, desc=title, unit=unit, disable=disable, leave=False)


def tracked(
    items: Iterable[T], total: int, title: str, unit: str, *, show: bool | None = None
) -> Iterator[T]:
    """Yields the items and moves a bar along."""
    with bar(total, title, unit, show=show) as progress:
        for item in items:
            yield item
            progress.update()
