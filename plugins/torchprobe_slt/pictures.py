"""SLTs and features as pictures: an input-shaped image, or a curve where no shape is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe.errors import ShapeError
from torchprobe.plotting import colour_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

__all__ = ["FEATURES", "SLT", "Folding", "limit_of"]

FEATURES, SLT = "#d55e00", "#0072b2"
"""Frames of pictures of inputs and of functions of them, as in the paper (red and blue)."""

_ROBUST = 99.5  # percentile at which colours saturate: one glaring entry must not pale the others


@dataclass(frozen=True)
class Folding:
    """How a flat input becomes a picture.

    Args:
        shape: sizes of the input's axes, or (columns, rows) where ``across`` is set.
        across: whether the first axis runs along the page and the second upwards, as time and
            frequency do; otherwise the last but one axis runs downwards, as in an image.
    """

    shape: tuple[int, ...]
    across: bool = False

    @classmethod
    def of(cls, entries: int, input_shape: Sequence[int], fold: Sequence[int] | None) -> Folding:
        """What a user says, (columns, rows); else what the input's own shape says.

        Raises:
            ShapeError: the columns and rows do not make up the input.
        """
        if fold is None:
            return cls(tuple(input_shape))
        if len(fold) != 2 or math.prod(fold) != entries:  # noqa: PLR2004 - columns and rows
            raise ShapeError(
                f"fold={tuple(fold)} does not fold {entries} entries; give (columns, rows) with "
                "that product, e.g. (frames, mel bands)"
            )
        return cls(tuple(fold), across=True)

    @property
    def flat(self) -> bool:
        """Whether it can only be drawn as a curve."""
        return len([size for size in self.shape if size > 1]) < 2  # noqa: PLR2004

    def picture(self, values: ArrayLike) -> Array:
        """The values as [row, column], the mean over any further axes before them."""
        folded: Array = np.asarray(values, dtype=np.float64).reshape(self.shape)
        if self.across:
            return folded.T
        return np.asarray(folded.reshape(-1, *folded.shape[-2:]).mean(axis=0))

    def draw(self, axes: Axes, values: ArrayLike, limit: float, colour: str) -> Any:
        """Draw values in a frame of a colour, with colours (or the axis) from −limit to limit."""
        for spine in axes.spines.values():
            spine.set(visible=True, color=colour, linewidth=1.1)
        axes.set(xticks=[], yticks=[])
        if self.flat:
            axes.axhline(0, color="#d1d5db", linewidth=0.6)
            axes.plot(np.ravel(values), color=colour, linewidth=0.9)
            axes.set(ylim=(-1.05 * limit, 1.05 * limit), xlim=(0, max(1, np.size(values) - 1)))
            return None
        picture = self.picture(values)
        upwards = self.across or len(self.shape) == 2  # noqa: PLR2004 - channels over time
        return axes.imshow(
            picture,
            aspect="auto",
            cmap=colour_map(symmetric=True),
            vmin=-limit,
            vmax=limit,
            origin="lower" if upwards else "upper",
            interpolation="nearest",
        )

    @property
    def aspect(self) -> float:
        """Height of a picture by its width."""
        if self.flat:
            return 0.6
        columns, rows = self.picture(np.zeros(math.prod(self.shape))).shape[::-1]
        return float(np.clip(rows / columns, 0.5, 1.6))


def limit_of(values: ArrayLike) -> float:
    """The largest value that colours should tell apart."""
    known = np.abs(np.asarray(values, dtype=np.float64))
    known = known[np.isfinite(known)]
    most = float(np.percentile(known, _ROBUST)) if known.size else 0.0
    return most or float(known.max(initial=0.0)) or 1.0
