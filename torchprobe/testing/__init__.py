"""The analyzer contract as a test, for first and third parties alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe.sandbox import CPU, Sandbox
from torchprobe.testing.examples import Example, example, example_for
from torchprobe.testing.promises import Check, checks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torchprobe.analyzer import Analyzer

__all__ = ["Check", "Example", "check_analyzer", "checks", "example"]


def check_analyzer(
    analyzer: type[Analyzer] | Analyzer,
    *,
    positions: Sequence[tuple[int, ...]] = ((), (5,)),
    skip: Sequence[str] = (),
) -> None:
    """Assert the contract of an analyzer; raises AssertionError naming the promise it breaks.

    Every check of `checks` runs on made-up data without positions and with some. The promises:
    results do not depend on how the data is cut into batches nor on its order, merging equals one
    pass, a saved state restores it, nothing seen raises `EmptyStateError`, state does not grow with
    the data, no random numbers are drawn, inputs are not written to, repeating gives the same.

    Args:
        analyzer: a class that can be made without arguments, or a configured instance.
        positions: the position sizes to try.
        skip: names of checks that do not apply, e.g. ``["order_does_not_matter"]``; say why in
            the test that skips them.

    Example:
        >>> from torchprobe import Analyzer
        >>> from torchprobe.accumulators import Mean
        >>> class DeadUnits(Analyzer):
        ...     name = "dead_units"
        ...     def start(self, layer):
        ...         self.active = Mean(layer.channels)
        ...     def update(self, batch):
        ...         self.active.update(batch.rows() > 0)
        ...     def compute(self):
        ...         return self.result(dead=("channel", 1 - self.active.value))
        >>> check_analyzer(DeadUnits)
    """
    made = analyzer() if isinstance(analyzer, type) else analyzer
    for sizes in positions:
        data = example_for(made, sizes)
        for check in checks():
            if check.__name__ in skip:
                continue
            try:
                with Sandbox(CPU):
                    check(made, data)
            except Exception as error:
                kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
                raise AssertionError(
                    f"{made.name}: {check.__name__} with positions {sizes}: {kind}{error}"
                ) from error
