"""Which result and which class pictures of classes are of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchprobe.errors import LayerNotFoundError, NothingToDrawError
from torchprobe.wording import unknown

if TYPE_CHECKING:
    from torchprobe import Result
    from torchprobe.results import LayerResults

__all__ = ["MOST", "number_of", "output_of"]

MOST = 8
"""How many pictures stand beside each other where nobody chose: names are still legible."""


def output_of(results: LayerResults) -> Result:
    """The output layer's result.

    Raises:
        NothingToDrawError: the output was not probed.
    """
    found = [each for each in results.values() if "template" in each.fields]
    if not found:
        raise NothingToDrawError(
            "there are no transforms of output nodes; probe the model's output as the last layer"
        )
    return found[0]


def number_of(result: Result, name: str) -> int:
    """A class by name.

    Raises:
        LayerNotFoundError: no such class.
    """
    classes = result.coords["class"]
    if name not in classes:
        raise LayerNotFoundError(unknown("class", name, classes))
    return classes.index(name)
