"""Results as tensors and a document, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from torchprobe.fields import Field
from torchprobe.result import Result

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["pack", "unpack"]

_PLAIN = ("analyzer", "layer", "grouping", "kind", "coords", "settings", "provenance")


def pack(
    results: Mapping[str, Mapping[Any, Result]],
) -> tuple[dict[str, Tensor], dict[str, list[Any]]]:
    """The fields of results as tensors, and everything else as a document, by analyzer."""
    arrays: dict[str, Tensor] = {}
    packed = {
        analyzer: [_pack_result(result, arrays) for result in layers.values()]
        for analyzer, layers in results.items()
    }
    return arrays, packed


def _pack_result(result: Result, arrays: dict[str, Tensor]) -> dict[str, Any]:
    fields = {}
    for name, field in result.fields.items():
        array = f"{len(arrays)}/{name}"  # numbered: layers share field names
        arrays[array] = torch.from_numpy(field.values.copy())  # torch takes no read-only array
        fields[name] = {
            "array": array,
            "axes": field.axes,
            "unit": field.unit,
            "range": field.range,
        }
    return {**{name: getattr(result, name) for name in _PLAIN}, "fields": fields}


def unpack(arrays: Mapping[str, Tensor], packed: Any) -> dict[str, list[Result]]:
    """The results that `pack` took apart.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: it was not `pack` that made the document.
    """
    return {
        analyzer: [_unpack_result(arrays, entry) for entry in entries]
        for analyzer, entries in packed.items()
    }


def _unpack_result(arrays: Mapping[str, Tensor], entry: Any) -> Result:
    fields = {name: _unpack_field(arrays, field) for name, field in entry["fields"].items()}
    return Result(fields=fields, **{name: entry[name] for name in _PLAIN})


def _unpack_field(arrays: Mapping[str, Tensor], entry: Any) -> Field:
    return Field(entry["axes"], arrays[entry["array"]], entry["unit"], entry["range"])
