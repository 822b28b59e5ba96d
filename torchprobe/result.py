"""What one analyzer found in one layer: frozen named arrays and where they come from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from dataclasses import field as default
from typing import TYPE_CHECKING, Any

import numpy as np

from torchprobe.documents import FrozenDict, dumps, freeze
from torchprobe.errors import LayerNotFoundError, SettingError, ShapeError
from torchprobe.tables import array_frame, frame
from torchprobe.wording import printable, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

    from torchprobe.fields import Field

__all__ = ["Result"]


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What one analyzer found in one layer, under one grouping: named fields and their origin.

    Fields are attributes: ``result.accuracy`` is a Python number where the field has no axes, a
    read-only array otherwise; ``result["accuracy"]`` is the `Field`.

    Args:
        fields: by name; axes of the same name have the same length in all of them.
        coords: names along an axis, e.g. ``{"class": ("aa", "b")}``.
        settings: how the analyzer was configured.
        provenance: where the numbers come from: ``rows`` seen, what was skipped and why,
            ``complete``, versions, ...; kept, like the settings, in the normal form of
            `torchprobe.documents.freeze`.
        kind: which plot draws it; the analyzer's name by default.

    Raises:
        ShapeError: fields or names disagree about the length of an axis.
        SettingError: a field has a reserved name, or values outside its range; something that is
            not a name.

    Example:
        >>> from torchprobe.results import Field, Result
        >>> result = Result("lda", "hidden.3", fields={"accuracy": Field("", 0.5, range=(0, 1))})
        >>> result.accuracy
        0.5
        >>> result.acuracy
        Traceback (most recent call last):
        AttributeError: field 'acuracy' not found; did you mean 'accuracy'? There are: 'accuracy'
    """

    analyzer: str
    layer: str
    grouping: str | None = None
    fields: Mapping[str, Field] = default(default_factory=dict)
    coords: Mapping[str, tuple[str, ...]] = default(default_factory=dict)
    settings: Mapping[str, Any] = default(default_factory=dict)
    provenance: Mapping[str, Any] = default(default_factory=dict)
    kind: str = ""

    def __post_init__(self) -> None:
        frozen = {
            "fields": FrozenDict(self.fields),
            "coords": FrozenDict({a: tuple(map(str, names)) for a, names in self.coords.items()}),
            "settings": FrozenDict(freeze(self.settings)),
            "provenance": FrozenDict(freeze(self.provenance)),
            "kind": self.kind or self.analyzer,
        }
        for name, value in frozen.items():
            object.__setattr__(self, name, value)
        _check_texts(self)
        for name, field in self.fields.items():
            _check_name(name)
            _check_range(name, field)
        _check_lengths(self)

    def __getattr__(self, name: str) -> Any:
        fields = self.__dict__.get("fields", {})  # none yet while copy or pickle builds the object
        if name not in fields:
            raise AttributeError(unknown("field", name, fields))
        field = fields[name]
        return field.values if field.axes else field.item

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.fields]

    def __getitem__(self, name: str) -> Field:
        if name not in self.fields:
            raise LayerNotFoundError(unknown("field", name, self.fields))
        return self.fields[name]

    def __contains__(self, name: object) -> bool:
        return name in self.fields

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __eq__(self, other: object) -> bool:
        """Whether the content is the same, NaN equal to NaN."""
        if not isinstance(other, Result):
            return NotImplemented
        return _content(self) == _content(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        width = max((len(printable(name)) for name in self.fields), default=0)
        lines = [f"  {printable(name):{width}}  {field!r}" for name, field in self.fields.items()]
        return "\n".join([f"{printable(self.analyzer)} of {self.origin}", *lines])

    @property
    def origin(self) -> str:
        """Layer, grouping, rows seen and whether any are missing, in words."""
        by = "" if self.grouping is None else f" by {printable(self.grouping)}"
        rows = self.provenance.get("rows")
        seen = f", {rows:,} rows" if isinstance(rows, int) else ""
        return f"{printable(self.layer)}{by}{seen}{'' if self.complete else ', INCOMPLETE'}"

    @property
    def complete(self) -> bool:
        """Whether everything that was offered is in the numbers."""
        return bool(self.provenance.get("complete", True))

    def axes(self, name: str) -> tuple[str, ...]:
        """The axes of a field."""
        return self[name].axes

    def scalars(self) -> dict[str, float]:
        """The fields without axes as floats: what a logger gets."""
        return {name: float(f.item) for name, f in self.fields.items() if not f.axes}

    def to_frame(self, field: str | None = None) -> pd.DataFrame:
        """A field as a tidy table, one row per element; or all single numbers in one row.

        The columns of a field are its axes, with names where `coords` has them and numbers
        otherwise, and ``value``.
        """
        if field is not None:
            return array_frame(self.axes(field), self[field].values, self.coords)
        numbers = {name: f.item for name, f in self.fields.items() if not f.axes}
        return frame(list(numbers), [list(numbers.values())])


def _content(result: Result) -> tuple[Any, ...]:
    """All that equality compares; documents as text, in which NaN equals NaN."""
    documents = (dumps(result.settings, sort_keys=True), dumps(result.provenance, sort_keys=True))
    origin = (result.analyzer, result.layer, result.grouping, result.kind)
    return origin, result.fields, result.coords, documents


def _check_texts(result: Result) -> None:
    for name in ("analyzer", "layer", "grouping", "kind"):
        value = getattr(result, name)
        if not isinstance(value, str) and not (name == "grouping" and value is None):
            raise SettingError(f"{name} of a result is {value!r:.80}; give its name as a string")


def _check_name(name: Any) -> None:
    """Refuse names that attribute access could not reach, or that Python would call itself."""
    taken = name in Result.__dataclass_fields__ or hasattr(Result, str(name))
    if not isinstance(name, str) or not name or name.startswith("_") or taken:
        raise SettingError(f"a field cannot be called {name!r:.80}, which is taken; rename it")


def _check_range(name: str, field: Field) -> None:
    if field.range is None:
        return
    low, high = field.range
    least, most = field.extremes
    slack = _rounding(field.values.dtype)
    below = low is not None and least < low - slack * max(1.0, abs(low))
    above = high is not None and most > high + slack * max(1.0, abs(high))
    if below or above:
        raise SettingError(
            f"field {name!r:.80} has values from {least:.9g} to {most:.9g}, outside its range "
            f"{field.range}; correct the values or the range"
        )


def _rounding(dtype: np.dtype[Any]) -> float:
    """How far sums of numbers of a dtype may stray: half of its digits; integers do not."""
    return math.sqrt(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0


def _check_lengths(result: Result) -> None:
    lengths = {axis: (len(names), "its names") for axis, names in result.coords.items()}
    for name, field in result.fields.items():
        for axis, size in zip(field.axes, field.values.shape, strict=True):
            known, whose = lengths.setdefault(axis, (size, f"field {name!r:.80}"))
            if size != known:
                raise ShapeError(
                    f"field {name!r:.80} has {size} along {axis!r} but {whose} {known}; give "
                    "axes of different length different names"
                )
