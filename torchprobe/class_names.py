"""Classes by number and by name: labels as a user gives them become int64."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from torchprobe.errors import LabelError, MergeError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ClassNames", "encode"]

IGNORED = (-1, -100)
"""Labels that mean "leave this row out" (-100 is torch.nn.CrossEntropyLoss's default)."""


class ClassNames:
    """The names behind the integer labels of one grouping.

    Strings become stable 63-bit numbers, so that processes agree on them without talking.
    """

    def __init__(self, names: Mapping[int, str] | Sequence[str] | None = None) -> None:
        pairs = names.items() if isinstance(names, Mapping) else enumerate(names or ())
        self.names: dict[int, str] = {int(label): str(name) for label, name in pairs}
        self.strings: dict[int, str] = {}
        self.integers = False
        """Whether integer labels were met."""

    def number(self, name: str) -> int:
        """The number that stands for a string label."""
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        label = int.from_bytes(digest, "big") >> 1
        if self.strings.setdefault(label, name) != name:
            raise LabelError(f"labels {name!r} and {self.strings[label]!r} collide; use integers")
        return label

    def name(self, label: int) -> str:
        """What a label is called; its number where nobody named it."""
        return self.strings.get(label) or self.names.get(label) or str(label)

    def ranks(self) -> dict[int, int]:
        """String labels → their alphabetical rank: the order in which results list classes."""
        ordered = sorted(self.strings, key=self.strings.__getitem__)
        return {label: rank for rank, label in enumerate(ordered)}

    def ranked(self) -> ClassNames:
        """The names after groups were renumbered by `ranks`."""
        if not self.strings:
            return self
        return ClassNames([self.strings[label] for label in self.ranks()])

    def merge(self, other: ClassNames, grouping: str) -> None:
        """Learn the names that another process knows.

        Raises:
            MergeError: a number has two names, or one has met strings and the other integers.
        """
        for label, name in other.names.items():
            if self.names.setdefault(label, name) != name:
                raise MergeError(
                    f"class {label} of {grouping!r} is called {self.names[label]!r} and {name!r}; "
                    "give the same class_names= everywhere"
                )
        self.strings |= other.strings
        self.integers |= other.integers
        if self.strings and self.integers:
            raise MergeError(
                f"labels {grouping!r} are strings here and integers there; give the same kind "
                "everywhere"
            )

    def state(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        pairs = {name: [*getattr(self, name).items()] for name in ("names", "strings")}
        return {**pairs, "integers": self.integers}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `state`."""
        names = cls(dict(state["names"]))
        names.strings, names.integers = dict(state["strings"]), state["integers"]
        return names


def encode(labels: object, grouping: str, names: ClassNames) -> Tensor:
    """Labels as int64 on the CPU, -1 where ignored, any shape.

    Raises:
        LabelError: floats, booleans, NaN, negative numbers other than -1 and -100, no axis;
            integers where strings came before, or the other way round.
    """
    if not isinstance(labels, Tensor):
        array = np.asarray(labels)
        if array.dtype.kind in "US" or (array.dtype.kind == "O" and _all_strings(array)):
            return _encode_strings(array, grouping, names)
        labels = _integers(array, grouping)
    encoded = _checked_integers(labels.detach().cpu(), grouping)
    if bool((encoded >= 0).any()):
        _check_kind(names, grouping, strings=False)
    return encoded


def _check_kind(names: ClassNames, grouping: str, *, strings: bool) -> None:
    """Raise unless all labels of a grouping are strings, or all are integers."""
    if names.integers if strings else names.strings:
        was, now = ("integers", "strings") if strings else ("strings", "integers")
        raise LabelError(
            f"labels {grouping!r} were {was} before and are {now} now; give the same kind with "
            "every batch, for a class must not go by two names"
        )
    names.integers |= not strings


def _integers(array: np.ndarray[Any, Any], grouping: str) -> Tensor:
    if array.dtype.kind not in "iuf" and array.dtype != np.bool_:
        raise LabelError(
            f"labels {grouping!r} are {array.dtype} objects; give integers or strings "
            "(None where a row is ignored)"
        )
    return torch.from_numpy(np.ascontiguousarray(array))


def _all_strings(array: np.ndarray[Any, Any]) -> bool:
    return all(item is None or isinstance(item, str) for item in array.flat)


def _encode_strings(array: np.ndarray[Any, Any], grouping: str, names: ClassNames) -> Tensor:
    uniques, inverse = np.unique(
        np.where(array == None, "", array).astype(str),  # noqa: E711 - elementwise
        return_inverse=True,
    )
    if any(uniques):
        _check_kind(names, grouping, strings=True)
    numbers = np.array([names.number(name) if name else -1 for name in uniques.tolist()])
    return torch.from_numpy(numbers[inverse].reshape(array.shape)).long()


def _checked_integers(labels: Tensor, grouping: str) -> Tensor:
    if labels.is_floating_point() or labels.is_complex():
        nan = " with NaN" if bool(torch.isnan(labels).any()) else ""
        raise LabelError(
            f"labels {grouping!r} are {labels.dtype}{nan}, shape {tuple(labels.shape)}; give "
            "integers: labels.long() for class numbers, labels.argmax(1) for scores or one-hot"
        )
    if labels.dtype == torch.bool:
        raise LabelError(
            f"labels {grouping!r} are booleans; pass labels.long() if 0 and 1 are two classes, or "
            "mask=labels if they say which rows count"
        )
    if labels.ndim == 0:
        raise LabelError(
            f"labels {grouping!r} are a single number; give one per sample: labels.reshape(1)"
        )
    labels = labels.long()
    negative = labels.lt(0)
    odd = labels[negative & (labels != IGNORED[0]) & (labels != IGNORED[1])]
    if len(odd):
        raise LabelError(
            f"labels {grouping!r} hold {int(odd[0])}; classes are numbered from 0, and -1 or -100 "
            "leaves a row out"
        )
    return labels.masked_fill(negative, -1)
