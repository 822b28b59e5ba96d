"""A frozen array that knows what its axes mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from torchprobe.errors import SettingError, ShapeError
from torchprobe.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Field"]

Range: TypeAlias = "tuple[float | None, float | None]"


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Field:
    """A read-only array that knows its axes, its unit and the range its values can have.

    Args:
        axes: names of the axes, ``"class channel"`` or a sequence; ``""`` for a single number.
        values: an array, tensor, list or number; copied. bfloat16 becomes float32.
        unit: what the values are measured in, ``""`` for pure numbers.
        range: the smallest and largest possible value, None where there is no bound. NaN stands
            for "undefined" and may appear in any range.

    Raises:
        ShapeError: there are not as many axes as names.
        SettingError: the values are no real numbers, the range is no pair, or an axis has no
            proper name.

    Example:
        >>> Field("class channel", [[0.0, 0.5, 1.0]], range=(0, 1))
        class channel  [1, 3] float64 (0..1)
    """

    axes: tuple[str, ...]
    values: np.ndarray
    unit: str
    range: Range | None

    def __init__(
        self,
        axes: str | Sequence[str],
        values: Any,
        unit: str = "",
        range: Range | None = None,  # noqa: A002 - the word users look for
    ) -> None:
        if not isinstance(unit, str):
            raise SettingError(f"unit {unit!r:.80} is no text; e.g. 'ms', or '' for pure numbers")
        array = _frozen_array(values)
        object.__setattr__(self, "axes", _checked_axes(axes, array.shape))
        object.__setattr__(self, "values", array)
        object.__setattr__(self, "unit", unit)
        object.__setattr__(self, "range", None if range is None else _checked_range(range))

    def __eq__(self, other: object) -> bool:
        """Whether axes, unit, range, dtype and values are the same, NaN equal to NaN."""
        if not isinstance(other, Field):
            return NotImplemented
        mine, theirs = self.values, other.values
        return (
            (self.axes, self.unit, self.range) == (other.axes, other.unit, other.range)
            and mine.dtype == theirs.dtype
            and np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f")
        )

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Field, (self.axes, self.values, self.unit, self.range)  # copies are read-only too

    def __repr__(self) -> str:
        return _in_words(self)

    @property
    def item(self) -> Any:
        """The number that a field without axes holds, as a Python number."""
        return self.values.item()

    @property
    def extremes(self) -> tuple[float, float]:
        """The smallest and largest value, NaN aside; NaN where there is none."""
        known = self.values[~np.isnan(self.values)]
        return (float(known.min()), float(known.max())) if known.size else (math.nan, math.nan)


def _frozen_array(values: Any) -> np.ndarray:
    """A copy that nobody can write to."""
    if isinstance(values, torch.Tensor):
        wide = values.dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
        values = (values.float() if wide else values).numpy(force=True)  # numpy has no bfloat16
    array = np.array(values, order="C")
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:  # noqa: PLR2004 - bytes
        raise SettingError(
            f"values of dtype {array.dtype} cannot be a field; give real numbers of at most 64 "
            "bits, e.g. .astype('float64'), and names as coords"
        )
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    array.setflags(write=False)
    return array.view()  # a view of a read-only array cannot be made writable again


def _checked_axes(axes: str | Sequence[str], shape: tuple[int, ...]) -> tuple[str, ...]:
    names = tuple(axes.split() if isinstance(axes, str) else axes)
    if not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise SettingError(f"axes {names!r:.200} hold a malformed name; use letters and '_'")
    if len(names) != len(shape):
        raise ShapeError(
            f"axes {' '.join(names)!r} do not fit values of shape {shape}; name every axis, "
            "e.g. 'class channel', or '' for a number"
        )
    return names


def _checked_range(bounds: Any) -> Range:
    low, high = bounds if len(bounds) == 2 else (math.nan, math.nan)  # noqa: PLR2004 - a pair
    if low is not None and high is not None and not low <= high:
        raise SettingError(
            f"range {bounds!r:.80} is not a pair (lowest, highest); None is no bound"
        )
    return low, high


def _in_words(field: Field) -> str:
    """Axes and shape, or the number; dtype, unit and range."""
    if not field.axes:
        text = f"{field.item:.6g}" if field.values.dtype.kind == "f" else str(field.item)
    else:
        text = f"{' '.join(field.axes)}  {list(field.values.shape)} {field.values.dtype}"
    text += f" {printable(field.unit)}" if field.unit else ""
    if field.range is None:
        return text
    low, high = ("" if bound is None else f"{bound:g}" for bound in field.range)
    return f"{text} ({low}..{high})"
